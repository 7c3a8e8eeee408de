"""The table of given knee places: centres, boxes, lines, and every wrong row in one line."""

from pathlib import Path

import pytest

from xr2mri_jax.errors import InputError
from xr2mri_jax.preprocess.knee_positions import read_knee_positions


def table(folder, text: str):
    path = folder / "places.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_centres_boxes_and_lines(tmp_path):
    path = table(
        tmp_path,
        "File;Side;Row;Col;Top;Left;Bottom;Right;row1;col1;row2;col2\n"
        "a.dcm;Right;100.5;200;;;;;110;250;90;150\n"
        "a.dcm;left;;;10;20;30;60;;;;\n"
        "/elsewhere/b;left;1;2;;;;;;;;\n",
    )
    places = read_knee_positions(path)
    first = places[str((tmp_path / "a.dcm").resolve()), "right"]
    assert first.centre_px == (100.5, 200.0) and first.confidence == 1.0
    assert first.joint_line == ((90.0, 150.0), (110.0, 250.0))
    box = places[str((tmp_path / "a.dcm").resolve()), "left"]
    assert box.centre_px == (20.0, 40.0) and box.joint_line == ((20.0, 40.0),) * 2
    assert places["/elsewhere/b", "left"].side == "left" and len(places) == 3


def test_paths_are_those_of_a_manifest(tmp_path):
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "a.dcm").touch()
    path = table(tmp_path, "file,side,row,col\nfilms\\a.dcm,left,1,2\n~/b.dcm,left,1,2\n")
    own = str((tmp_path / "films" / "a.dcm").resolve())
    home = str((Path.home() / "b.dcm").resolve())
    assert set(read_knee_positions(path)) == {(own, "left"), (home, "left")}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,row,col\na,1,2\n", "column 'side' is missing"),
        ("file,side,row,col\na,both,1,2\n", "row 2, column side: found 'both'"),
        ("file,side,row,col\n,left,1,2\n", "row 2, column file"),
        ("file,side,row,col\n~nobody-of-this-name/a,left,1,2\n", "row 2, column file"),
        ("file,side,row,col\na,left,1,two\n", "row 2, column col: found 'two'"),
        ("file,side,row,col\na,left,1,nan\n", "row 2, column col: found 'nan'"),
        ("file,side\na,left\n", "row 2, column row: found ''"),
        ("file,side,row,col\na,left,1,2\na,left,3,4\n", "row 3, column file"),
        ("file,side,top,left,bottom,right\na,left,9,1,3,4\n", "row 2, column bottom: found '3'"),
        ("file,side,top,left,bottom,right\na,left,1,4,3,4\n", "row 2, column right: found '4'"),
        ("file,side,row,col,row1,col1,row2,col2\na,left,1,2,3,,,\n", "row 2, column col1"),
        ("file,side,row,col\n", "found no rows"),
    ],
)
def test_wrong_tables_raise_one_line(tmp_path, text, message):
    with pytest.raises(InputError, match=message) as caught:
        read_knee_positions(table(tmp_path, text))
    assert "\n" not in str(caught.value) and "places.csv" in str(caught.value)
