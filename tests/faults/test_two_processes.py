"""Two runs with one output: the second is refused, a killed one's place is taken over."""

import contextlib
import csv
import json
import os
import signal
import subprocess
import sys
import time

from command_process import REPOSITORY, run

from xr2mri_jax import datasets
from xr2mri_jax.runtime import lock


@contextlib.contextmanager
def stopped_at_work(words, owner):
    """A process of its own, stopped as soon as it holds the lock; killed at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "xr2mri_jax", *words],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        end = time.monotonic() + 120
        while not (owner.is_file() and owner.stat().st_size):
            assert time.monotonic() < end and process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGSTOP)  # so that it is at work for as long as the second asks
        assert json.loads(owner.read_text())["pid"] == process.pid
        yield process
    finally:
        process.kill()
        process.wait()


def refused_then_taken_over(words, owner, work):
    """The second run is refused and touches nothing; the third takes over from the killed one."""
    folder = owner.parent
    with stopped_at_work(words, owner) as first:
        unfinished = {path.name for path in folder.iterdir()}
        second = run(*words)
        assert second.returncode == 2, second.stderr
        (line,) = second.stderr.splitlines()
        assert f"is in use by {work}, process {first.pid}" in line
        assert unfinished <= {path.name for path in folder.iterdir()}
    third = run(*words)
    assert third.returncode == 0, third.stderr
    assert f"taken over from {work}, process {first.pid}" in third.stderr


def test_two_preparations_in_one_folder(tmp_path):
    words = ("prepare", "--dataset=knee_phantom/smoke", f"--data_dir={tmp_path}", "--num_workers=1")
    refused_then_taken_over(words, tmp_path / lock.NAME, "the preparation of knee_phantom/smoke")
    assert datasets.is_prepared("knee_phantom/smoke", str(tmp_path))
    # "downloads" is what TFDS makes; nothing of the killed one is left.
    assert {path.name for path in tmp_path.iterdir()} - {"downloads"} == {"knee_phantom"}


def test_two_gradings_with_one_table(xrays, tmp_path):
    # As a run leaves it that is killed while it writes the table's header.
    (tmp_path / ".partial-t9gwldq1-g.csv.partial").write_text("file,")
    words = ("grade", f"--xray={xrays}", f"--output={tmp_path / 'g.csv'}")
    refused_then_taken_over(words, tmp_path / f".g.csv{lock.NAME}", "a grading")
    assert {path.name for path in tmp_path.iterdir()} == {"g.csv"}
    with (tmp_path / "g.csv").open(newline="") as stream:
        assert len(list(csv.DictReader(stream))) == 3


def test_two_tables_in_one_folder_do_not_meet(xrays, tmp_path):
    words = ("grade", f"--xray={xrays}", f"--output={tmp_path / 'g.csv'}")
    with stopped_at_work(words, tmp_path / f".g.csv{lock.NAME}"):
        other = run("grade", f"--xray={xrays}", f"--output={tmp_path / 'h.csv'}")
        assert other.returncode == 0, other.stderr


def test_two_predictions_of_many_radiographs_in_one_folder(xrays, tmp_path):
    words = ("predict", f"--xray={xrays}", f"--output={tmp_path}")
    refused_then_taken_over(words, tmp_path / lock.NAME, "a prediction of many radiographs")
    with (tmp_path / "predictions.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 3 and all((tmp_path / row["volume"]).is_file() for row in rows)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
