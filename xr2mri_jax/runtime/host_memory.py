"""The host's memory: checks the address space limit, and keeps freed memory for reuse."""

import ctypes
import sys

from xr2mri_jax.errors import InputError

try:
    import resource
except ImportError:  # not a POSIX system: there is no such limit
    resource = None  # type: ignore[assignment]

# With less, JAX's threads cannot allocate: JAX aborts or hangs. Training takes 2.3 GiB.
LEAST_ADDRESSES = 4 << 30

# Names and numbers of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8


def keep_freed_memory() -> bool:
    """Makes the C library keep large freed blocks for reuse.

    By default glibc maps every block above 32 MiB separately and unmaps it when it is freed. XLA's
    CPU backend allocates its buffers this way in every step, and the kernel clears their pages each
    time, which takes a third of the processor time of a convolution's training step. With these
    settings the process keeps the largest amount of memory that it ever used (mallopt(3)).

    Must be called before a backend starts threads. Has no effect with a C library other than glibc.

    Returns:
      Whether the settings were accepted.
    """
    if not sys.platform.startswith("linux"):
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt") or not hasattr(library, "gnu_get_libc_version"):
        return False
    # One arena, because only the main one grows without mmap; no mmap; never trimmed.
    settings = ((_M_ARENA_MAX, 1), (_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, -1))
    return all(bool(library.mallopt(name, value)) for name, value in settings)


def require_addresses() -> None:
    """Checks that the process may map as much memory as JAX needs.

    Raises:
      InputError: the limit (`ulimit -v`) is below LEAST_ADDRESSES bytes.
    """
    if resource is None:
        return
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY and limit < LEAST_ADDRESSES:
        raise InputError(
            f"ulimit -v: found {limit // 1024} KiB, expected at least {LEAST_ADDRESSES // 1024} or "
            "unlimited: JAX cannot work with less"
        )
