"""Runs a command as its own process and measures its time, processor time and peak memory."""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

_LOOK_S = 0.02


class ProcessUsage(NamedTuple):
    """The resources that a command used.

    Attributes:
      seconds: from start to end of the process.
      processor_s: of all its threads and processes.
      peak_bytes: maximum resident memory; 0 if the system does not report it.
    """

    seconds: float
    processor_s: float
    peak_bytes: int


def run_command(
    words: Sequence[str | Path], cache: Path, look: Callable[[float], None] | None = None
) -> ProcessUsage:
    """Runs `xr2mri WORDS` to its end.

    Args:
      words: the verb and its flags.
      cache: folder of the user's cache, with the compiled programs; a new one for a first call.
      look: called every 20 ms with the seconds since the start, while the command runs.

    Raises:
      RuntimeError: the command failed.
    """
    # The command derives its cache folder from this, see `runtime.compilation_cache`.
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    peak, start, before = 0, time.perf_counter(), _processor_s()
    process = subprocess.Popen(
        [sys.executable, "-m", "xr2mri_jax", *map(str, words)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    while process.poll() is None:
        peak = max(peak, _resident(process.pid))
        if look is not None:
            look(time.perf_counter() - start)
        time.sleep(_LOOK_S)
    seconds = time.perf_counter() - start
    _, said = process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"xr2mri {words[0]} ended with {process.returncode}: {said.strip()}")
    return ProcessUsage(seconds, _processor_s() - before, peak)


def _processor_s() -> float:
    """Processor time of this process's children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _resident(process: int) -> int:
    """Peak memory of a process so far, in bytes; 0 if unknown."""
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next((int(x.split()[1]) * 1024 for x in lines if x.startswith("VmHWM:")), 0)
