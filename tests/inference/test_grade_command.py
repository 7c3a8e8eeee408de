"""Tests of launch/grade.py as a process: table, exit codes, a kill, the compiled programs kept."""

import csv
import subprocess
import sys
import time
from pathlib import Path

import command_process
import made_grader
import numpy as np
import pytest
from PIL import Image

from xr2mri_jax.geometry import Radiograph
from xr2mri_jax.inference.framing import frame_knees
from xr2mri_jax.inference.knee_grader import file_format
from xr2mri_jax.preprocess.knee_request import KneeRequest
from xr2mri_jax.preprocess.radiograph import DEFAULT_CONTRAST
from xr2mri_jax.tools.benchmarks.knee_finder import films

SCRIPT = Path(__file__).parents[2] / "launch" / "grade.py"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("grader")
    file_format.write(folder, made_grader.grader())
    return folder


@pytest.fixture(scope="module")
def knees(tmp_path_factory):
    """A folder of 40 copies of one knee and a file that is none."""
    folder = tmp_path_factory.mktemp("knees")
    made, _ = next(films(1, 64))
    (knee,) = frame_knees(Radiograph(made.image), (128, 128), DEFAULT_CONTRAST, KneeRequest("left"))
    for number in range(40):
        pixels = np.rint(knee.displayed * 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:03d}L.png")
    (folder / "020x.png").write_text("no image")
    return folder


def command(*flags):
    return [sys.executable, SCRIPT, *flags]


def launch(*flags, **environment):
    return command_process.run("grade", *flags, environment=environment)


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_folder_becomes_a_table(model, knees, tmp_path):
    output = tmp_path / "new" / "o.csv"
    done = launch(
        f"--model={model}",
        f"--xray={knees}",
        f"--output={output}",
        f"--html={tmp_path / 'new' / 'o.html'}",
        XDG_CACHE_HOME=str(tmp_path / "cache"),
        JAX_COMPILATION_CACHE_DIR="",
    )
    assert done.returncode == 0, done.stderr
    assert "40 knees graded, 1 row not" in done.stdout and "not for diagnosis" in done.stdout
    scale, doubts = done.stderr.splitlines()
    assert "40 knees without a stated pixel spacing" in scale
    assert "of 40 knees have warnings (column warning of " in doubts
    rows = rows_of(output)
    assert [row["file"] for row in rows] == sorted(path.name for path in knees.iterdir())
    assert len({row["probability_kl2"] for row in rows}) == 2
    assert list((tmp_path / "cache" / "xr2mri_jax").glob("compiled-*/*-cache"))
    assert sorted(p.name for p in output.parent.iterdir()) == ["o.csv", "o.html", "o_pictures"]


def test_a_killed_run_leaves_whole_rows(model, knees, tmp_path):
    output = tmp_path / "o.csv"
    partial = tmp_path / "o.csv.partial"
    flags = (f"--model={model}", f"--xray={knees}", f"--output={output}", "--batch_size=1")
    process = subprocess.Popen(command(*flags), stdout=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 120
        while time.monotonic() < end and process.poll() is None:
            if partial.exists() and partial.read_bytes().count(b"\n") > 3:
                break
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()
    assert not output.exists() and partial.read_bytes().endswith(b"\n")
    for row in rows_of(partial):
        assert None not in row.values() and 0 <= float(row["probability_kl2"] or 0) <= 1
    assert launch(*flags[:3]).returncode == 0
    assert len(rows_of(output)) == 41 and not partial.exists()


def refused(done, *expected):
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    for text in expected:
        assert text in lines[0]


def test_wrong_input_is_one_line_and_exit_2(model, knees, tmp_path):
    output = f"--output={tmp_path / 'o.csv'}"
    refused(launch(output), "--xray is missing")
    refused(launch(f"--xray={knees}", "--output=o.txt"), "--output: found o.txt")
    refused(launch(f"--xray={knees}", output, "--side=both"), "side")
    refused(launch(f"--xray={knees}", output, f"--model={tmp_path}"), "neither model.json")
    refused(
        launch(f"--xray={knees / '020x.png'}", output, f"--model={model}"),
        "none of 1 files could be graded",
        "unknown kind of file",
    )
