"""The processor's cores: how many this process may use, and which of its threads come last."""

import os
import sys
import threading

# How many threads XLA's pool has, in place of one for each of the machine's cores.
THREADS = "PJRT_NPROC"
_LEAST = 19


def cores() -> int:
    """How many cores this process may use; one of several that train together, its share."""
    if THREADS in os.environ:
        return int(os.environ[THREADS])
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def stand_back() -> None:
    """The calling thread from now on takes a core only where no other thread wants it (nice(2)).

    On Linux alone, where a thread has a niceness of its own; elsewhere nothing changes.
    """
    if sys.platform.startswith("linux"):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LEAST)
