"""Given places of knees: a CSV of centres or boxes, for whoever located the knees another way."""

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


def read_places(path: str | os.PathLike[str]) -> dict[tuple[str, str], KneePlace]:
    """Reads a table of knee places.

    Columns: `file` (relative to the table's folder, or absolute), `side` (left or right), and the
    place in pixels of the displayed image, the first pixel's centre being 0: either `row` and `col`
    of the joint's centre, or `top`, `left`, `bottom`, `right` of a box around it. `row1`, `col1`,
    `row2`, `col2`, the ends of the joint line, may be there; without them both ends are the centre.

    Args:
      path: a CSV file, comma, semicolon or tab separated.

    Returns:
      Places with confidence 1 by (absolute path of the file, side).

    Raises:
      InputError: no such table, a missing column, a side or number that cannot be used, a box
        without area, or a knee that is listed twice.
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
        key = str((path.parent / row["file"]).resolve()), side
        if key in places:
            raise row.error("file", row["file"], f"each {side} knee of a file once")
        places[key] = _place(row, side)
    if not places:
        raise InputError(f"{path}: found no rows, expected a knee each")
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
    """What stands in a box's wrong column, and what was expected there."""
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
