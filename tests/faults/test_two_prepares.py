"""Two preparations in one folder: the second is refused, a killed one's place is taken over."""

import json
import os
import signal
import subprocess
import sys
import time

from command_process import REPOSITORY, run

from xr2mri_jax import datasets
from xr2mri_jax.runtime import lock


def test_one_at_a_time_and_the_dead_are_no_hindrance(tmp_path):
    words = ("prepare", "--dataset=knee_phantom/smoke", f"--data_dir={tmp_path}", "--num_workers=1")
    first = subprocess.Popen(
        [sys.executable, "-m", "xr2mri_jax", *words],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        owner = tmp_path / lock.NAME
        end = time.monotonic() + 120
        while not (owner.is_file() and owner.stat().st_size):
            assert time.monotonic() < end and first.poll() is None
            time.sleep(0.02)
        first.send_signal(signal.SIGSTOP)  # so that it is at work for as long as the second asks
        assert json.loads(owner.read_text())["pid"] == first.pid
        unfinished = {path.name for path in tmp_path.iterdir()}

        second = run(*words)
        assert second.returncode == 2, second.stderr
        (line,) = second.stderr.splitlines()
        assert f"is in use by the preparation of knee_phantom/smoke, process {first.pid}" in line
        assert unfinished <= {path.name for path in tmp_path.iterdir()}
    finally:
        first.kill()
        first.wait()

    third = run(*words)
    assert third.returncode == 0, third.stderr
    assert f"taken over from the preparation of knee_phantom/smoke, process {first.pid}" in (
        third.stderr
    )
    assert datasets.is_prepared("knee_phantom/smoke", str(tmp_path))
    # "downloads" is what TFDS makes; nothing of the killed one is left.
    assert {path.name for path in tmp_path.iterdir()} - {"downloads"} == {"knee_phantom"}
