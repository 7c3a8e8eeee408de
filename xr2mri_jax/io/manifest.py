"""Reads a CSV manifest, the general layout for collections other than the OAI's."""

import os
from collections.abc import Iterable
from pathlib import Path

from xr2mri_jax.errors import InputError
from xr2mri_jax.io.oai.names import sequence_of
from xr2mri_jax.io.records import Grade, Knee, MriSeries, RadiographFile, Source
from xr2mri_jax.io.tables import Row, read_table

COLUMNS = ("subject", "side", "visit", "xray", "mri", "kl")
_SIDES = {"left": "left", "l": "left", "right": "right", "r": "right"}
_VIEWS = {"", "single", "bilateral"}
_NO_GRADE = {"", "-1", "na", "n/a", "nan", "."}


def read_manifest(path: str | Path, visit: str | None = None) -> Source:
    """Reads a manifest: one row per knee and visit, paths relative to the manifest's folder.

    Columns (any case, any order): `subject` and `side` (left, right, L, R); `visit` (a code like
    V03, months like 24 or 24m, or any name; may be empty); `xray` and `mri` (a file, or for an MRI
    also a folder or archive of slices; may be empty); `kl` (0..4, empty for unknown). Optional:
    `view` ("single": the knee alone, "bilateral": both knees in the radiograph; empty: bilateral if
    rows of both sides name the same file, else single), `sequence` (the MRI's, for choosing by
    sequence; empty: not stated) and `spacing` (mm per pixel of the radiograph, overrides its
    file). Commas, semicolons or tabs separate the cells.

    Several rows may name one radiograph, in any spelling of its path. The view and spacing of one
    of them are those of the radiograph.

    Args:
      path: the manifest.
      visit: the visit code of rows whose cell `visit` is empty.

    Returns:
      A Source. A row's file that does not exist becomes a record with a `problem`, so that one
      missing file among thousands is reported and does not end the run. The `grades` hold every
      row, even those without a grade: a row without any file still counts as a knee.

    Raises:
      InputError: names the row and the column of the first invalid cell: no subject, an unknown
        side, view, sequence or spacing, a grade outside 0..4, an unreachable path, contradictory
        grades in two rows of one knee and visit, or contradictory views or spacings in two rows of
        one radiograph.
    """
    path = Path(path)
    required = COLUMNS[:2]
    rows = read_table(path, required=required, delimiters=",;\t")
    if rows and not {"xray", "mri"} & set(rows[0].cells):
        raise InputError(f"{path}: columns 'xray' and 'mri' are missing, expected at least one")
    if not rows:
        raise InputError(f"{path}: found a header and no rows, expected one row for each knee")
    series: dict[MriSeries, None] = {}
    grades: dict[Knee, tuple[Grade, Row]] = {}
    problems: list[str] = []
    for row in rows:
        grade = _grade(row, visit)
        _add_grade(grades, grade, row, problems)
        if row.get("mri"):
            file, problem = _locate(row, "mri")
            name, exact = _sequence(row)
            scan = MriSeries(
                grade.subject, grade.visit, grade.side, file, name, exact, problem=problem
            )
            series[scan] = None
    radiographs = [film for named in _rows_by_film(rows) for film in _radiographs(named, visit)]
    found = tuple(grade for grade, _ in grades.values())
    return Source(tuple(radiographs), tuple(series), found, tuple(problems))


def _grade(row: Row, visit: str | None) -> Grade:
    if not row["subject"]:
        raise row.error("subject", "", "a subject")
    side = _SIDES.get(row["side"].lower())
    if side is None:
        raise row.error("side", row["side"], "left or right")
    text = row.get("kl").lower().replace(",", ".")  # a decimal comma, as in the spacing
    kl = None
    if text not in _NO_GRADE:
        if text not in {"0", "1", "2", "3", "4", "0.0", "1.0", "2.0", "3.0", "4.0"}:
            raise row.error("kl", row["kl"], "a Kellgren-Lawrence grade 0..4, or nothing")
        kl = int(text[0])
    return Grade(row["subject"], side, _visit(row, visit), kl, raw=row.get("kl"))


def _visit(row: Row, default: str | None) -> str:
    return row.get("visit") or default or ""


def _add_grade(
    grades: dict[Knee, tuple[Grade, Row]], grade: Grade, row: Row, problems: list[str]
) -> None:
    """Keeps one grade per knee and visit; a second row may repeat or complete it."""
    known = grades.get(grade.knee)
    if known is None:
        grades[grade.knee] = grade, row
        return
    first, first_row = known
    problems.append(
        f"{row.table}, row {row.number}: subject {grade.subject}, {grade.side}, visit "
        f"{grade.visit or '(none)'} is in row {first_row.number} too"
    )
    if first.kl is None:
        grades[grade.knee] = grade, row
    elif grade.kl is not None and grade.kl != first.kl:
        expected = f"{first.kl} as in row {first_row.number} for the same knee and visit"
        raise row.error("kl", row["kl"], expected)


def _rows_by_film(rows: Iterable[Row]) -> Iterable[list[Row]]:
    """The rows of each subject's radiographs; all spellings of a path are one radiograph."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row.get("xray"):
            file = os.path.realpath(row.path("xray"))
            found.setdefault((row["subject"], file), []).append(row)
    return found.values()


def _radiographs(rows: list[Row], visit: str | None) -> Iterable[RadiographFile]:
    """The records of one radiograph: one for each of its visits."""
    side = _side_shown(rows)
    spacing = _spacing(rows)
    file, problem = _locate(rows[0], "xray")
    return dict.fromkeys(
        RadiographFile(
            row["subject"], _visit(row, visit), file, side, problem=problem, spacing=spacing
        )
        for row in rows
    )


def _side_shown(rows: list[Row]) -> str | None:
    """The side of a radiograph of one knee; None if its rows are of both, or one says bilateral."""
    for row in rows:
        if row.get("view").lower() not in _VIEWS:
            raise row.error("view", row["view"], "single, bilateral or nothing")
    views = [row.get("view").lower() for row in rows]
    sides = {_SIDES[row["side"].lower()] for row in rows}
    if "bilateral" not in views and len(sides) == 1:
        return sides.pop()
    if "single" in views:
        row = rows[views.index("single")]
        if len(sides) == 2:
            raise row.error("view", row["view"], "bilateral: the other side's row names this file")
        raise row.error("view", row["view"], "bilateral, as another row of this file says")
    return None


def _spacing(rows: list[Row]) -> float | None:
    """The spacing that any row of a radiograph states; an empty cell agrees with every value."""
    stated = [(row, value) for row in rows if (value := row.spacing()) is not None]
    for row, value in stated:
        first, spacing = stated[0]
        if value != spacing:
            expected = f"{first['spacing']!r} as in row {first.number} for the same radiograph"
            raise row.error("spacing", row["spacing"], expected)
    return stated[0][1] if stated else None


def _sequence(row: Row) -> tuple[str | None, bool]:
    """The sequence that the row states; names of unknown sequences count as "other"."""
    text = row.get("sequence")
    if not text:
        return None, False
    return sequence_of(text)


def _locate(row: Row, column: str) -> tuple[Path, str]:
    text, path = row[column], row.path(column)
    exists = path.exists()
    if exists and column == "xray" and path.is_dir():
        return path, f"{row.table}, row {row.number}, column xray: {text} is a folder, not a file"
    if exists:
        return path, ""
    return path, f"{row.table}, row {row.number}, column {column}: {text} does not exist"
