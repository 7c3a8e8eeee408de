"""Reads Kellgren-Lawrence tables: kxr_sq_bu*.txt and SAS, and oai_kxrsemiquant01.txt."""

import dataclasses
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from xr2mri_jax.errors import InputError
from xr2mri_jax.io.oai.names import barcode_key
from xr2mri_jax.io.records import Grade, Knee
from xr2mri_jax.io.tables import Row, read_table

PROJECTS = ("15", "37", "42")  # reading projects, the preferred first
_GRADE_COLUMN = re.compile(r"(v\d\d)xrkl")
_FILE_NAME = re.compile(r"kxr_sq_bu\d\d\.(txt|csv|sas7bdat)", re.IGNORECASE)
_SIDES = {"1": "right", "2": "left", "right": "right", "left": "left"}


@dataclasses.dataclass(frozen=True, slots=True)
class GradeTable:
    """The grades of one or several tables, one per knee and visit; `problems` are notes."""

    grades: tuple[Grade, ...]
    problems: tuple[str, ...] = ()


def find_grade_tables(files: Iterable[Path]) -> list[Path]:
    """The files whose name is that of a KL table, without SAS tables that are there as text too.

    The two forms of a table have one name and usually lie in different folders. Tables of one name
    and form (of two releases) are all included. The tables of reading reliability
    (kxr_sq_rel_bu*.txt) are different and not included.
    """
    tables = [path for path in files if _FILE_NAME.fullmatch(path.name)]
    texts = {path.stem.lower() for path in tables if not _is_sas(path)}
    return sorted(path for path in tables if not _is_sas(path) or path.stem.lower() not in texts)


def _is_sas(path: Path) -> bool:
    return path.suffix.lower() == ".sas7bdat"


def read_grades(paths: Iterable[str | Path]) -> GradeTable:
    """Reads KL tables: `|` separated text, or SAS7BDAT by the name's ending.

    Values may be bare ("0") or labelled ("0: 0", "1: Right"), column names in any case. Rows repeat
    for each reading project: of those with a grade the first of 15, 37, 42 is used.

    Raises:
      InputError: a table without ID, SIDE or a VnnXRKL column, or a value that is neither a number
        nor a missing-value code.
    """
    readings: list[Grade] = []
    problems: list[str] = []
    for path in map(Path, paths):
        rows = _sas_rows(path) if _is_sas(path) else _text_rows(path)
        columns = rows[0].cells if rows else {}
        visits = {name: match[1] for name in columns if (match := _GRADE_COLUMN.fullmatch(name))}
        if rows and not visits:
            raise InputError(f"{path}: no column like V00XRKL, found {', '.join(columns)}")
        for row in rows:
            for column, visit in visits.items():
                barcode = row.get(f"{visit}barcdbu")
                readings.append(_reading(row, row["id"], visit.upper(), column, barcode))
    grades = choose_project(readings, problems)
    return GradeTable(grades, tuple(problems))


def read_archive_grades(
    path: str | Path,
    visits: Mapping[tuple[str, str], str] | None = None,
    visit: str | None = None,
) -> GradeTable:
    """Reads oai_kxrsemiquant01.txt (NIMH Data Archive): tab separated, two header rows.

    Args:
      path: the table.
      visits: for rows without a visit, the visit by subject and `barcode_key`.
      visit: for rows without a visit whose barcode is not in `visits`, unless the knee has another
        reading of that visit.

    Raises:
      InputError: as `read_grades`.
    """
    required = ("src_subject_id", "visit", "side", "xrkl")
    rows = read_table(Path(path), required=required, delimiters="\t", header_rows=2)
    readings: list[Grade] = []
    undated: list[Grade] = []
    for row in rows:
        subject, barcode = row["src_subject_id"], row.get("barcode")
        known = row["visit"].upper() or (visits or {}).get((subject, barcode_key(barcode)), "")
        reading = _reading(row, subject, known or visit or "", "xrkl", barcode)
        (readings if known else undated).append(reading)
    dated = {reading.knee for reading in readings}
    readings += [reading for reading in undated if reading.knee not in dated]
    problems: list[str] = []
    return GradeTable(choose_project(readings, problems), tuple(problems))


def choose_project(readings: Iterable[Grade], problems: list[str]) -> tuple[Grade, ...]:
    """One reading per knee and visit: that of the preferred project with a grade.

    A knee without any grade keeps its first reading. Two contradictory readings of one project
    count as no grade, with a line in `problems`; readings of projects outside PROJECTS are left out
    and counted there. A different grade without a project (a manifest's) also gives a line.
    """
    by_knee: dict[Knee, list[Grade]] = {}
    foreign = 0
    for reading in readings:
        if reading.project and reading.project not in PROJECTS:
            foreign += 1
            continue
        by_knee.setdefault(reading.knee, []).append(reading)
    if foreign:
        problems.append(f"{foreign} KL readings of other projects than 15, 37, 42 are not used")
    return tuple(_best(knee, found, problems) for knee, found in by_knee.items())


