"""Tests of listing radiographs: folders with links, tables as programs write them."""

import json
import os

import pytest

from xr2mri_jax.errors import InputError
from xr2mri_jax.inference.earlier_outputs import RUN
from xr2mri_jax.inference.grade_output import GradeOutput
from xr2mri_jax.inference.listing import list_files, list_table
from xr2mri_jax.inference.many_options import ManyOptions


def names_in(folder):
    return [one.name for one in list_files(folder, lambda path: False)]


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_links_to_folders_are_followed_each_folder_once(tmp_path):
    touch(tmp_path / "in" / "own" / "a.png", tmp_path / "elsewhere" / "b.png")
    os.symlink(tmp_path / "elsewhere", tmp_path / "in" / "linked")
    os.symlink(tmp_path / "in", tmp_path / "in" / "own" / "round")
    os.symlink(tmp_path / "in" / "own", tmp_path / "in" / "again")
    assert names_in(tmp_path / "in") == ["linked/b.png", "own/a.png"]


def test_a_folder_of_links_alone(tmp_path):
    touch(tmp_path / "1" / "a.png", tmp_path / "2" / "b.png")
    (tmp_path / "in").mkdir()
    for name in "12":
        os.symlink(tmp_path / name, tmp_path / "in" / name)
    assert names_in(tmp_path / "in") == ["1/a.png", "2/b.png"]


def test_outputs_behind_a_link_are_no_inputs(tmp_path):
    touch(
        tmp_path / "in" / "a.png", tmp_path / "out" / "a.png", tmp_path / "out" / "deep" / "b.png"
    )
    os.symlink(tmp_path / "out", tmp_path / "in" / "results")
    os.symlink(tmp_path / "in" / "a.png", tmp_path / "in" / "b.png")
    options = ManyOptions(tmp_path / "in", tmp_path / "out")
    assert [one.name for one in list_files(options.xray, options.holds)] == ["a.png", "b.png"]
    output = GradeOutput.of(tmp_path / "in" / "results" / "t.csv", tmp_path / "out")
    assert [one.name for one in list_files(options.xray, output.holds)] == ["a.png", "b.png"]
    with pytest.raises(InputError, match=r"--labels: found .*the folder of the volumes"):
        ManyOptions(tmp_path / "in", tmp_path / "out", labels=tmp_path / "in" / "results")


def earlier(folder, **others):
    run = {"version": "1", "model": "m", "step": 3, "labels": None, "meshes": None, "page": None}
    folder.mkdir(parents=True)
    (folder / RUN).write_text(json.dumps(run | {name: str(path) for name, path in others.items()}))


@pytest.mark.parametrize("output", ["in/pred", "in/2026/results", "in/pred_left"])
def test_folders_of_earlier_predictions_are_left_out_with_a_warning(tmp_path, caplog, output):
    root, pred = tmp_path / "in", tmp_path / output
    earlier(pred, labels=root / "lab", meshes=tmp_path / "meshes", page=root / "page")
    touch(root / "a.png", root / "visit" / "b.png", pred / "a_left.png", pred / "a_left.nii.gz")
    touch(
        root / "lab" / "a_left.nii.gz", root / "page" / "cases" / "c.js", tmp_path / "meshes" / "x"
    )
    os.symlink(tmp_path / "meshes", root / "linked")
    with caplog.at_level("WARNING"):
        assert names_in(root) == ["a.png", "visit/b.png"]
    assert "6 files of earlier predictions left out" in caplog.text
    assert f"({', '.join(sorted(['lab', 'meshes', 'page', pred.name]))})" in caplog.text
    with pytest.raises(InputError, match="only files in the places of the outputs"):
        list_files(pred, lambda path: False)


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"version": "1", "model": "m"}'])
def test_other_files_of_that_name_are_no_record(tmp_path, caplog, content):
    touch(tmp_path / "a.png")
    (tmp_path / RUN).write_text(content)
    with caplog.at_level("WARNING"):
        assert names_in(tmp_path) == ["a.png", RUN]
    assert not caplog.text


def test_a_folder_that_cannot_be_read_is_told(tmp_path, monkeypatch, caplog):
    touch(tmp_path / "a.png", tmp_path / "closed" / "b.png")
    scan = os.scandir

    def refused(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refused)
    assert names_in(tmp_path) == ["a.png"]
    assert "closed: the folder cannot be read (Permission denied): left out" in caplog.text


@pytest.mark.parametrize(
    "content",
    [
        b"file;side;spacing\na.png;right;0,2\n",
        "file\tside\tspacing\na.png\tR\t0.2\n".encode("utf-16"),
        "\ufefffile,side,spacing\r\na.png,RIGHT,0.2\r\n".encode("utf-16-le"),
        b"sep=;\r\nfile;side;spacing\r\na.png;right;0.2\r\n",
        b'"sep=,"\n"file","side","spacing"\n"a.png","r","0.2"\n',
        b",FILE,Side,Spacing\n0,a.png,right,0.2\n",
    ],
)
def test_tables_as_programs_write_them(tmp_path, content):
    (tmp_path / "t.csv").write_bytes(content)
    (row,) = list_table(tmp_path / "t.csv")
    assert (row.name, row.path) == ("a.png", tmp_path / "a.png")
    assert (row.side, row.spacing) == ("right", 0.2)


def test_paths_of_a_table(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    (tmp_path / "t.csv").write_text("file\nsub/a.png\n/data/b.png\n~/c.png\n")
    assert [str(row.path) for row in list_table(tmp_path / "t.csv")] == [
        f"{tmp_path}/sub/a.png",
        "/data/b.png",
        "/home/someone/c.png",
    ]


@pytest.mark.parametrize("spacing", ["0", "-0.2", "0.2 mm", "1,000.5", "inf"])
def test_a_spacing_that_is_none_is_named(tmp_path, spacing):
    (tmp_path / "t.csv").write_text(f"file;spacing\na.png;{spacing}\n")
    with pytest.raises(InputError, match=r"row 2, column spacing: .* expected a positive number"):
        list_table(tmp_path / "t.csv")


def test_a_folder_of_outputs_alone_is_not_called_empty(tmp_path):
    touch(tmp_path / "a.png")
    with pytest.raises(InputError, match="found only files in the places of the outputs"):
        list_files(tmp_path, lambda path: True)


@pytest.mark.parametrize("other", ["./a.png", "sub/../a.png", "{folder}/a.png"])
def test_a_radiograph_that_is_named_in_two_ways_is_there_twice(tmp_path, other):
    touch(tmp_path / "a.png", tmp_path / "sub" / "b.png")
    table = tmp_path / "t.csv"
    other = other.format(folder=tmp_path)
    table.write_text(f"file,side\na.png,\n{other},right\n")
    with pytest.raises(InputError, match="twice, expected each radiograph once"):
        list_table(table)
    table.write_text(f"file,side\na.png,left\n{other},right\n")
    assert [one.side for one in list_table(table)] == ["left", "right"]
