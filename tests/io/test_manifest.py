"""Tests of the CSV manifest."""

import pytest

from xr2mri_jax.errors import InputError
from xr2mri_jax.io.manifest import read_manifest
from xr2mri_jax.io.sources import read_source

HEADER = "subject,side,visit,xray,mri,kl"


def manifest(tmp_path, *rows, header=HEADER, files=("x.png", "m.nii.gz", "n.nii.gz")):
    for name in files:
        (tmp_path / name).write_bytes(b"x")
    path = tmp_path / "manifest.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def test_a_row_gives_radiograph_series_and_grade(tmp_path):
    source = read_manifest(manifest(tmp_path, "007,R,V03,x.png,m.nii.gz,2"))
    (film,), (scan,), (grade,) = source.radiographs, source.series, source.grades
    assert (film.subject, film.side, film.visit, film.path) == (
        "007",
        "right",
        "V03",
        tmp_path / "x.png",
    )
    assert (scan.side, scan.path, scan.sequence, scan.problem) == (
        "right",
        tmp_path / "m.nii.gz",
        None,
        "",
    )
    assert (grade.knee, grade.kl) == (("007", "right", "V03"), 2)


def test_paths_are_relative_to_the_manifest_or_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    (tmp_path / "deep").mkdir()
    (tmp_path / "x.png").write_bytes(b"x")
    path = manifest(tmp_path / "deep", f"1,left,,../x.png,{tmp_path}/x.png,", files=())
    source = read_manifest(path)
    assert source.radiographs[0].problem == source.series[0].problem == ""


def test_one_file_for_both_sides_is_bilateral(tmp_path):
    path = manifest(tmp_path, "1,left,V00,x.png,m.nii.gz,1", "1,right,V00,x.png,n.nii.gz,3")
    (film,) = read_manifest(path).radiographs
    assert film.side is None


def test_view_tells_what_the_rows_do_not(tmp_path):
    header = HEADER + ",view"
    path = manifest(tmp_path, "1,left,,x.png,,,bilateral", "2,left,,x.png,,,single", header=header)
    assert [film.side for film in read_manifest(path).radiographs] == [None, "left"]
    path = manifest(tmp_path, "1,left,,x.png,,,single", "1,right,,x.png,,,single", header=header)
    with pytest.raises(InputError, match="row 2, column view"):
        read_manifest(path)


def test_sequence_column(tmp_path):
    header = HEADER + ",sequence"
    rows = ["1,left,,x.png,m.nii.gz,,DESS", "2,left,,x.png,m.nii.gz,,PD", "3,left,,,m.nii.gz,,"]
    series = read_manifest(manifest(tmp_path, *rows, header=header)).series
    assert [scan.sequence for scan in series] == ["dess", "other", None]


def test_columns_in_any_order_and_case_with_semicolons(tmp_path):
    path = manifest(tmp_path, "m.nii.gz;Left;5", header="MRI;Side;Subject")
    source = read_manifest(path)
    assert (source.series[0].subject, source.series[0].visit, source.radiographs) == ("5", "", ())
    assert source.grades[0].kl is None


@pytest.mark.parametrize("text", ["", "NA", "-1", ".", "nan"])
def test_missing_grades(tmp_path, text):
    source = read_manifest(manifest(tmp_path, f"1,left,,x.png,,{text}"))
    assert source.grades[0].kl is None


@pytest.mark.parametrize(("text", "kl"), [("2.0", 2), ("2,0", 2), ("3", 3)])
def test_a_grade_may_have_a_decimal_point_or_comma(tmp_path, text, kl):
    path = manifest(tmp_path, f"m.nii.gz;Left;5;{text}", header="MRI;Side;Subject;KL")
    assert read_manifest(path).grades[0].kl == kl


def test_missing_files_are_problems_that_name_row_and_column(tmp_path):
    path = manifest(tmp_path, "1,left,,x.png,gone.nii,", "2,left,,gone.png,m.nii.gz,")
    source = read_manifest(path)
    assert source.series[0].problem.endswith("row 2, column mri: gone.nii does not exist")
    assert source.radiographs[1].problem.endswith("row 3, column xray: gone.png does not exist")
    assert source.radiographs[0].problem == source.series[1].problem == ""


