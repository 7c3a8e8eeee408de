"""SIGTERM and SIGINT before and during a command's work: one line, exit codes 143 and 130."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from xr2mri_jax.runtime import interruption

LAUNCH = Path(__file__).parents[2] / "launch"
CODES = {signal.SIGTERM: 143, signal.SIGINT: 130}
IMPORTING = """
import xr2mri_jax.runtime.start_command
import time
print("ready", flush=True)
time.sleep(60)
"""
WORKING = """
import xr2mri_jax.runtime.start_command
import concurrent.futures, sys, tempfile, time
from xr2mri_jax.runtime import command_line
class Destroyed:
    def __del__(self):
        print("ready", flush=True)
        time.sleep(3)
def main():
    with tempfile.TemporaryDirectory(dir=sys.argv[0]) as folder:
        if MODE == "destructor":
            Destroyed()
            return
        with concurrent.futures.ThreadPoolExecutor() as pool:
            if MODE == "stuck":  # as a compilation in a thread
                pool.submit(time.sleep, 60)
            print("ready", flush=True)
            time.sleep(60)
command_line.run(main)
"""


def stopped(process, number):
    """Sends the signal; the exit code and the lines on standard error."""
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    return process.returncode, error.splitlines()


# A shell's background job ignores SIGINT, and so would what the tests start there.
REACHED = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"


def popen(command):
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def start(script, folder="."):
    script = f"{REACHED}\nimport sys; sys.argv[0] = {str(folder)!r}\n{script}"
    process = popen([sys.executable, "-c", script])
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("number", CODES)
def test_a_signal_while_a_command_is_imported(number):
    code, lines = stopped(start(IMPORTING), number)
    assert (code, lines) == (CODES[number], [f"error: stopped by {number.name}"])


@pytest.mark.parametrize("number", CODES)
@pytest.mark.parametrize("mode", ["work", "destructor"])
def test_a_signal_while_it_works_leaves_nothing_behind(tmp_path, number, mode):
    process = start(f"MODE = {mode!r}\n{WORKING}", tmp_path)
    code, lines = stopped(process, number)
    assert (code, lines) == (CODES[number], [f"error: stopped by {number.name}"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("times", [1, 2])
def test_a_thread_that_does_not_end_is_not_waited_for(tmp_path, times):
    process = start(f"MODE = 'stuck'\n{WORKING}", tmp_path)
    for _ in range(times - 1):
        process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
    begun = time.monotonic()
    code, lines = stopped(process, signal.SIGTERM)
    assert (code, lines) == (143, ["error: stopped by SIGTERM"])
    assert time.monotonic() < begun + (30 if times == 1 else interruption.GRACE)


def test_an_ignored_signal_stays_ignored():
    ignoring = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    process = start(ignoring + IMPORTING)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None
    assert stopped(process, signal.SIGTERM)[0] == 143


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("script", sorted(LAUNCH.glob("*.py")), ids=lambda path: path.name)
def test_every_command_is_armed_before_its_imports(script):
    process = popen([sys.executable, str(script)])
    started, bit = time.monotonic(), 1 << (signal.SIGTERM - 1)
    while not _caught(process.pid) & bit:
        assert process.poll() is None, "ended without having been armed"
        assert time.monotonic() < started + 60
    # Numpy alone takes longer to import than what is imported before.
    assert "numpy" not in Path(f"/proc/{process.pid}/maps").read_text()
    code, lines = stopped(process, signal.SIGTERM)
    assert (code, lines) == (143, ["error: stopped by SIGTERM"])


def _caught(pid):
    text = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in text.splitlines() if line.startswith("SigCgt")).split()[1], 16)


def test_a_signal_in_the_import_of_a_compiled_module_waits_for_its_end(tmp_path):
    """An exception there would end jaxlib's initialisation by a crash."""
    script = WORKING.replace('print("ready", flush=True)\n            time.sleep(60)', "load()")
    script = f"""MODE = "import"
from importlib.machinery import ExtensionFileLoader
class Loader(ExtensionFileLoader):
    def exec_module(self, module):
        print("ready", flush=True)
        end = time.monotonic() + 1
        while time.monotonic() < end:
            pass
        print("imported", file=sys.stderr, flush=True)
def load():
    Loader("made", "made").exec_module(None)
    time.sleep(60)
{script}"""
    code, lines = stopped(start(script, tmp_path), signal.SIGTERM)
    assert (code, lines) == (143, ["imported", "error: stopped by SIGTERM"])
    assert not list(tmp_path.iterdir())
