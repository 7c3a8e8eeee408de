"""Tests of atomic writing."""

import errno
import json
from pathlib import Path

import pytest

from xr2mri_jax import files
from xr2mri_jax.errors import InputError


def test_atomic_path_replaces_only_on_success(tmp_path):
    target = tmp_path / "a" / "x.json"
    files.write_json(target, {"n": 1})
    with pytest.raises(RuntimeError), files.atomic_path(target) as partial:
        partial.write_text("half")
        raise RuntimeError("interrupted")
    assert json.loads(target.read_text()) == {"n": 1}
    assert [p.name for p in target.parent.iterdir()] == ["x.json"]


def test_atomic_path_keeps_the_suffix(tmp_path):
    with files.atomic_path(tmp_path / "v.nii.gz") as partial:
        assert partial.name.endswith(".nii.gz")
        partial.write_bytes(b"1")
    assert (tmp_path / "v.nii.gz").read_bytes() == b"1"


def test_a_file_in_the_place_of_a_folder_is_wrong_input(tmp_path):
    (tmp_path / "a").write_text("kept")
    for path in ("a/x.json", "a/b/x.json", "new/../a/x.json"):
        with pytest.raises(InputError, match="found a file in its place, expected a folder"):
            files.write_json(tmp_path / path, {})
        with (
            pytest.raises(InputError, match="found a file in its place, expected a folder"),
            files.atomic_folder(tmp_path / path),
        ):
            pass
    assert (tmp_path / "a").read_text() == "kept"


@pytest.mark.parametrize("path", ["x.json", "./x.json", "a/x.json"])
def test_a_full_disk_names_the_file_of_a_relative_path(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OSError, match="disk is full") as caught, files.atomic_path(path) as partial:
        raise OSError(errno.ENOSPC, "No space left", str(partial))
    assert caught.value.filename == str(Path(path))


@pytest.mark.parametrize("foreign", [(), ("notes.txt", "average_kl4.txt")])
def test_own_files_that_are_not_written_again_are_removed(tmp_path, foreign):
    folder = tmp_path / "out"
    folder.mkdir()
    for name in ("average_kl0.png", "average_kl4.png", "numbers.json", *foreign):
        (folder / name).write_text("old")
    (folder / "average_kl7.png").mkdir()
    with files.replaced_folder(folder, ["average_kl[0-9].png"]) as new:
        for name in ("average_kl0.png", "numbers.json"):
            (new / name).write_text("new")
    held = {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}
    written = {"average_kl0.png": "new", "numbers.json": "new"}
    assert held == written | dict.fromkeys(foreign, "old")
    assert (folder / "average_kl7.png").is_dir()
    (folder / "average_kl7.png").rmdir()
    with files.replaced_folder(folder, ["*.json"]) as new:
        (new / "average_kl0.png").write_text("newer")
    assert {path.name for path in folder.iterdir()} == {"average_kl0.png", *foreign}


def test_only_a_killed_writers_files_of_that_name_are_removed(tmp_path):
    path = tmp_path / "g.csv"
    others = {"g.csv", ".partial-ab1_cdef-h.csv", ".partial-ab1_cdef-my-g.csv", "x-g.csv"}
    for name in {*others, ".partial-ab1_cdef-g.csv"}:
        (tmp_path / name).write_text("")
    files.remove_abandoned(path)
    assert {left.name for left in tmp_path.iterdir()} == others
    with files.atomic_path(path) as partial:  # the names of today's `tempfile` are known
        files.remove_abandoned(path)
        assert not partial.exists()
        partial.write_text("")


def test_write_json_refuses_nan(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(tmp_path / "x.json", float("nan"))
    assert not list(tmp_path.iterdir())
