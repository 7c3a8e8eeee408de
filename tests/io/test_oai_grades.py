"""Tests of the readers of Kellgren-Lawrence tables."""

import math
import sys

import pytest
from sas_table import SAS_TABLE

from xr2mri_jax.errors import InputError
from xr2mri_jax.io.oai import find_grade_tables, read_grades
from xr2mri_jax.io.oai.grades import read_archive_grades, rows_from_columns


def table(tmp_path, lines, name="kxr_sq_bu00.txt"):
    path = tmp_path / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def grade_of(tmp_path, *rows, header="ID|SIDE|READPRJ|V00XRKL"):
    found = read_grades([table(tmp_path, [header, *rows])])
    return [(grade.subject, grade.side, grade.visit, grade.kl) for grade in found.grades]


def test_labels_and_bare_values(tmp_path):
    assert grade_of(tmp_path, "9000099|1: Right|15|0: 0", "9000099|2|15|3") == [
        ("9000099", "right", "V00", 0),
        ("9000099", "left", "V00", 3),
    ]


def test_column_case_and_visit_prefix(tmp_path):
    rows = ["9000099|1|15|4"]
    for header in ("id|side|readprj|v03xrkl", "Id|Side|ReadPrj|V03XRKL"):
        assert grade_of(tmp_path, *rows, header=header) == [("9000099", "right", "V03", 4)]


def test_several_visits_in_one_table(tmp_path):
    header = "ID|SIDE|READPRJ|V00XRKL|V01XRKL|V00XRJSM"
    assert grade_of(tmp_path, "7|2|15|1|2|9", header=header) == [
        ("7", "left", "V00", 1),
        ("7", "left", "V01", 2),
    ]


@pytest.mark.parametrize(
    "text", ["", ".", ".A", ".A: Not Expected", ".: Missing Form/Incomplete Workbook", "NaN", " "]
)
def test_missing_grades_are_none(tmp_path, text):
    assert grade_of(tmp_path, f"9000099|1|15|{text}") == [("9000099", "right", "V00", None)]


@pytest.mark.parametrize("text", ["8", "9", "1.9", "-1", "inf"])
def test_numbers_that_are_no_grade_are_none(tmp_path, text):
    assert grade_of(tmp_path, f"9000099|1|15|{text}") == [("9000099", "right", "V00", None)]


@pytest.mark.parametrize(
    ("rows", "kl"),
    [
        (["1|1|42|3", "1|1|15|1", "1|1|37|2"], 1),
        (["1|1|42|3", "1|1|37|2"], 2),
        (["1|1|42|3"], 3),
        (["1|1|15|.A: Not Expected", "1|1|37|2", "1|1|42|3"], 2),
        (["1|1|15: Project 15|1", "1|1|37|2"], 1),
        (["1|1|15|.", "1|1|37|."], None),
    ],
)
def test_reading_projects_15_then_37_then_42(tmp_path, rows, kl):
    (grade,) = read_grades([table(tmp_path, ["ID|SIDE|READPRJ|V00XRKL", *rows])]).grades
    assert grade.kl == kl


def test_contradiction_within_a_project_is_no_grade_and_noted(tmp_path):
    rows = ["ID|SIDE|READPRJ|V00XRKL", "1|1|15|1", "1|1|15|2", "1|1|37|2", "2|1|15|3", "2|1|15|3"]
    found = read_grades([table(tmp_path, rows)])
    assert [grade.kl for grade in found.grades] == [None, 3]
    assert found.problems == (
        "subject 1, right, V00: project 15 reads KL 1 and 2; the grade is taken as missing",
    )


def test_other_projects_are_counted_and_left_out(tmp_path):
    rows = ["ID|SIDE|READPRJ|V00XRKL", "1|1|99|1", "2|1|15|2"]
    found = read_grades([table(tmp_path, rows)])
    assert [grade.subject for grade in found.grades] == ["2"]
    assert found.problems[0].startswith("1 KL readings of other projects")


def test_barcode_and_raw_text_are_kept(tmp_path):
    rows = ["ID|SIDE|READPRJ|V00XRKL|V00BARCDBU", "1|1|15|2: 2|016600839603"]
    (grade,) = read_grades([table(tmp_path, rows)]).grades
    assert (grade.barcode, grade.raw, grade.project) == ("016600839603", "2: 2", "15")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("1|3|15|0", "row 2, column side: found '3', expected 1"),
        ("1||15|0", "row 2, column side: found ''"),
        ("|1|15|0", "row 2, column id"),
        ("1|1|15|two", "row 2, column v00xrkl: found 'two', expected a grade"),
        ("1|1|15", "found 3 cells, expected 4"),
    ],
)
def test_wrong_cells_are_refused(tmp_path, row, message):
    with pytest.raises(InputError, match=message):
        grade_of(tmp_path, row)


def test_table_without_a_grade_column(tmp_path):
    with pytest.raises(InputError, match="no column like V00XRKL, found id, side"):
        grade_of(tmp_path, "1|1", header="ID|SIDE")


