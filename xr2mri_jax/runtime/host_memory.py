"""The host's memory between training steps: kept by the process rather than fetched each time."""

import ctypes
import sys

# Names and numbers of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8


def keep_freed_memory() -> bool:
    """Tells the C library to keep large blocks that were freed for the next use.

    By default glibc maps every block above 32 MiB anew and returns it when it is freed. XLA's CPU
    backend takes its buffers so at every step, and the kernel clears them page by page each time: a
    third of the processor time of a convolution's training step. Kept blocks cost nothing; in turn
    the process holds on to the largest amount that it ever used (mallopt(3)).

    To be called before a backend starts threads. Where the C library is another than glibc nothing
    changes.

    Returns:
      Whether the settings were taken.
    """
    if not sys.platform.startswith("linux"):
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt") or not hasattr(library, "gnu_get_libc_version"):
        return False
    # One arena, for only the main one grows without maps; no maps; never returned.
    settings = ((_M_ARENA_MAX, 1), (_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, -1))
    return all(bool(library.mallopt(name, value)) for name, value in settings)
