"""Reads the OAI in the NIMH Data Archive: image03.txt and one archive per series."""

import contextlib
import datetime
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from xr2mri_jax.errors import InputError
from xr2mri_jax.io.oai import names
from xr2mri_jax.io.oai.grades import read_archive_grades
from xr2mri_jax.io.oai.release import is_knee_series, walk_files
from xr2mri_jax.io.records import Grade, MriSeries, RadiographFile, Source
from xr2mri_jax.io.tables import Row, read_table

IMAGES, XRAYS, GRADES = "image03.txt", "oai_xrmeta01.txt", "oai_kxrsemiquant01.txt"
TABLES = (IMAGES, XRAYS, GRADES)
_REQUIRED = ("src_subject_id", "image_file", "image_description", "accession_number")
_BOTH_SIDES = "3"
_XRAY_SIDES = {"1": "right", "2": "left"}
_VISIT = re.compile(r"V\d\d")


def read_archive(root: str | Path, visit: str | None = None) -> Source:
    """Reads image03.txt, oai_xrmeta01.txt and oai_kxrsemiquant01.txt under `root`.

    The barcode of oai_kxrsemiquant01, which is that of oai_xrmeta01 and image03.accession_number,
    gives a grade without a visit the visit of its radiograph; `pairing.pair_source` chooses by it
    among several radiographs of a visit. The last two tables may be absent. Archives are not opened
    here: `extract.opened` does that, series by series.

    Args:
      root: the downloaded package(s).
      visit: the visit code of images whose row does not give it in the column visit, by release or
        by path, and of grades without a visit whose barcode is unknown.

    Raises:
      InputError: no image03.txt, a table without its columns, an image without a subject or visit.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"{root}: no such folder, expected a package of the NIMH Data Archive")
    found: dict[str, list[Path]] = {name: [] for name in TABLES}
    for path in walk_files(root):
        found.get(path.name.lower(), []).append(path)
    if not found[IMAGES]:
        raise InputError(f"{root}: found no {IMAGES}, expected the table of images")
    problems: list[str] = []
    xrays = _xray_rows(found[XRAYS])
    radiographs: list[RadiographFile] = []
    series: list[MriSeries] = []
    ignored: Counter[str] = Counter()
    seen: set[tuple[str, str]] = set()
    for table_path in found[IMAGES]:
        for row in _image_rows(table_path):
            key = row["image_file"], row["image_description"]
            if key in seen:
                problems.append(f"{table_path}, row {row.number}: {key[0]} is listed twice")
                continue
            seen.add(key)
            if row.get("interview_date") and not _date(row):
                text = row["interview_date"]
                problems.append(str(row.error("interview_date", text, "MM/DD/YYYY: ignored")))
            xray = xrays.get((row["src_subject_id"], names.barcode_key(row["accession_number"])))
            _add(row, xray, root, visit, radiographs, series, ignored)
    grades: list[Grade] = []
    visits = _visits_by_barcode(xrays, radiographs)
    for path in found[GRADES]:
        table = read_archive_grades(path, visits, visit)
        grades.extend(table.grades)
        problems.extend(table.problems)
    problems.extend(_unjoined(grades, xrays, radiographs, bool(found[XRAYS])))
    return Source(tuple(radiographs), tuple(series), tuple(grades), tuple(problems), dict(ignored))


def _image_rows(path: Path) -> tuple[Row, ...]:
    return read_table(path, required=_REQUIRED, delimiters="\t", header_rows=2)


def _xray_rows(paths: Iterable[Path]) -> dict[tuple[str, str], Row]:
    rows = {}
    for path in paths:
        required = ("src_subject_id", "barcode")
        for row in read_table(path, required=required, delimiters="\t", header_rows=2):
            if row["barcode"]:
                rows[row["src_subject_id"], names.barcode_key(row["barcode"])] = row
    return rows


def _visits_by_barcode(
    xrays: Mapping[tuple[str, str], Row], radiographs: Iterable[RadiographFile]
) -> dict[tuple[str, str], str]:
    """The visit by subject and key of the barcode; a radiograph's prevails over its X-ray row's."""
    visits = {key: visit for key, row in xrays.items() if (visit := row.get("visit"))}
    for film in radiographs:
        if key := names.barcode_key(film.barcode):
            visits[film.subject, key] = film.visit
    return visits


def _add(
    row: Row,
    xray: Row | None,
    root: Path,
    default_visit: str | None,
    radiographs: list[RadiographFile],
    series: list[MriSeries],
    ignored: Counter[str],
) -> None:
    """Adds an image's row to the radiographs, the MRI series of a knee, or the ignored ones."""
    description = " ".join(row["image_description"].split())
    exam = " ".join((xray.get("examtype") if xray else "").split())
    subject, barcode = row["src_subject_id"], row["accession_number"]
    date = _date(row)
    side = names.side_of(description)
    if names.is_knee_radiograph(description) or names.is_knee_radiograph(exam):
        code = xray.get("side").partition(":")[0].strip() if xray else _BOTH_SIDES
        side = side or _XRAY_SIDES.get(code)
        visit = _visit(row, xray, default_visit)
        path, problem = _locate(row, root)
        radiographs.append(
            RadiographFile(subject, visit, path, side, description or exam, barcode, date, problem)
        )
    elif side and is_knee_series(description):
        sequence, exact = names.sequence_of(description)
        path, problem = _locate(row, root)
        series.append(
            MriSeries(
                subject, _visit(row, None, default_visit), side, path, sequence, exact,
                description, barcode, date, None, problem,
            )
        )  # fmt: skip
    else:
        ignored[description or "(no description)"] += 1


