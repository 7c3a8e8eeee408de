"""Tests of the reader of NIMH Data Archive packages."""

import dataclasses

import pytest
from made_packages import IMAGE_COLUMNS, KNEES, image, package, write_nda, write_tar

from xr2mri_jax.datasets.pairing import pair_source
from xr2mri_jax.errors import InputError
from xr2mri_jax.io.oai import read_archive
from xr2mri_jax.io.records import RadiographFile, Source
from xr2mri_jax.io.sources import layout_of, read_source


def test_tables_are_joined_by_barcode(tmp_path):
    root = package(
        tmp_path / "nda",
        [
            image("9000099", "00341204", KNEES),
            image("9000099", "10142509", "SAG_3D_DESS_RIGHT"),
            image("9000099", "10142510", "AX_T1_THIGH"),
        ],
        [("9000099", "V00", "3", KNEES, "016600341204")],
        [("9000099", "V00", "15", "1", "2", "016600341204")],
    )
    assert layout_of(root) == "archive"
    source = read_source(root)
    (film,), (scan,), (grade,) = source.radiographs, source.series, source.grades
    assert (film.subject, film.visit, film.side, film.problem) == ("9000099", "V00", None, "")
    assert film.path == root / "image03/00m/0.C.2/9000099/20040914/00341204.tar.gz"
    assert (scan.sequence, scan.exact, scan.side, scan.barcode) == (
        "dess",
        True,
        "right",
        "016610142509",
    )
    assert (grade.knee, grade.kl) == (("9000099", "right", "V00"), 2)
    assert source.ignored == {"AX_T1_THIGH": 1}
    assert source.problems == ()


@pytest.mark.parametrize("place", ["packages/1217891", "1217891/tables", "OAI_00m/1217891"])
def test_a_package_named_by_seven_digits_is_found_but_participants_are_not_searched(
    tmp_path, place
):
    root = tmp_path / "nda"
    package(root / place, [image("9000099", "00341204", KNEES)])
    # Neither below a release nor elsewhere are the folders of participants searched.
    for hidden in ("0.C.2/9000099", "files/9000100/20040914"):
        package(root / hidden, [image("9000099", "00000001", KNEES)])
    assert layout_of(root) == "archive"
    (film,) = read_archive(root).radiographs
    assert film.barcode == "016600341204"


def test_description_side_and_visit_from_the_xray_table(tmp_path):
    root = package(
        tmp_path / "nda",
        [image("9000099", "00341204", "X-Ray", visit="", study="")],
        [("9000099", "V03", "2", "Unilateral PA Knee", "00341204")],
    )
    (film,) = read_archive(root).radiographs
    assert (film.side, film.visit) == ("left", "V03")


@pytest.mark.parametrize(
    ("visit", "study", "expected"),
    [("V05", "0.C.2", "V05"), ("", "OAI Image Release 6.C.1", "V06"), ("", "", "V00")],
)
def test_visit_by_column_then_release_then_path(tmp_path, visit, study, expected):
    root = package(tmp_path / "nda", [image("1", "00000001", KNEES, visit, study)])
    assert read_archive(root).radiographs[0].visit == expected


def test_a_scan_repeated_after_new_year_is_the_later_one(tmp_path):
    columns = (*IMAGE_COLUMNS, "interview_date")
    dates = ("12/28/2004", "01/05/2005", "2005-01-04", "soon", "")
    rows = [
        (*image("1", f"1000000{number}", "SAG_3D_DESS_RIGHT"), date)
        for number, date in enumerate(dates)
    ]
    write_nda(tmp_path / "image03.txt", columns, rows)
    source = read_archive(tmp_path)
    found = [scan.date for scan in source.series]
    assert found == ["2004-12-28", "2005-01-05", "2005-01-04", "", ""]
    (note,) = source.problems
    assert "row 6, column interview_date: found 'soon', expected MM/DD/YYYY" in note
    present = tuple(dataclasses.replace(scan, problem="") for scan in source.series)
    film = RadiographFile("1", "V00", tmp_path)
    (pair,) = pair_source(Source((film,), present)).pairs
    assert pair.series.barcode == "016610000001"


def test_unknown_visit(tmp_path):
    entry = ("K", "1", "files/00000001.tar.gz", KNEES, "", "", "1")
    root = package(tmp_path / "nda", [entry], present=False)
    with pytest.raises(InputError, match="row 3, column visit: found ''"):
        read_archive(root)
    assert read_archive(root, visit="V10").radiographs[0].visit == "V10"


