"""Reads the table of pairs, which lists the radiograph and the label map of each knee."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import SIDES
from xr2mri_jax.io.tables import Row, read_table
from xr2mri_jax.presentation.pluralise import pluralise

COLUMNS = ("subject", "side", "visit", "xray", "labels", "kl")
GRADES = ("0", "1", "2", "3", "4")


class Pair(NamedTuple):
    """One row: `xray` is None for a map without a radiograph, `kl` if the grade is unknown."""

    subject: str
    side: str
    visit: str
    xray: Path | None
    labels: Path
    kl: int | None

    @property
    def name(self) -> str:
        """Subject, side and visit, for messages and captions."""
        return " ".join(part for part in (self.subject, self.side, self.visit) if part)


def read_pairs(path: str | os.PathLike[str], exclude_subjects: Sequence[str] = ()) -> list[Pair]:
    """Reads a CSV with COLUMNS; paths in it are relative to its folder.

    Rows without a radiograph are used only for the mean-shape control.

    Args:
      path: the CSV.
      exclude_subjects: names of subjects to leave out.

    Raises:
      InputError: a column, cell or file is missing, a side or grade is invalid, a visit of a knee
        occurs twice, the table lacks a subject to exclude, or fewer than two subjects have a
        radiograph.
    """
    path = Path(path)
    rows = read_table(path, required=COLUMNS, delimiters=",;\t")
    pairs = [_pair(row) for row in rows]
    times = Counter(pair[:3] for pair in pairs)
    for row, pair in zip(rows, pairs, strict=True):
        if times[pair[:3]] > 1:
            raise row.error("subject", pair.name, "each visit of a knee only once")
    for name in exclude_subjects:
        if name not in {pair.subject for pair in pairs}:
            raise InputError(f"--exclude_subjects: found {name}, expected subjects of {path}")
    pairs = [pair for pair in pairs if pair.subject not in exclude_subjects]
    subjects = {pair.subject for pair in pairs if pair.xray}
    if len(subjects) < 2:
        raise InputError(
            f"{path}: found radiographs of {pluralise(len(subjects), 'subject')}, expected two "
            "or more: the controls need another subject's radiograph"
        )
    return pairs


def _pair(row: Row) -> Pair:
    side, grade = row["side"].lower(), row["kl"]
    if not row["subject"]:
        raise row.error("subject", "", "a name")
    if side not in SIDES:
        raise row.error("side", row["side"], "left or right")
    if grade and grade not in GRADES:
        raise row.error("kl", grade, "a grade from 0 to 4, or nothing")
    labels = _file(row, "labels")
    if labels is None:
        raise row.error("labels", "", "a label map")
    return Pair(
        row["subject"],
        side,
        row["visit"],
        _file(row, "xray"),
        labels,
        int(grade) if grade else None,
    )


def _file(row: Row, column: str) -> Path | None:
    if not row[column]:
        return None
    path = row.path(column)
    if not path.is_file():
        absolute = Path(row[column]).expanduser().is_absolute()
        expected = "an existing file" if absolute else f"a file in {row.table.parent}"
        raise row.error(column, row[column], expected)
    return path
