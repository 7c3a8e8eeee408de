"""Tests of runs over two hosts (processes with two devices each): equal to one host, one lost."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
from fake_run import FakeData, fit

from xr2mri_jax import workdir
from xr2mri_jax.training import parallel

SCRIPT = Path(__file__).with_name("fake_run.py")
OPTIONS = ("steps=30", "log_every=4")


def free_port():
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return found.getsockname()[1]


def started(folder, *arguments):
    """The fake stage in two processes, each with two devices."""
    address = f"localhost:{free_port()}"
    running = []
    for host in range(2):
        environment = {
            **os.environ,
            # The last value of a flag counts.
            "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=2",
            "JAX_COORDINATOR_ADDRESS": address,
            "JAX_NUM_PROCESSES": "2",
            "JAX_PROCESS_ID": str(host),
        }
        command = [sys.executable, str(SCRIPT), str(folder), *arguments]
        running.append(
            subprocess.Popen(
                command,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    return running


def ended(running):
    """The exit codes of the processes, and what they said."""
    said = [process.communicate(timeout=120)[0] for process in running]
    return [process.returncode for process in running], said


def lost(folder):
    """A run on two hosts, the second of which is killed after a checkpoint."""
    running = started(folder, 'parallel="pmap"', "pause=0.1", *OPTIONS)
    begun = time.monotonic()
    while not workdir.steps(folder):
        if time.monotonic() > begun + 60 or running[0].poll() is not None:
            running[0].kill()
            running[1].kill()
            raise AssertionError(ended(running))
        time.sleep(0.02)
    running[1].kill()
    killed = time.monotonic()
    codes, said = ended(running)
    assert time.monotonic() < killed + 2 * parallel.LOST_AFTER
    assert codes[1] == -signal.SIGKILL and codes[0] not in (0, None), said
    # Our own line, or that of JAX's runtime, which ends a process without Python.
    words = ("another host of this run ended", "task has failed", "tasks have crashed")
    assert any(word in said[0] for word in words), said


def lines(folder):
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "examples_per_s"} for line in found]


def test_a_run_that_lost_a_host_continues_on_one_and_on_two_like_an_uninterrupted_one(
    tmp_path, capsys
):
    lost(tmp_path / "run")
    at = workdir.steps(tmp_path / "run")[-1]
    assert at % 4 == 0 and 4 <= at < 28

    class Stopped(FakeData):
        """Ends the run a step after a line of the log, so that there are open sums."""

        def __next__(self):
            if self.position == at:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().__next__()

    options = {"devices": jax.devices()[:4], "steps": 30, "log_every": 4}
    assert fit(tmp_path / "run", data=Stopped(), **options) == 128 + signal.SIGTERM
    assert workdir.steps(tmp_path / "run")[-1] == at + 1
    shown = capsys.readouterr().out
    assert "trained on 2 hosts and continues on 1" in shown and "devices" not in shown
    codes, said = ended(started(tmp_path / "run", 'parallel="jit"', *OPTIONS))
    assert codes == [0, 0], said
    assert "trained on 1 hosts and continues on 2" in said[0]
    assert f"after step {at + 1}" in said[0] and "step 30/30" in said[0]
    assert "step" not in said[1]
    assert fit(tmp_path / "one", **options) == 0
    found, wanted = (workdir.load_state(tmp_path / name) for name in ("run", "one"))
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    for a, b in zip(lines(tmp_path / "run"), lines(tmp_path / "one"), strict=True):
        assert a.keys() == b.keys() and (a["part"], a["step"]) == (b["part"], b["step"])
        np.testing.assert_allclose(list(a.values())[2:], list(b.values())[2:], rtol=1e-4)
