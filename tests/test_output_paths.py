"""Tests of the checks of output paths."""

from pathlib import Path

import pytest

from xr2mri_jax import output_paths
from xr2mri_jax.errors import InputError


def test_a_folder_that_cannot_be_made_is_named_with_its_flag(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"--output: the folder .*file cannot be written to"):
        output_paths.require_writable(tmp_path / "file" / "deep", "--output")
    output_paths.require_writable(tmp_path / "new" / "deep", "--output")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_file_below_a_missing_folder_and_two_dots_is_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("")
    for folder in ("missing/../file", "file", "new/../file/deep"):
        with pytest.raises(InputError, match=r"--output: the folder .*file cannot be written to"):
            output_paths.require_writable(Path(folder), "--output")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_link_to_nothing_is_named_with_what_it_refers_to(tmp_path):
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "gone")
    for folder in (link, link / "deep"):
        with pytest.raises(InputError, match=r"--output: .*link is a link to .*gone, which does"):
            output_paths.require_writable(folder, "--output")
    (tmp_path / "gone").mkdir()
    output_paths.require_writable(link / "deep", "--output")