def test_folder_as_mri_is_fine_and_as_radiograph_a_problem(tmp_path):
    (tmp_path / "slices").mkdir()
    source = read_manifest(manifest(tmp_path, "1,left,,slices,slices,"))
    assert source.series[0].problem == ""
    assert "is a folder" in source.radiographs[0].problem


def test_row_without_files_is_still_seen(tmp_path):
    source = read_manifest(manifest(tmp_path, "1,left,V00,,,2"))
    assert (source.radiographs, source.series) == ((), ())
    assert source.grades[0].knee == ("1", "left", "V00")


def test_repeated_knee_is_noted_and_contradicting_grades_refused(tmp_path):
    path = manifest(tmp_path, "1,left,,x.png,m.nii.gz,", "1,left,,x.png,n.nii.gz,2")
    source = read_manifest(path)
    assert len(source.series) == 2 and len(source.radiographs) == 1
    assert [grade.kl for grade in source.grades] == [2]
    assert "row 3: subject 1, left, visit (none) is in row 2 too" in source.problems[0]
    path = manifest(tmp_path, "1,left,,x.png,m.nii.gz,1", "1,left,,x.png,n.nii.gz,2")
    with pytest.raises(InputError, match="row 3, column kl: found '2', expected 1 as in row 2"):
        read_manifest(path)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (",left,,x.png,,", "row 2, column subject: found ''"),
        ("1,both,,x.png,,", "row 2, column side: found 'both', expected left or right"),
        ("1,,,x.png,,", "row 2, column side: found ''"),
        ("1,left,,x.png,,5", "row 2, column kl: found '5', expected"),
        ("1,left,,x.png,,2.5", "row 2, column kl: found '2.5'"),
        ('1,left,,x.png,,"2,5"', "row 2, column kl: found '2,5'"),
        ("1,left,,x.png", "row 2: found 4 cells, expected 6"),
        ("1,left,,~nobody-of-this-name/x.png,,", "row 2, column xray"),
        (f"1,left,,{'y' * 5000},,", "row 2, column xray"),
    ],
)
def test_wrong_cells_name_row_and_column(tmp_path, row, message):
    with pytest.raises(InputError, match=message) as caught:
        read_manifest(manifest(tmp_path, row))
    assert "\n" not in str(caught.value)


def test_header_problems(tmp_path):
    with pytest.raises(InputError, match="column 'side' is missing"):
        read_manifest(manifest(tmp_path, "1", header="subject"))
    with pytest.raises(InputError, match="columns 'xray' and 'mri' are missing"):
        read_manifest(manifest(tmp_path, "1,left", header="subject,side"))
    with pytest.raises(InputError, match="a header and no rows"):
        read_manifest(manifest(tmp_path))


def test_found_as_a_folder_or_a_file_and_joined_with_a_table(tmp_path):
    path = manifest(tmp_path, "9000099,left,V00,x.png,m.nii.gz,")
    table = tmp_path / "grades.txt"
    table.write_text("ID|SIDE|READPRJ|V00XRKL\n9000099|2|15|4\n")
    for where in (path, tmp_path):
        assert read_source(where).grades[0].kl is None
        assert [grade.kl for grade in read_source(where, [table]).grades] == [4]


def test_spacing_of_a_radiograph_is_told_in_its_row(tmp_path):
    path = tmp_path / "manifest.csv"
    path.write_text("subject,side,xray,spacing\n1,R,a.png,0.2\n2,L,b.png,\n")
    spacings = {film.subject: film.spacing for film in read_manifest(path).radiographs}
    assert spacings == {"1": 0.2, "2": None}


@pytest.mark.parametrize("text", ["0", "-1", "wide", "nan", "inf"])
def test_a_spacing_that_is_none_is_refused(tmp_path, text):
    path = tmp_path / "manifest.csv"
    path.write_text(f"subject,side,xray,spacing\n1,R,a.png,{text}\n")
    with pytest.raises(InputError, match=rf"row 2, column spacing: found '{text}'"):
        read_manifest(path)