def test_archive_not_downloaded_is_a_problem_and_elsewhere_is_found(tmp_path):
    images = [image("1", "00000001", "SAG_3D_DESS_LEFT"), image("2", "00000002", KNEES)]
    root = package(tmp_path / "nda", images, present=False)
    write_tar(root / "9/20040914/00000002.tar.gz", [("001", b"x")])
    (root / "9").rename(root / "image03")
    source = read_archive(root)
    assert "row 3" in source.series[0].problem and "is not under" in source.series[0].problem
    assert source.radiographs[0].path == root / "image03/20040914/00000002.tar.gz"


def test_grades_that_lead_nowhere_are_counted(tmp_path):
    root = package(
        tmp_path / "nda",
        [image("1", "00000001", KNEES)],
        [("1", "V00", "3", KNEES, "016600000001"), ("1", "V00", "3", KNEES, "016600000009")],
        [
            ("1", "V00", "15", "1", "2", "016600000001"),
            ("1", "V00", "15", "2", "2", "016600000009"),
            ("2", "V00", "15", "2", "2", "016600000001"),
        ],
    )
    assert read_archive(root).problems == (
        "1 grades have a barcode that oai_xrmeta01.txt does not list",
        "2 grades have a barcode of which image03.txt lists no radiograph",
    )


def test_images_listed_in_two_packages_count_once(tmp_path):
    package(tmp_path / "a", [image("1", "00000001", KNEES)])
    package(tmp_path / "b", [image("1", "00000001", KNEES)])
    source = read_archive(tmp_path)
    assert len(source.radiographs) == 1 and "listed twice" in source.problems[0]


def test_refusals(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        read_archive(tmp_path / "none")
    with pytest.raises(InputError, match=r"found no image03\.txt"):
        read_archive(tmp_path)
    root = package(tmp_path / "nda", [image("", "00000001", KNEES)])
    with pytest.raises(InputError, match="row 3, column src_subject_id"):
        read_archive(root)
    for address in ("s3://bucket/../../etc/passwd", "", "s3://b/" + "y" * 300):
        package(tmp_path / "nda", [("K", "1", address, KNEES, "", "V00", "1")], present=False)
        with pytest.raises(InputError, match="column image_file"):
            read_archive(root)


def test_a_grade_without_a_visit_has_that_of_its_barcodes_radiograph(tmp_path):
    root = package(
        tmp_path / "nda",
        [
            image("1", "00000001", KNEES),
            image("1", "00000003", KNEES, visit="V03"),
            image("1", "00000002", "SAG_3D_DESS_RIGHT"),
        ],
        [("1", "V01", "3", KNEES, "016600000005")],
        [
            ("1", "", "15", "1", "3", "016600000001"),
            ("1", "", "15", "1", "4", "3"),
            ("1", "", "15", "1", "2", "016600000005"),
            ("1", "", "15", "2", "1", "016600000009"),
        ],
    )
    source = read_source(root)
    assert {grade.knee[1:]: grade.kl for grade in source.grades} == {
        ("right", "V00"): 3,
        ("right", "V03"): 4,
        ("right", "V01"): 2,
        ("left", ""): 1,
    }
    (pair,) = pair_source(source).pairs
    assert (pair.kl, pair.note) == (3, "")
    assert read_source(root, visit="V06").grades[-1].knee == ("1", "left", "V06")


def test_a_given_visit_contradicts_no_dated_grade(tmp_path):
    images = [image("1", "00000001", KNEES), image("1", "00000002", "SAG_3D_DESS_RIGHT")]
    grades = [("1", "", "15", "1", "1", "016600000009"), ("1", "V00", "15", "1", "3", "")]
    root = package(tmp_path / "nda", images, grades=grades)
    (grade,) = read_source(root, visit="V00").grades
    assert (grade.knee, grade.kl) == (("1", "right", "V00"), 3)


def test_a_grade_with_another_barcode_than_the_radiograph_is_noted(tmp_path):
    images = [image("1", "00000001", KNEES), image("1", "00000002", "SAG_3D_DESS_RIGHT")]
    grades = [("1", "V00", "15", "1", "3", "016600000009")]
    (pair,) = pair_source(read_source(package(tmp_path, images, grades=grades))).pairs
    assert pair.kl == 3
    assert pair.note == "KL 3 was read in radiograph 016600000009, not in 016600000001"
