"""The cores of the processor that this process may use."""

import os

# Environment variable with the number of threads of XLA's pool; default: one per core.
THREADS = "PJRT_NPROC"


def cores() -> int:
    """The number of cores for this process; its share if several processes train together."""
    if THREADS in os.environ:
        return int(os.environ[THREADS])
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
