"""Tests of the reader of OAI image releases on made trees."""

import pytest

from xr2mri_jax.errors import InputError
from xr2mri_jax.io.oai import read_release
from xr2mri_jax.io.sources import layout_of, read_source

HEADER = "Folder,ParticipantID,StudyDate,Barcode,StudyDescription,SeriesDescription"
KNEES = "Bilateral PA Fixed Flexion Knee"


def visit_tree(folder, rows, header=HEADER, name="contents.csv"):
    """Writes a table, and a folder of `count` files for each row (release folder, ..., count)."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [header]
    for listed, subject, date, barcode, study, series, count in rows:
        lines.append(f"{listed},{subject},{date},{barcode},{study},{series}")
        for number in range(count):
            (folder / listed).mkdir(parents=True, exist_ok=True)
            (folder / listed / f"{number + 1:03d}").write_bytes(b"x")
    (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def row(release, subject, date, barcode, series, count, study="OAI^MR^ENROLLMENT^RIGHT "):
    return f"{release}/{subject}/{date}/{barcode}", subject, date, barcode, study, series, count


def test_a_visit_with_every_kind_of_series(tmp_path):
    visit_tree(
        tmp_path / "OAI_00m",
        [
            row("0.C.2", "9000099", "20040914", "00341204", KNEES + " ", 1),
            row("0.E.1", "9000099", "20041110", "00399901", "SAG_3D_DESS_RIGHT", 4),
            row("0.E.1", "9000099", "20041110", "00399902", "MP_LOCATOR_LEFT", 3),
            row("0.E.1", "9000099", "20041110", "00399903", "AX_T1_THIGH", 2),
            row("0.E.1", "9000099", "20041110", "00399904", "PA Right Hand", 1),
            row("0.E.1", "9000100", "20041110", "00399905", "COR_T1_3D_FLASH_RIGHT", 0),
        ],
    )
    source = read_release(tmp_path)
    (film,) = source.radiographs
    assert (film.subject, film.visit, film.side, film.barcode) == (
        "9000099",
        "V00",
        None,
        "00341204",
    )
    assert film.path == tmp_path / "OAI_00m/0.C.2/9000099/20040914/00341204/001"
    assert film.description == KNEES and film.problem == ""
    dess, locator, flash = source.series
    assert (dess.sequence, dess.exact, dess.side, dess.files) == ("dess", True, "right", 4)
    assert dess.path.name == "00399901" and dess.problem == ""
    assert (locator.sequence, locator.side) == ("other", "left")
    assert flash.sequence == "cor_flash" and "does not exist" in flash.problem
    assert "contents.csv, row 7" in flash.problem
    assert source.ignored == {"AX_T1_THIGH": 1, "PA Right Hand": 1}
    assert source.grades == () and source.problems == ()


def test_leading_zeros_stay(tmp_path):
    visit_tree(tmp_path, [row("0.C.2", "0000012", "20040914", "00000007", KNEES, 1)])
    (film,) = read_release(tmp_path).radiographs
    assert (film.subject, film.barcode) == ("0000012", "00000007")


def test_column_case_and_order_vary(tmp_path):
    header = "FOLDER,participantid,StudyDATE,barCode,STUDYDESCRIPTION,SERIESdescription"
    visit_tree(tmp_path, [row("3.C.2", "9000099", "2006", "1", KNEES, 1)], header)
    assert read_release(tmp_path).radiographs[0].visit == "V03"


@pytest.mark.parametrize(
    ("release", "folder", "name", "visit"),
    [
        ("10.E.1", "anything", "contents.csv", "V10"),
        ("6.C.1", "OAI_00m", "contents.csv", "V06"),
        ("files", "OAI_24m", "contents.csv", "V03"),
        ("files", "x", "contents_36m.csv", "V05"),
        ("files", "x", "contents.4G1.csv", "V04"),
        ("screening", "x", "contents.csv", "V00"),
    ],
)
def test_visit_by_release_then_file_then_folder(tmp_path, release, folder, name, visit):
    listed = row(release, "9000099", "2006", "00000001", KNEES, 1)
    visit_tree(tmp_path / folder, [listed], name=name)
    assert read_release(tmp_path).radiographs[0].visit == visit


def test_unknown_visit_is_refused_or_given(tmp_path):
    root = tmp_path / "collection"
    visit_tree(root / "x", [row("files", "9000099", "2006", "00000001", KNEES, 1)])
    with pytest.raises(InputError, match=r"row 2, column folder: found 'files/9000099"):
        read_release(root)
    assert read_release(root, visit="V08").radiographs[0].visit == "V08"


def test_radiographs_under_the_screening_release_and_mri_under_another(tmp_path):
    visit_tree(tmp_path / "a", [row("0.C.2", "9000099", "20040801", "00000001", KNEES, 1)])
    visit_tree(
        tmp_path / "b", [row("0.E.1", "9000099", "20041110", "00000002", "SAG_3D_DESS_LEFT", 2)]
    )
    source = read_release(tmp_path)
    assert source.radiographs[0].visit == source.series[0].visit == "V00"


def test_folder_listed_relative_to_the_release_itself(tmp_path):
    listed = row("0.C.2", "9000099", "2004", "00000001", KNEES, 1)
    visit_tree(tmp_path / "v", [listed])
    (tmp_path / "v/contents.csv").rename(tmp_path / "v/0.C.2/contents.csv")
    (film,) = read_release(tmp_path).radiographs
    assert film.path == tmp_path / "v/0.C.2/9000099/2004/00000001/001" and not film.problem


def test_listed_twice_counts_once(tmp_path):
    listed = row("0.C.2", "9000099", "2004", "00000001", KNEES, 1)
    visit_tree(tmp_path, [listed, listed])
    source = read_release(tmp_path)
    assert len(source.radiographs) == 1
    assert "row 3" in source.problems[0] and "listed twice" in source.problems[0]


def test_several_images_in_a_folder_and_hidden_files(tmp_path):
    visit_tree(tmp_path, [row("0.C.2", "9000099", "2004", "00000001", KNEES, 2)])
    (tmp_path / "0.C.2/9000099/2004/00000001/.DS_Store").write_bytes(b"x")
    names = [film.path.name for film in read_release(tmp_path).radiographs]
    assert names == ["001", "002"]


@pytest.mark.parametrize("stray", ["Thumbs.db", "desktop.ini", "README", "notes.txt", "view.JPG"])
def test_stray_files_are_no_images(tmp_path, stray):
    rows = [
        row("0.C.2", "9000099", "2004", "00000001", KNEES, 1),
        row("0.E.1", "9000099", "2004", "00000002", "SAG_3D_DESS_LEFT", 2),
    ]
    visit_tree(tmp_path, rows)
    for listed in rows:
        (tmp_path / listed[0] / stray).write_bytes(b"x")
    source = read_release(tmp_path)
    assert [film.path.name for film in source.radiographs] == ["001"]
    assert source.series[0].files == 2
    (tmp_path / rows[0][0] / "001").unlink()
    (film,) = read_release(tmp_path).radiographs
    assert film.path.name == stray  # whether it is a radiograph shows when it is read


def test_backslashes_in_folder(tmp_path):
    listed = row("0.C.2", "9000099", "2004", "00000001", KNEES, 1)
    visit_tree(tmp_path, [listed])
    table = tmp_path / "contents.csv"
    table.write_text(table.read_text().replace("0.C.2/9000099/2004/", "0.C.2\\9000099\\2004\\"))
    assert read_release(tmp_path).radiographs[0].problem == ""


@pytest.mark.parametrize("folder", ["../../etc", "", "0.C.2/../../x", "0.C.2/" + "y" * 300])
def test_folder_outside_the_release_is_refused(tmp_path, folder):
    visit_tree(tmp_path, [(folder, "9000099", "2004", "1", "", KNEES, 0)])
    with pytest.raises(InputError, match="column folder"):
        read_release(tmp_path)


def test_missing_participant_column_table_and_root(tmp_path):
    with pytest.raises(InputError, match=r"found no contents\.csv"):
        read_release(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        read_release(tmp_path / "none")
    visit_tree(tmp_path, [row("0.C.2", "", "2004", "1", KNEES, 0)])
    with pytest.raises(InputError, match="column participantid"):
        read_release(tmp_path)
    (tmp_path / "contents.csv").write_text("Folder,ParticipantID\n")
    with pytest.raises(InputError, match="'studydate' is missing"):
        read_release(tmp_path)


def test_layout_is_recognised_and_grades_are_found(tmp_path):
    visit_tree(tmp_path / "00m", [row("0.C.2", "9000099", "2004", "00000001", KNEES, 1)])
    grades = "ID|SIDE|READPRJ|V00XRKL\n9000099|1: Right|15|2: 2\n"
    (tmp_path / "KXR_SQ_BU00.txt").write_text(grades)
    assert layout_of(tmp_path) == "release"
    source = read_source(tmp_path)
    assert [(grade.side, grade.kl) for grade in source.grades] == [("right", 2)]


def test_layout_of_what_is_none(tmp_path):
    with pytest.raises(InputError, match=r"found neither manifest\.csv"):
        layout_of(tmp_path)
    with pytest.raises(InputError, match="no such file or folder"):
        layout_of(tmp_path / "none")
    (tmp_path / "contents.csv").write_text(HEADER)
    with pytest.raises(InputError, match="expected its folder"):
        layout_of(tmp_path / "contents.csv")
    (tmp_path / "x.png").write_bytes(b"x")
    with pytest.raises(InputError, match="expected a CSV manifest"):
        layout_of(tmp_path / "x.png")