def test_find_grade_tables_prefers_text_and_leaves_reliability_out(tmp_path):
    names = ["KXR_SQ_BU00.txt", "kxr_sq_bu00.sas7bdat", "kxr_sq_bu01.sas7bdat"]
    others = ["kxr_sq_rel_bu00.txt", "kxr_qjsw_duryea00.txt"]
    paths = [tmp_path / name for name in [*others, *reversed(names)]]
    assert find_grade_tables(paths) == [tmp_path / names[0], tmp_path / names[2]]


def test_tables_of_one_name_in_two_folders_are_both_read(tmp_path):
    paths = []
    for folder, kl in (("v06", 2), ("v08", 3)):
        (tmp_path / folder).mkdir()
        rows = ["ID|SIDE|READPRJ|V00XRKL", f"1|1|15|{kl}", f"{folder}|1|15|{kl}"]
        paths.append(table(tmp_path / folder, rows))
    (tmp_path / "sas").mkdir()
    found = find_grade_tables([*paths, tmp_path / "sas" / "kxr_sq_bu00.sas7bdat"])
    assert found == paths
    read = read_grades(found)
    assert {grade.subject: grade.kl for grade in read.grades} == {"1": None, "v06": 2, "v08": 3}
    (note,) = read.problems
    assert note.startswith("subject 1, right, V00: project 15 reads KL 2 and 3")


def test_archive_table(tmp_path):
    lines = [
        '"src_subject_id"\t"visit"\t"readprj"\t"side"\t"xrkl"\t"barcode"',
        '"Subject ID"\t"Visit"\t"Project"\t"Side of knee"\t"Grade"\t"Barcode"',
        '"9000099"\t"V00"\t"15"\t"1"\t"2"\t"016600341204"',
        '"9000099"\t"V06"\t"37"\t"2"\t""\t""',
    ]
    grades = read_archive_grades(table(tmp_path, lines, "oai_kxrsemiquant01.txt")).grades
    assert [(grade.knee, grade.kl, grade.barcode) for grade in grades] == [
        (("9000099", "right", "V00"), 2, "016600341204"),
        (("9000099", "left", "V06"), None, ""),
    ]


class FakePyreadstat:
    """Stands for pyreadstat: gives what it gives for a SAS table."""

    class PyreadstatError(Exception):
        """As the package's."""

    ReadstatError = PyreadstatError

    def __init__(self, columns=None):
        self.columns = columns

    def read_sas7bdat(self, path, output_format):
        assert output_format == "dict"
        if self.columns is None:
            raise self.PyreadstatError("Invalid file, or file has unsupported features")
        return self.columns, None


def test_sas_columns_read_as_the_text_does(tmp_path, monkeypatch):
    columns = {
        "ID": ["9000099", "9000099"],
        "SIDE": [1.0, 2.0],
        "READPRJ": ["15", "15"],
        "V00XRKL": [2.0, math.nan],
    }
    monkeypatch.setitem(sys.modules, "pyreadstat", FakePyreadstat(columns))
    path = table(tmp_path, ["x"], "kxr_sq_bu00.sas7bdat")
    grades = read_grades([path]).grades
    assert [(grade.side, grade.kl) for grade in grades] == [("right", 2), ("left", None)]


def test_a_real_sas_table(tmp_path):
    pytest.importorskip("pyreadstat")
    path = tmp_path / "kxr_sq_bu00.sas7bdat"
    path.write_bytes(SAS_TABLE)
    grades = read_grades([path]).grades
    assert [(grade.knee, grade.kl, grade.project, grade.barcode) for grade in grades] == [
        (("0000099", "right", "V00"), 2, "15", "016600839603"),
        (("0000099", "left", "V00"), 0, "15", "016600839603"),
        (("9000100", "right", "V00"), 3, "42", "016600839604"),
        (("9000100", "left", "V00"), None, "15", ""),
    ]


@pytest.mark.parametrize("length", [0, 10, 1500, 5000, 8000])
def test_a_truncated_sas_table(tmp_path, length):
    pytest.importorskip("pyreadstat")
    path = tmp_path / "kxr_sq_bu00.sas7bdat"
    path.write_bytes(SAS_TABLE[:length])
    with pytest.raises(InputError, match="cannot be read as SAS7BDAT"):
        read_grades([path])


def test_sas_errors_are_one_line(tmp_path, monkeypatch):
    path = table(tmp_path, ["x"], "kxr_sq_bu00.sas7bdat")
    monkeypatch.setitem(sys.modules, "pyreadstat", None)
    with pytest.raises(InputError, match="needs the package pyreadstat"):
        read_grades([path])
    monkeypatch.setitem(sys.modules, "pyreadstat", FakePyreadstat())
    with pytest.raises(InputError, match="cannot be read as SAS7BDAT"):
        read_grades([path])
    with pytest.raises(InputError, match="no such file"):
        read_grades([tmp_path / "none.sas7bdat"])


def test_values_become_the_text_of_the_text_table(tmp_path):
    columns: dict[str, list[object]] = {"Id": [9000099.0], "SIDE": [None], "X": [1.5], "D": ["a "]}
    (row,) = rows_from_columns(tmp_path / "t", columns)
    assert dict(row.cells) == {"id": "9000099", "side": "", "x": "1.5", "d": "a"}
    with pytest.raises(InputError, match="'side' is missing"):
        rows_from_columns(tmp_path / "t", {"ID": [1.0]})
