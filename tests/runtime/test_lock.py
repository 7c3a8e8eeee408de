"""The lock of a folder: one owner, who is named; taken over from the dead; respected afar."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from xr2mri_jax.errors import InputError
from xr2mri_jax.runtime import lock

HOLDER = """
import sys, time
from pathlib import Path
from xr2mri_jax.runtime import lock
with lock.hold(Path(sys.argv[1]), "a training run"):
    print("held", flush=True)
    time.sleep(600)
"""


def start(folder):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    return process


def write_owner(folder, age=0.0, **changes):
    owner = lock.Owner("a training run", "elsewhere", "another-boot", 4711, "2026-01-01T00:00:00Z")
    path = folder / lock.NAME
    path.write_text(json.dumps(dataclasses.asdict(dataclasses.replace(owner, **changes))))
    os.utime(path, (time.time() - age,) * 2)
    return path


def test_the_second_is_refused_and_told_of_the_first(tmp_path):
    process = start(tmp_path)
    try:
        with pytest.raises(InputError) as caught, lock.hold(tmp_path, "another"):
            pass
        message = str(caught.value)
        assert f"process {process.pid} on host {lock.socket.gethostname()} since 20" in message
        assert "a training run" in message and "\n" not in message and "remove" not in message
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_lock_of_a_killed_owner_is_taken_over_and_that_is_said(tmp_path, number, caplog):
    process = start(tmp_path)
    process.send_signal(number)
    process.wait()
    process.stdout.close()
    with caplog.at_level("WARNING"), lock.hold(tmp_path, "another"):
        assert json.loads((tmp_path / lock.NAME).read_text())["pid"] == os.getpid()
    assert f"taken over from a training run, process {process.pid}" in caplog.text
    assert not list(tmp_path.iterdir())


def test_a_folder_is_locked_before_it_exists(tmp_path, caplog):
    folder = tmp_path / "new" / "report"
    with lock.hold_beside(folder, "an evaluation"):
        assert not folder.exists()
        with (
            pytest.raises(InputError, match=rf"^{folder}: is in use by an evaluation, process "),
            lock.hold_beside(folder, "another"),
        ):
            pass
        with lock.hold_beside(folder.with_name("other"), "another"):
            pass
    assert not list(folder.parent.iterdir())
    # The file of an owner that was killed does not block the next.
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = write_owner(tmp_path, pid=dead.pid, boot=lock._boot(), host=lock.socket.gethostname())
    left.rename(folder.with_name(".report.lock"))
    with caplog.at_level("WARNING"), lock.hold_beside(folder, "another"):
        pass
    assert f"{folder}: taken over from a training run, process {dead.pid}" in caplog.text
    assert not list(folder.parent.iterdir())


def test_the_same_process_is_no_exception_and_what_was_held_is_free_again(tmp_path):
    for _ in range(2):
        with (
            lock.hold(tmp_path, "one"),
            pytest.raises(InputError, match="in use by one"),
            lock.hold(tmp_path, "two"),
        ):
            pass
    with pytest.raises(RuntimeError, match="broken"), lock.hold(tmp_path, "one"):
        raise RuntimeError("broken")
    assert not list(tmp_path.iterdir())


def test_an_owner_on_another_host_counts_as_alive_while_it_gives_signs_of_life(tmp_path, caplog):
    path = write_owner(tmp_path, age=lock.SILENT - 60)
    with (
        pytest.raises(InputError, match=rf"4711 on host elsewhere .* remove {path} or wait"),
        lock.hold(tmp_path, "x"),
    ):
        pass
    assert json.loads(path.read_text())["pid"] == 4711
    write_owner(tmp_path, age=lock.SILENT + 60)
    with caplog.at_level("WARNING"), lock.hold(tmp_path, "x"):
        pass
    assert "taken over from a training run, process 4711 on host elsewhere" in caplog.text


def test_an_owner_renews_its_sign_of_life(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "RENEWED", 0.05)
    with lock.hold(tmp_path, "x"):
        path = tmp_path / lock.NAME
        os.utime(path, (0, 0))
        deadline = time.monotonic() + 20
        while path.stat().st_mtime == 0 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert path.stat().st_mtime > 0


def test_without_flock_the_process_number_decides(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "_lock", lambda file: None)
    here = {"host": lock.socket.gethostname(), "boot": lock._boot()}
    write_owner(tmp_path, pid=os.getppid(), **here)
    with pytest.raises(InputError, match=f"process {os.getppid()}"), lock.hold(tmp_path, "x"):
        pass
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    write_owner(tmp_path, pid=ended.pid, **here)
    with lock.hold(tmp_path, "x"):
        pass


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": 1}', "[" * 4096])
def test_a_damaged_lock_that_nobody_holds_is_taken(tmp_path, content):
    (tmp_path / lock.NAME).write_text(content)
    with lock.hold(tmp_path, "x"):
        assert json.loads((tmp_path / lock.NAME).read_text())["work"] == "x"
