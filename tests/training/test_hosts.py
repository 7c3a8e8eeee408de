"""Tests that a run over two hosts (processes with two devices each) is the run of one host."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
from fake_run import fit

from xr2mri_jax import workdir

SCRIPT = Path(__file__).with_name("fake_run.py")


def free_port():
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return found.getsockname()[1]


def two_hosts(folder, *arguments):
    """Runs the fake stage on two processes; returns their exit codes and what they said."""
    address = f"localhost:{free_port()}"
    running = []
    for host in range(2):
        environment = {
            **os.environ,
            "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
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
    said = [process.communicate(timeout=120)[0] for process in running]
    return [process.returncode for process in running], said


def test_two_hosts_train_continue_and_agree_with_one(tmp_path):
    parts = (("pmap", 4), ("jit", 6))
    said = []
    for strategy, steps in parts:
        codes, said = two_hosts(tmp_path / "two", f'parallel="{strategy}"', f"steps={steps}")
        assert codes == [0, 0], said
        devices = jax.devices()[:4]
        assert fit(tmp_path / "one", devices=devices, parallel=strategy, steps=steps) == 0
    assert "after step 4" in said[0] and "step 6/6" in said[0]
    assert "step" not in said[1]
    found, wanted = (workdir.load_state(tmp_path / name) for name in ("two", "one"))
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
