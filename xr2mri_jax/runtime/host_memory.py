"""The host's memory: enough of it may be mapped, and training steps keep what they freed."""

import ctypes
import sys

from xr2mri_jax.errors import InputError

try:
    import resource
except ImportError:  # not a POSIX system: there is no such limit
    resource = None  # type: ignore[assignment]

# Below it JAX's threads cannot allocate: it aborts, or waits for ever. Training takes 2.3 GiB.
LEAST_ADDRESSES = 4 << 30

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


def require_addresses() -> None:
    """Makes sure that the process may map as much memory as JAX does.

    Raises:
      InputError: its limit (`ulimit -v`) is below LEAST_ADDRESSES bytes.
    """
    if resource is None:
        return
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY and limit < LEAST_ADDRESSES:
        raise InputError(
            f"ulimit -v: found {limit // 1024} KiB, expected at least {LEAST_ADDRESSES // 1024} or "
            "unlimited: JAX cannot work with less"
        )
