"""Runs several training processes on the CPU of one machine, like the hosts of a run.

XLA runs the operations of all devices of a process in one thread pool. With many short operations
the scheduling takes a quarter of the time; one process per core avoids this. Processes are not
pinned to cores: Gloo, which sums across processes, uses its own thread, and if that thread must
wait for the single core of its process, a sum takes 3.5 ms instead of 0.1 ms.
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

# Seconds that the other processes get to end after one has failed.
GRACE = 30.0
# Set only for the processes of `run`; hosts started in other ways may outlive their shell.
_MARK = "XR2MRI_LOCAL_PROCESS"
_PARENT_DIES = 1  # PR_SET_PDEATHSIG of prctl(2)


def process_count(count: int, batch_size: int) -> int:
    """The number of processes of a run.

    Args:
      count: requested number; 0: one per core, or fewer to divide the batch equally.
      batch_size: examples per step.

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
    return count or largest_divisor(available, batch_size)


def environments(count: int) -> list[dict[str, str]]:
    """The variables for `parallel.start_distributed` and XLA, for each of `count` processes."""
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


def largest_divisor(most: int, batch_size: int) -> int:
    """The largest number up to `most` that divides the batch equally."""
    return next(n for n in range(most, 0, -1) if batch_size % n == 0)


def run(command: Sequence[str], count: int) -> int:
    """Runs a command `count` times at once, each with its share of the cores.

    SIGINT and SIGTERM are forwarded to all processes. The output of the first process is shown. The
    output of another process is shown only if it failed first, unless the first process also found
    wrong input (code 2), whose message is the same for all.

    Args:
      command: the command of a program that calls `follow` and `parallel.start_distributed`.
      count: 2 or more.

    Returns:
      0, or the exit code of the process that failed first; 128 + number if a signal ended it.
    """
    running: list[subprocess.Popen[Any]] = []
    with tempfile.TemporaryFile() as output_of_others:
        forwarded = (signal.SIGTERM, signal.SIGINT)
        before = {
            number: signal.signal(number, lambda sent, _: _send(running, sent))
            for number in forwarded
        }
        try:
            for environment in environments(count):
                output = output_of_others if running else None
                process = subprocess.Popen(
                    command,
                    env={**os.environ, **environment, _MARK: "1"},
                    stdout=output,
                    stderr=output,
                    # Otherwise SIGINT from a terminal would arrive twice.
                    start_new_session=True,
                )
                running.append(process)
            failed, code = _ended(running)
        finally:
            _send(running, signal.SIGKILL)
            for number, handler in before.items():
                signal.signal(number, handler)
        if failed and not code == running[0].returncode == WRONG_INPUT:
            _show(output_of_others)
    return code


def follow() -> None:
    """Makes a process of `run` receive SIGTERM when its parent dies (Linux)."""
    if _MARK in os.environ and sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PARENT_DIES, signal.SIGTERM)


def _ended(running: Sequence[subprocess.Popen[Any]]) -> tuple[int, int]:
    """Waits for all; returns index and exit code of the first that failed, (0, 0) if none did.

    After a failure, the others have GRACE seconds to end.
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


def _show(output_of_others: BinaryIO) -> None:
    output_of_others.seek(0)
    sys.stderr.write(output_of_others.read().decode(errors="replace"))