def _best(knee: Knee, readings: list[Grade], problems: list[str]) -> Grade:
    for project in (*PROJECTS, ""):
        mine = [reading for reading in readings if reading.project == project]
        graded = [reading for reading in mine if reading.kl is not None]
        kinds = sorted({reading.kl for reading in graded if reading.kl is not None})
        if len(kinds) > 1:
            problems.append(
                f"subject {knee[0]}, {knee[1]}, {knee[2]}: project {project or '(none)'} reads "
                f"KL {' and '.join(map(str, kinds))}; the grade is taken as missing"
            )
            return dataclasses.replace(graded[0], kl=None)
        if graded:
            _note_overridden(knee, graded[0], readings, problems)
            return graded[0]
    return min(readings, key=lambda reading: (*PROJECTS, "").index(reading.project))


def _note_overridden(knee: Knee, chosen: Grade, readings: list[Grade], problems: list[str]) -> None:
    """Adds a line if the chosen grade of a project replaces another one without a project."""
    other = {each.kl for each in readings if not each.project} - {chosen.kl, None}
    if chosen.project and other:
        problems.append(
            f"subject {knee[0]}, {knee[1]}, {knee[2]}: KL {chosen.kl} of project {chosen.project} "
            f"is used instead of KL {' and '.join(map(str, sorted(other, key=str)))}"
        )


def _reading(row: Row, subject: str, visit: str, column: str, barcode: str) -> Grade:
    if not subject:
        raise row.error("id", subject, "a subject")
    label = row["side"].partition(":")[0].strip().lower()
    side = _SIDES.get(_plain_number(label))
    if side is None:
        raise row.error("side", row["side"], "1 (right) or 2 (left)")
    project = _plain_number(row.get("readprj").partition(":")[0].strip())
    kl = _kl(row, column)
    return Grade(subject, side, visit, kl, project, barcode, row[column])


def _kl(row: Row, column: str) -> int | None:
    """The grade in a cell; None for a missing-value code and for a number that is not a grade."""
    value = row[column].partition(":")[0].strip()
    missing_code = value.startswith(".") and not value[1:].isdigit()
    if value.lower() in ("", "nan") or missing_code:
        return None
    try:
        number = float(value)
    except ValueError as error:
        raise row.error(column, row[column], "a grade 0..4 or a missing-value code") from error
    return int(number) if number in (0, 1, 2, 3, 4) else None


def _plain_number(text: str) -> str:
    """ "15.0" and "015" as "15"; anything else unchanged."""
    try:
        number = float(text)
    except ValueError:
        return text
    return str(int(number)) if math.isfinite(number) and number == int(number) else text


def _text_rows(path: Path) -> tuple[Row, ...]:
    return read_table(path, required=("id", "side"), delimiters="|,\t")


def _sas_rows(path: Path) -> tuple[Row, ...]:
    try:
        import pyreadstat  # an optional package: most users have the text tables
    except ImportError as error:
        raise InputError(
            f"{path}: reading SAS tables needs the package pyreadstat: in the clone, pip install "
            "'.[sas]'; the same table as .txt needs nothing more"
        ) from error
    if not path.is_file():
        raise InputError(f"{path}: no such file, expected a SAS7BDAT table")
    try:
        columns, _ = pyreadstat.read_sas7bdat(str(path), output_format="dict")
    except (
        pyreadstat.PyreadstatError,
        pyreadstat.ReadstatError,
        UnicodeDecodeError,
    ) as error:
        raise InputError(f"{path}: cannot be read as SAS7BDAT ({error})") from error
    return rows_from_columns(path, columns)


def rows_from_columns(path: Path, columns: Mapping[str, Iterable[object]]) -> tuple[Row, ...]:
    """Rows of text from columns of values (numbers, text, None or NaN), like the text tables.

    Raises:
      InputError: ID or SIDE is not among the columns.
    """
    lower = {name.strip().lower(): list(values) for name, values in columns.items()}
    for name in ("id", "side"):
        if name not in lower:
            raise InputError(f"{path}: column {name!r} is missing, found {', '.join(lower)}")
    rows = zip(*lower.values(), strict=True)
    return tuple(
        Row(path, number, dict(zip(lower, map(_cell_text, values), strict=True)))
        for number, values in enumerate(rows, start=2)
    )


def _cell_text(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return _plain_number(str(value).strip()) if isinstance(value, float) else str(value).strip()
