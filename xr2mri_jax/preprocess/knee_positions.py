"""Reads known knee positions from a CSV table of centres or boxes."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import SIDES, KneePlace
from xr2mri_jax.io.tables import Row, read_table

CENTRE = ("row", "col")
BOX = ("top", "left", "bottom", "right")
LINE = ("row1", "col1", "row2", "col2")


def read_knee_positions(path: str | os.PathLike[str]) -> dict[tuple[str, str], KneePlace]:
    """Reads a table of knee positions.

    Columns: `file` (a path as in a manifest, see `Row.path`), `side` (left or right), and the
    position in pixels of the displayed image, with 0 at the centre of the first pixel: either `row`
    and `col` of the joint centre, or `top`, `left`, `bottom`, `right` of a box around it. Optional:
    `row1`, `col1`, `row2`, `col2`, the ends of the joint line; by default both are the centre.

    Args:
      path: a CSV file, comma, semicolon or tab separated.

    Returns:
      Places with confidence 1 by (absolute path of the file, side).

    Raises:
      InputError: no such table, a missing column, an invalid path, side or number, a box without
        area, or a knee that is listed twice.
    """
    path = Path(path)
    rows = read_table(path, required=("file", "side"), delimiters=",;\t")
    places: dict[tuple[str, str], KneePlace] = {}
    for row in rows:
        if not row["file"]:
            raise row.error("file", "", "the path of a radiograph")
        side = row["side"].lower()
        if side not in SIDES:
            raise row.error("side", row["side"], f"one of {', '.join(SIDES)}")
        key = str(row.path("file").resolve()), side
        if key in places:
            raise row.error("file", row["file"], f"each {side} knee of a file once")
        places[key] = _place(row, side)
    if not places:
        raise InputError(f"{path}: found no rows, expected one row per knee")
    return places


def _place(row: Row, side: str) -> KneePlace:
    if _given(row, BOX) and not _given(row, CENTRE):
        top, left, bottom, right = _numbers(row, BOX)
        if bottom <= top or right <= left:
            raise row.error("bottom" if bottom <= top else "right", *_box(row, bottom <= top))
        centre = ((top + bottom) / 2, (left + right) / 2)
    else:
        centre_row, centre_column = _numbers(row, CENTRE)
        centre = (centre_row, centre_column)
    if not _given(row, LINE):
        return KneePlace(side, centre, (centre, centre))
    row1, col1, row2, col2 = _numbers(row, LINE)
    first, second = sorted([(row1, col1), (row2, col2)], key=lambda end: end[1])
    return KneePlace(side, centre, (first, second))


def _box(row: Row, upright: bool) -> tuple[str, str]:
    """The invalid value of a box, and the expected value."""
    if upright:
        return row["bottom"], f"more than top, {row['top']}"
    return row["right"], f"more than left, {row['left']}"


def _given(row: Row, columns: Sequence[str]) -> bool:
    return any(row.get(column) for column in columns)


def _numbers(row: Row, columns: Sequence[str]) -> list[float]:
    values = []
    for column in columns:
        text = row.get(column)
        try:
            value = float(text)
        except ValueError:
            value = np.nan
        if not np.isfinite(value):
            raise row.error(column, text, "a number, pixels of the displayed image")
        values.append(value)
    return values
