"""The cores of the processor that this process may use, and low-priority threads."""

import os
import sys
import threading

# Environment variable with the number of threads of XLA's pool; default: one per core.
THREADS = "PJRT_NPROC"
_LEAST = 19


def cores() -> int:
    """The number of cores for this process; its share if several processes train together."""
    if THREADS in os.environ:
        return int(os.environ[THREADS])
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def stand_back() -> None:
    """Gives the calling thread the lowest priority (nice(2)).

    Only on Linux, where niceness is per thread; elsewhere it has no effect.
    """
    if sys.platform.startswith("linux"):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LEAST)
