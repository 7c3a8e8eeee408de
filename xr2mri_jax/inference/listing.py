"""Lists the radiographs of a command: a file, or those of a folder or a table."""

import dataclasses
import os
import re
from collections.abc import Callable
from pathlib import Path

from absl import logging

from xr2mri_jax.errors import InputError, printable
from xr2mri_jax.inference import earlier_outputs
from xr2mri_jax.io import folders as folder_tree
from xr2mri_jax.io.tables import Row, read_table
from xr2mri_jax.presentation.pluralise import pluralise

_SIDES = {"": None, "right": "right", "left": "left", "r": "right", "l": "left"}


@dataclasses.dataclass(frozen=True)
class Listed:
    """A radiograph's file.

    Attributes:
      name: path below the folder or relative to the table, as results name it.
      path: its location.
      side: the knee meant, if a table states it.
      spacing: mm per pixel, if a table states it.
    """

    name: str
    path: Path
    side: str | None = None
    spacing: float | None = None


def list_files(xray: Path, is_output: Callable[[Path], bool]) -> list[Listed]:
    """Lists one file, or all of a folder and its subfolders, sorted, without hidden files.

    Links to folders are followed. Folders of earlier predictions, recognised by their records, are
    left out with a warning.

    Args:
      xray: a file or a folder.
      is_output: whether a path is one of the command's own outputs, which are left out.

    Raises:
      InputError: there is no such file or folder, or the folder has no files.
    """
    if xray.is_file():
        return [Listed(xray.name, xray)]
    if not xray.is_dir():
        raise InputError(f"{xray}: no such file or folder")
    paths = _visible(xray)
    found = [path for path in paths if not is_output(path)]
    found = _without_predictions(xray, found)
    if not found and paths:
        raise InputError(
            f"--xray={xray}: found only files in the places of the outputs, expected radiographs "
            "elsewhere"
        )
    if not found:
        raise InputError(f"--xray={xray}: found no files in the folder, expected radiographs")
    listed = [Listed(path.relative_to(xray).as_posix(), path) for path in found]
    return sorted(listed, key=lambda one: one.name)


def _visible(root: Path) -> list[Path]:
    paths = []
    for folder, folders, names in folder_tree.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths += [Path(folder, name) for name in names if not name.startswith(".")]
    return paths


def _without_predictions(root: Path, paths: list[Path]) -> list[Path]:
    """The paths outside folders of earlier predictions; logs a warning about the others."""
    records = [path.parent for path in paths if path.name == earlier_outputs.RUN]
    outputs = {place.resolve() for one in records for place in earlier_outputs.folders_of(one)}
    if not outputs:
        return paths
    inside: dict[Path, set[Path]] = {}
    for folder in {path.parent for path in paths}:
        place = folder.resolve()
        if found := outputs & {place, *place.parents}:
            inside[folder] = found
    kept = [path for path in paths if path.parent not in inside]
    names = sorted({printable(place.name) for found in inside.values() for place in found})
    logging.warning(
        "--xray=%s: %s of earlier predictions left out (%s)",
        printable(str(root)),
        pluralise(len(paths) - len(kept), "file"),
        ", ".join(names),
    )
    return kept


def list_table(path: Path) -> list[Listed]:
    """Lists the radiographs of a CSV table with the column `file`, optionally `side` and `spacing`.

    Paths are relative to the table's folder.

    Raises:
      InputError: the table cannot be read, has no rows, repeats a file, or has an invalid cell.
    """
    rows = [_listed(row) for row in read_table(path, required=("file",), delimiters=",;\t")]
    if not rows:
        raise InputError(f"{path}: found no rows, expected radiographs in the column file")
    sides: dict[str, list[str | None]] = {}
    for row in rows:
        known = sides.setdefault(os.path.abspath(row.path), [])
        if known and (row.side in known or None in (row.side, *known)):
            raise InputError(
                f"{path}: found {row.name} twice, expected each radiograph once, or once for each "
                "side"
            )
        known.append(row.side)
    return rows


def _listed(row: Row) -> Listed:
    name, side = row["file"], row.get("side").lower()
    if not name:
        raise row.error("file", name, "a radiograph's file")
    if side not in _SIDES:
        raise row.error("side", side, "left, right or nothing")
    return Listed(name, row.path("file"), _SIDES[side], row.spacing())


def output_name(name: str, side: str, taken: set[str]) -> str:
    """A name for the output of a radiograph, in letters that every file system accepts.

    Args:
      name: of a `Listed`.
      side: appended to the name; "" for none.
      taken: names in lower case that are already in use; the new one is added.
    """
    known = re.sub(r"\.(png|jpe?g|tiff?|dcm|nii|nii\.gz)$", "", name, flags=re.IGNORECASE)
    stem = re.sub(r"[^A-Za-z0-9._-]+", "_", known).strip("._") or "radiograph"
    base = f"{stem[-100:]}_{side}" if side else stem[-100:]
    number, chosen = 1, base
    while chosen.lower() in taken:
        number += 1
        chosen = f"{base}_{number}"
    taken.add(chosen.lower())
    return chosen
