"""Reads the OAI's image release: a tree of DICOM files with contents.csv tables."""

import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from xr2mri_jax.errors import InputError
from xr2mri_jax.io.folders import NOT_DICOM, NOT_IMAGES, walk
from xr2mri_jax.io.oai import names
from xr2mri_jax.io.records import MriSeries, RadiographFile, Source
from xr2mri_jax.io.tables import Row, read_table

_CONTENTS = re.compile(r"contents.*\.csv", re.IGNORECASE)
_REQUIRED = ("folder", "participantid", "studydate", "barcode", "seriesdescription")
_SUBJECT = re.compile(r"\d{7}")


def walk_files(root: Path) -> Iterator[Path]:
    """The files of a collection, without descending into the participants' folders.

    Folders that only hold pixels are the bulk of a release: walking through them takes hours.
    """
    for folder, folders, files in walk(root):
        folders[:] = (
            name
            for name in folders
            if not name.startswith(".") and not _is_participant(Path(folder, name))
        )
        for name in files:
            yield Path(folder, name)


def _is_participant(folder: Path) -> bool:
    """Whether a folder is named by 7 digits, in a release or with nothing but dates (digits) in it.

    Packages of the NIMH Data Archive have names of 7 digits too.
    """
    if not _SUBJECT.fullmatch(folder.name):
        return False
    if names.is_release(folder.parent.name):
        return True
    try:
        found = os.listdir(folder)
    except OSError:
        return True
    return all(name.isdigit() or name.startswith(".") for name in found)


def find_contents(root: str | Path) -> list[Path]:
    """The contents.csv tables (contents_00m.csv, contents.4G1.csv, ... too) under `root`."""
    return [path for path in walk_files(Path(root)) if is_contents(path)]


def is_contents(path: Path) -> bool:
    """Whether the file's name is that of a visit's table."""
    return _CONTENTS.fullmatch(path.name) is not None


def read_release(root: str | Path, visit: str | None = None) -> Source:
    """Reads every contents.csv under `root` and checks which of the listed files exist.

    Args:
      root: the folder that holds the visits' releases.
      visit: the visit code for tables that do not state it by release, folder or file name.

    Returns:
      A Source without grades: radiographs as files (one per image in the series' folder), MRI
      series as folders. Series of a listed folder that does not exist carry a `problem`.

    Raises:
      InputError: no table, a table without its columns, or a row without a participant, with a
        folder outside the release, or with an unknown visit.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"{root}: no such folder, expected an OAI image release")
    tables = find_contents(root)
    if not tables:
        raise InputError(f"{root}: found no contents.csv, expected one for each visit")
    radiographs: list[RadiographFile] = []
    series: list[MriSeries] = []
    ignored: Counter[str] = Counter()
    problems: list[str] = []
    seen: set[Path] = set()
    for table in tables:
        table_visit = visit_by_path(table, root) or visit
        for row in read_table(table, required=_REQUIRED, delimiters=",;\t"):
            folder = _listed_folder(row)
            path = _locate(table, folder)
            if path in seen:
                problems.append(f"{table}, row {row.number}: folder {folder} is listed twice")
                continue
            seen.add(path)
            _add(row, path, _visit(row, folder, table_visit), radiographs, series, ignored)
    return Source(tuple(radiographs), tuple(series), (), tuple(problems), dict(ignored))


def visit_by_path(table: Path, root: Path) -> str | None:
    """The visit that a table's name states, else the nearest folder's name up to `root` itself."""
    stem = re.sub(r"^contents[\W_]*", "", table.stem, flags=re.IGNORECASE)
    parts = [stem, *reversed(table.parent.relative_to(root).parts), root.name]
    return next((visit for part in parts if (visit := names.visit_of(part))), None)


def _listed_folder(row: Row) -> PurePosixPath:
    text = row["folder"].replace("\\", "/").strip("/")
    folder = PurePosixPath(text)
    if not text or ".." in folder.parts or len(text.encode()) > names.LONGEST_PATH:
        raise row.error("folder", row["folder"], "a folder inside the release")
    if not row["participantid"]:
        raise row.error("participantid", "", "a participant")
    return folder


def _locate(table: Path, folder: PurePosixPath) -> Path:
    """The listed folder on the disk: beside the table, or beside the release that holds it."""
    candidates = [table.parent / folder, table.parent.parent / folder]
    return next((path for path in candidates if path.is_dir()), candidates[0])


def _visit(row: Row, folder: PurePosixPath, table_visit: str | None) -> str:
    by_release = next((visit for part in folder.parts[:-3] if (visit := names.visit_of(part))), "")
    visit = by_release or table_visit
    if not visit:
        raise row.error("folder", row["folder"], "a release like 0.C.2 (or give the visit)")
    return visit


def _add(
    row: Row,
    path: Path,
    visit: str,
    radiographs: list[RadiographFile],
    series: list[MriSeries],
    ignored: Counter[str],
) -> None:
    """Adds a row's series to the radiographs, the MRI series of a knee, or the ignored ones."""
    description = " ".join(row["seriesdescription"].split())
    subject, barcode, date = row["participantid"], row["barcode"], row["studydate"]
    sequence, exact = names.sequence_of(description)
    side = names.side_of(description)
    if names.is_knee_radiograph(description):
        for file in image_files(path) or [path]:
            problem = "" if file != path else _absence(row, path)
            radiographs.append(
                RadiographFile(subject, visit, file, side, description, barcode, date, problem)
            )
    elif side and is_knee_series(description):
        count = len(image_files(path))
        problem = "" if count else _absence(row, path)
        series.append(
            MriSeries(
                subject, visit, side, path, sequence, exact, description, barcode, date, count,
                problem,
            )
        )  # fmt: skip
    else:
        ignored[description or "(no description)"] += 1


def is_knee_series(description: str) -> bool:
    """Whether a description with a side is an MRI series of a knee (not a hand, a thigh, ...)."""
    words = set(names.tokens(description))
    return not words & {"hand", "hip", "pelvis", "thigh", "limb", "foot", "ankle", "knee", "xray"}


def image_files(folder: Path) -> list[Path]:
    """The files of a series' folder (`001`, `002`, ..., without extension); [] if there is none.

    Files that are not DICOM by their name are left out unless there is nothing else. Lists the
    folder once without looking at each file: a collection has millions of them.
    """
    try:
        with os.scandir(folder) as entries:
            files = [entry.name for entry in entries if entry.is_file()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise InputError(f"{folder}: cannot be listed ({error.strerror})") from error
    found = [folder / name for name in sorted(files) if not name.startswith(".")]
    images = [path for path in found if not _lies_beside(path)]
    return images or found


def _lies_beside(path: Path) -> bool:
    return path.name.upper() in NOT_IMAGES or path.suffix.lower() in NOT_DICOM


def _absence(row: Row, path: Path) -> str:
    what = "is empty" if path.is_dir() else "does not exist"
    return f"{row.table.name}, row {row.number}: the listed folder {path} {what}"