def _date(row: Row) -> str:
    """The date in the order that sorts, YYYY-MM-DD; "" if it is missing or not a date."""
    text = row.get("interview_date").partition(" ")[0]  # a time may follow
    for form in ("%m/%d/%Y", "%Y-%m-%d"):
        with contextlib.suppress(ValueError):
            return datetime.datetime.strptime(text, form).date().isoformat()
    return ""


def _visit(row: Row, xray: Row | None, default: str | None) -> str:
    """The visit: from the column, the X-ray table, the release's name, or a folder of the path."""
    if not row["src_subject_id"]:
        raise row.error("src_subject_id", "", "a participant")
    for text in (row.get("visit").upper(), xray.get("visit").upper() if xray else ""):
        if _VISIT.fullmatch(text):
            return text
    for text in (row.get("study"), *PurePosixPath(row["image_file"]).parts[:-1]):
        visit = names.visit_of(text)
        if visit:
            return visit
    if default is None:
        raise row.error("visit", row.get("visit"), "a visit like V00 (or give the visit)")
    return default


def _locate(row: Row, root: Path) -> tuple[Path, str]:
    """The image's archive on the disk, and the problem if it is missing.

    The column holds an S3 address. A download keeps its end, under the package, under image03/, or
    elsewhere: the longest end that exists is used.
    """
    text = row["image_file"].replace("\\", "/")
    parts = [part for part in text.rpartition("://")[2].split("/") if part]
    if not parts or ".." in parts or len(text.encode()) > names.LONGEST_PATH:
        raise row.error("image_file", row["image_file"], "the address of an archive")
    homes = [row.table.parent, row.table.parent / "image03", root, root / "image03"]
    for start in range(len(parts)):
        for home in homes:
            path = home.joinpath(*parts[start:])
            if path.is_file():
                return path, ""
    problem = f"{row.table.name}, row {row.number}: {row['image_file']} is not under {root}"
    return row.table.parent / parts[-1], problem


def _unjoined(
    grades: Iterable[Grade],
    xrays: dict[tuple[str, str], Row],
    radiographs: Iterable[RadiographFile],
    has_xray_table: bool,
) -> list[str]:
    """Lines on grades whose barcode leads to no radiograph, with their number at each step."""
    images = {(item.subject, names.barcode_key(item.barcode)) for item in radiographs}
    keys = [(grade.subject, names.barcode_key(grade.barcode)) for grade in grades if grade.barcode]
    lines = []
    if has_xray_table and (lost := sum(key not in xrays for key in keys)):
        lines.append(f"{lost} grades have a barcode that {XRAYS} does not list")
    if lost := sum(key not in images for key in keys):
        lines.append(f"{lost} grades have a barcode of which {IMAGES} lists no radiograph")
    return lines
