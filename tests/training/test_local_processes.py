"""Processes of one machine that train together: the run of one process, their ends, signals."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from fake_run import fit

from xr2mri_jax import workdir
from xr2mri_jax.errors import InputError
from xr2mri_jax.runtime import local_processes, processor

SCRIPT = Path(__file__).with_name("fake_run.py")
ROOT = Path(__file__).parents[2]


def program(text):
    return [
        sys.executable,
        "-c",
        f"import os, sys, time\nme = os.environ['JAX_PROCESS_ID']\n{text}",
    ]


@pytest.fixture
def two_cores(monkeypatch):
    # More processes than cores are refused; what is tested does not need the cores.
    monkeypatch.setattr(processor, "cores", lambda: 2)


def test_two_processes_train_as_one(tmp_path, monkeypatch):
    devices = jax.devices()[:2]  # Made before the flag that the processes alone are to see.
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=1"
    monkeypatch.setenv("XLA_FLAGS", flags)  # the last value of a flag counts
    command = [sys.executable, str(SCRIPT), str(tmp_path / "two"), 'parallel="jit"', "steps=4"]
    assert local_processes.run(command, 2) == 0
    assert fit(tmp_path / "one", devices=devices, parallel="jit", steps=4) == 0
    found, wanted = (workdir.load_state(tmp_path / name) for name in ("two", "one"))
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_each_has_its_cores_and_its_number(tmp_path, monkeypatch):
    monkeypatch.setattr(processor, "cores", lambda: 5)
    text = (
        "from xr2mri_jax.runtime import processor\n"
        f"file = open({str(tmp_path)!r} + '/' + me, 'w')\n"
        "print(os.environ['JAX_NUM_PROCESSES'], processor.cores(), file=file)"
    )
    monkeypatch.chdir(ROOT)
    assert local_processes.run(program(text), 2) == 0
    found = {path.name: path.read_text().split() for path in tmp_path.iterdir()}
    assert found == {"0": ["2", "3"], "1": ["2", "2"]}


def test_one_that_fails_ends_the_others_and_is_heard(two_cores, monkeypatch, capsys):
    monkeypatch.setattr(local_processes, "GRACE", 0.5)
    start = time.monotonic()
    text = "if me == '1':\n    print('no disk'); sys.exit(3)\ntime.sleep(60)"
    assert local_processes.run(program(text), 2) == 3
    assert time.monotonic() - start < 30
    assert "no disk" in capsys.readouterr().err


@pytest.mark.parametrize("slower", ["0", "1"])
def test_what_the_others_say_is_not_repeated(two_cores, capfd, slower):
    text = (
        "print('error: wrong', file=sys.stderr)\n"
        f"time.sleep(1 if me == {slower!r} else 0)\n"
        "sys.exit(2)"
    )
    assert local_processes.run(program(text), 2) == 2
    assert capfd.readouterr().err == "error: wrong\n"


def test_signals_reach_all_of_them(tmp_path):
    text = (
        "import signal\n"
        f"told = lambda *_: (open({str(tmp_path)!r} + '/' + me, 'w').close(), sys.exit(143))\n"
        "signal.signal(signal.SIGTERM, told)\n"
        f"open({str(tmp_path)!r} + '/ready' + me, 'w').close()\n"
        "time.sleep(60)"
    )
    outer = (
        "import sys\nfrom xr2mri_jax.runtime import processor\n"
        "from xr2mri_jax.runtime import local_processes\n"
        "processor.cores = lambda: 2\n"
        f"sys.exit(local_processes.run({program(text)!r}, 2))"
    )
    running = subprocess.Popen([sys.executable, "-c", outer], cwd=ROOT)
    limit = time.monotonic() + 60
    while len(list(tmp_path.glob("ready*"))) < 2 and time.monotonic() < limit:
        time.sleep(0.1)
    running.send_signal(signal.SIGTERM)
    assert running.wait(timeout=30) == 143
    assert (tmp_path / "0").exists() and (tmp_path / "1").exists()


def test_how_many(monkeypatch):
    monkeypatch.delenv("JAX_PROCESS_ID", raising=False)
    monkeypatch.setattr(processor, "cores", lambda: 4)
    assert local_processes.process_count(0, 32) == 4 and local_processes.process_count(0, 6) == 3
    assert local_processes.process_count(2, 32) == 2 and local_processes.process_count(1, 32) == 1
    for count in (-1, 5):
        with pytest.raises(InputError, match=f"--local_processes: found {count}, expected 0 to 4"):
            local_processes.process_count(count, 32)
    monkeypatch.setenv("JAX_PROCESS_ID", "1")
    assert local_processes.process_count(0, 32) == 1
