"""Tests of the checks of output paths."""

import pytest

from xr2mri_jax import output_paths
from xr2mri_jax.errors import InputError


def test_a_folder_that_cannot_be_made_is_named_with_its_flag(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"--output: the folder .*file cannot be written to"):
        output_paths.require_writable(tmp_path / "file" / "deep", "--output")
    output_paths.require_writable(tmp_path / "new" / "deep", "--output")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
