"""Reads a file collection of any layout: detects its kind and returns its records."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path

from xr2mri_jax.errors import InputError
from xr2mri_jax.io.manifest import read_manifest
from xr2mri_jax.io.oai.archive import IMAGES, TABLES, read_archive
from xr2mri_jax.io.oai.grades import choose_project, find_grade_tables, read_grades
from xr2mri_jax.io.oai.release import find_contents, is_contents, read_release, walk_files
from xr2mri_jax.io.records import Source

MANIFEST = "manifest.csv"


def layout_of(path: str | Path) -> str:
    """ "manifest", "archive" (NIMH Data Archive) or "release" (OAI image release).

    Raises:
      InputError: the path does not exist or is none of the three.
    """
    path = Path(path)
    if path.is_file():
        if path.name.lower() == IMAGES or is_contents(path):
            raise InputError(f"{path}: found one table of a collection, expected its folder")
        if path.suffix.lower() in (".csv", ".tsv", ".txt"):
            return "manifest"
        raise InputError(f"{path}: found a {path.suffix or 'file'}, expected a CSV manifest")
    if not path.is_dir():
        raise InputError(f"{path}: no such file or folder, expected a manifest or a collection")
    if (path / MANIFEST).is_file():
        return "manifest"
    if any(file.name.lower() == IMAGES for file in walk_files(path)):
        return "archive"
    if find_contents(path):
        return "release"
    raise InputError(
        f"{path}: found neither {MANIFEST}, nor {IMAGES} (NIMH Data Archive), nor contents.csv "
        "(OAI image release)"
    )


def read_source(
    path: str | Path, grades: Iterable[str | Path] = (), visit: str | None = None
) -> Source:
    """Reads a collection of any layout, with its grades.

    Args:
      path: a manifest's file, or the folder of a collection.
      grades: KL tables (kxr_sq_bu*.txt, .sas7bdat) outside `path`; those under `path` are found
        (a manifest's folder is not searched).
      visit: the visit code if a collection does not state it, or a manifest's cell is empty.

    Raises:
      InputError: see `layout_of`, `read_manifest`, `read_archive`, `read_release`, `read_grades`.
    """
    path = Path(path)
    layout = layout_of(path)
    if layout == "manifest":
        table = path / MANIFEST if path.is_dir() else path
        return _with_grades(read_manifest(table, visit), grades)
    source = read_archive(path, visit) if layout == "archive" else read_release(path, visit)
    return _with_grades(source, [*find_grade_tables(walk_files(path)), *map(Path, grades)])


def source_tables(path: str | Path) -> list[Path]:
    """The tables that `read_source` reads in a collection; none if it does not exist.

    Raises:
      InputError: see `layout_of`.
    """
    path = Path(path)
    if not path.exists():
        return []
    layout = layout_of(path)
    if layout == "manifest":
        return [path / MANIFEST if path.is_dir() else path]
    files = list(walk_files(path))
    if layout == "archive":
        tables = [file for file in files if file.name.lower() in TABLES]
    else:
        tables = [file for file in files if is_contents(file)]
    return [*tables, *find_grade_tables(files)]


def _with_grades(source: Source, tables: Iterable[str | Path]) -> Source:
    """The source with the tables' grades added; the preferred reading project's are kept."""
    added = read_grades(tables)
    problems = [*source.problems, *added.problems]
    grades = choose_project((*source.grades, *added.grades), problems)
    return dataclasses.replace(source, grades=grades, problems=tuple(problems))