@pytest.mark.parametrize("visit", ["V03", "v03", "24", "24m"])
def test_tables_of_grades_are_joined_whatever_the_spelling_of_the_visit(tmp_path, visit):
    table = tmp_path / "kxr_sq_bu03.txt"
    table.write_text("ID|SIDE|READPRJ|V03XRKL\n1|1|15|3\n2|1|15|3\n")
    rows = [f"1,right,{visit},x.png,m.nii.gz,2", f"2,right,{visit},x.png,n.nii.gz,3"]
    source = read_source(manifest(tmp_path, *rows), [table])
    assert [(grade.visit, grade.kl) for grade in source.grades] == [("V03", 3)] * 2
    (note,) = source.problems
    assert note == "subject 1, right, V03: KL 3 of project 15 is used instead of KL 2"


def test_two_spellings_of_a_visit_are_one_row_twice(tmp_path):
    rows = ["1,right,V03,x.png,m.nii.gz,2", "1,right,24m,x.png,n.nii.gz,"]
    (note,) = read_manifest(manifest(tmp_path, *rows)).problems
    assert "row 3: subject 1, right, visit V03 is in row 2 too" in note
    with pytest.raises(InputError, match="expected 2 as in row 2"):
        read_manifest(manifest(tmp_path, *rows, "1,right,24,,,4"))


def films(tmp_path, *rows):
    """(side, spacing, name of the file) of the radiographs of rows with view and spacing."""
    source = read_manifest(manifest(tmp_path, *rows, header=HEADER + ",view,spacing"))
    return [(film.side, film.spacing, film.path.name) for film in source.radiographs]


@pytest.mark.parametrize("order", [1, -1])
def test_the_spacing_in_one_row_is_that_of_the_radiograph(tmp_path, order):
    rows = ["1,left,V00,x.png,m.nii.gz,,,0.14", "1,right,V00,x.png,n.nii.gz,,,"]
    assert films(tmp_path, *rows[::order]) == [(None, 0.14, "x.png")]
    rows = ["1,left,V00,x.png,m.nii.gz,,,0.14", "1,left,V00,x.png,n.nii.gz,,,"]
    assert films(tmp_path, *rows[::order]) == [("left", 0.14, "x.png")]


@pytest.mark.parametrize("side", ["left", "right"])
def test_two_spacings_of_a_radiograph_are_refused(tmp_path, side):
    rows = ["1,left,V00,x.png,m.nii.gz,,,0.14", f"1,{side},V00,x.png,n.nii.gz,,,0.2"]
    message = r"row 3, column spacing: found '0\.2', expected '0\.14' as in row 2"
    with pytest.raises(InputError, match=message):
        films(tmp_path, *rows)
    assert len(films(tmp_path, rows[0], rows[1].replace("0.2", "0.140"))) == 1


@pytest.mark.parametrize("spelling", ["./x.png", "{}/x.png", "../{}/x.png", "link.png"])
def test_spellings_of_a_path_are_one_radiograph(tmp_path, spelling):
    (tmp_path / "link.png").symlink_to("x.png")
    name = spelling.format(tmp_path.name if spelling.startswith("..") else tmp_path)
    rows = ["1,left,V00,x.png,m.nii.gz,,,", f"1,right,V00,{name},n.nii.gz,,,"]
    assert films(tmp_path, *rows) == [(None, None, "x.png")]


def test_one_view_serves_all_rows_of_a_radiograph(tmp_path):
    rows = ["1,left,V00,x.png,m.nii.gz,,bilateral,", "1,left,V00,x.png,n.nii.gz,,,"]
    assert films(tmp_path, *rows) == [(None, None, "x.png")]
    with pytest.raises(InputError, match="row 3, column view: found 'single', expected bilateral"):
        films(tmp_path, rows[0], rows[1].replace(",,,", ",,single,"))


def test_a_given_visit_is_that_of_empty_cells(tmp_path):
    table = tmp_path / "kxr_sq_bu00.txt"
    table.write_text("ID|SIDE|READPRJ|V00XRKL\n1|1|15|3\n2|1|15|2\n")
    path = manifest(tmp_path, "1,right,,x.png,m.nii.gz,", "2,right,V03,x.png,n.nii.gz,")
    source = read_source(path, [table], visit="V00")
    for records in (source.radiographs, source.series):
        assert [record.visit for record in records] == ["V00", "V03"]
    assert source.grades[0].knee == ("1", "right", "V00") and source.grades[0].kl == 3
    path = manifest(tmp_path, "1,right,x.png,m.nii.gz", header="subject,side,xray,mri")
    assert read_source(path, visit="24").series[0].visit == "V03"
