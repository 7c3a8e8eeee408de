"""Processes of one machine that train together on its CPU, as the hosts of a run do.

XLA hands the operations of all devices of a process to one pool of threads. Where they are many and
short the handing over costs a quarter of the time; a process for each core has none of it. Which
core that is, is left to the system: Gloo, by which the processes tell each other their sums, works
in a thread of its own, and where that must wait for the one core of its process a sum takes 3.5 ms
in place of 0.1 ms.
"""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any, BinaryIO

from xr2mri_jax.errors import WRONG_INPUT, InputError
from xr2mri_jax.runtime import processor

# Seconds that the others have to end by themselves after one of them has failed.
GRACE = 30.0
# In the environment of the processes of `run` alone; hosts started otherwise may outlive a shell.
_MARK = "XR2MRI_LOCAL_PROCESS"
_PARENT_DIES = 1  # PR_SET_PDEATHSIG of prctl(2)


def wanted(count: int, batch_size: int) -> int:
    """How many processes a run gets.

    Args:
      count: asked for; 0: one a core, fewer where only they share the batch equally.
      batch_size: examples of a step.

    Returns:
      1 or more; 1 inside one of the processes.

    Raises:
      InputError: if the number is negative or above that of the cores.
    """
    if "JAX_PROCESS_ID" in os.environ:
        return 1
    available = processor.cores()
    if not 0 <= count <= available:
        raise InputError(
            f"--local_processes: found {count}, expected 0 to {available}, the number of cores"
        )
    return count or sharing(available, batch_size)


def environments(count: int) -> list[dict[str, str]]:
    """What `parallel.start_distributed` and XLA read in each of `count` processes."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{found.getsockname()[1]}"
    available = processor.cores()
    return [
        {
            "JAX_PLATFORMS": "cpu",
            "JAX_COORDINATOR_ADDRESS": address,
            "JAX_NUM_PROCESSES": str(count),
            "JAX_PROCESS_ID": str(index),
            processor.THREADS: str(len(range(index, available, count))),
        }
        for index in range(count)
    ]


def sharing(most: int, batch_size: int) -> int:
    """The largest number up to `most` that shares a batch equally."""
    return next(n for n in range(most, 0, -1) if batch_size % n == 0)


def run(command: Sequence[str], count: int) -> int:
    """Runs a command `count` times at once, each with its share of the cores.

    SIGINT and SIGTERM go on to all of them. What the first one says is seen; what the others say,
    only where one of them failed first and the first one did not find the input wrong (code 2) too:
    that is one line, the same for all.

    Args:
      command: of a program that calls `follow` and `parallel.start_distributed`.
      count: 2 or more.

    Returns:
      0, or the exit code of the process that failed first; as a shell says it where a signal ended
      that one.
    """
    running: list[subprocess.Popen[Any]] = []
    with tempfile.TemporaryFile() as said:
        forwarded = (signal.SIGTERM, signal.SIGINT)
        before = {
            number: signal.signal(number, lambda sent, _: _send(running, sent))
            for number in forwarded
        }
        try:
            for environment in environments(count):
                output = said if running else None
                process = subprocess.Popen(
                    command,
                    env={**os.environ, **environment, _MARK: "1"},
                    stdout=output,
                    stderr=output,
                    # Else a terminal's SIGINT would come twice.
                    start_new_session=True,
                )
                running.append(process)
            failed, code = _ended(running)
        finally:
            _send(running, signal.SIGKILL)
            for number, handler in before.items():
                signal.signal(number, handler)
        if failed and not code == running[0].returncode == WRONG_INPUT:
            _show(said)
    return code


def follow() -> None:
    """Lets a process of `run` be told by SIGTERM when the one that started it dies (Linux)."""
    if _MARK in os.environ and sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PARENT_DIES, signal.SIGTERM)


def _ended(running: Sequence[subprocess.Popen[Any]]) -> tuple[int, int]:
    """Waits for all: which failed first, and its code; (0, 0) where none did.

    Where one fails, the others have GRACE seconds.
    """
    first, last = (0, 0), 0.0
    while any(process.poll() is None for process in running):
        if not first[1]:
            first, last = _failed(running), time.monotonic() + GRACE
        elif time.monotonic() > last:
            _send(running, signal.SIGKILL)
        time.sleep(0.1)
    return first if first[1] else _failed(running)


def _failed(running: Sequence[subprocess.Popen[Any]]) -> tuple[int, int]:
    codes = enumerate(process.poll() or 0 for process in running)
    index, code = next(((index, code) for index, code in codes if code), (0, 0))
    return index, 128 - code if code < 0 else code


def _send(running: Sequence[subprocess.Popen[Any]], number: int) -> None:
    for process in running:
        if process.poll() is None:
            process.send_signal(number)


def _show(said: BinaryIO) -> None:
    said.seek(0)
    sys.stderr.write(said.read().decode(errors="replace"))
