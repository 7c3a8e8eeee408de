"""Tests that broken files end the commands with exit code 2 and one line."""

import subprocess
import sys

import command_process
import numpy as np

from xr2mri_jax.tools.fuzzing.contradictions import contradictions
from xr2mri_jax.tools.fuzzing.seeds import by_name, made_seeds


def refused(*arguments):
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    # Libraries in C may print a line of their own before; Python's must not.
    lines = done.stderr.splitlines()
    assert lines[-1].startswith("error: ") and "Traceback" not in done.stderr, done.stderr
    assert len(lines) <= 2, done.stderr
    return lines[-1]


def test_a_broken_radiograph_where_several_decoders_are_tried(tmp_path):
    content = by_name(made_seeds(), "dicom jpeg 2000").files["x"]
    # Without the marker of the coding style no decoder knows what to do.
    (tmp_path / "x").write_bytes(content.replace(b"\xff\x52\x00", b"\xff\x00\x00"))
    reading = (
        "import sys; from xr2mri_jax import io; from xr2mri_jax.runtime import command_line; "
        "path = sys.argv.pop(); "
        "command_line.run(lambda: io.read_radiograph(path))"
    )
    assert str(tmp_path / "x") in refused("-c", reading, tmp_path / "x")


def test_prepare_on_broken_pictures(tmp_path):
    source = tmp_path / "source"
    for grade, split in ((0, "train"), (2, "val")):
        folder = source / split / str(grade)
        folder.mkdir(parents=True)
        for number in range(3):
            files = contradictions(by_name(made_seeds(), "png 8"))["cut off"]
            (folder / f"{grade}{number}L.png").write_bytes(
                files(np.random.default_rng(number))["x"]
            )
    flags = (f"--source={source}", f"--data_dir={tmp_path / 'data'}", "--num_workers=1")
    done = command_process.run("prepare", "--dataset=knee_xray", *flags)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "error: " in done.stderr and ".png" in done.stderr
    assert not list((tmp_path / "data").rglob("*.array_record*"))
