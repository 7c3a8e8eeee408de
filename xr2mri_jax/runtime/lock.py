"""A lock on a folder or a file: only one process at a time writes it; others are told which one.

The lock is flock(2) on FOLDER/.lock, or on .NAME.lock beside the file or folder NAME. The system
releases it when the owner ends for any reason. The lock file contains host, process and time. On a
shared file system flock may not work across hosts; then the owner counts as alive while it renews
the modification time of the lock file.
"""

import contextlib
import dataclasses
import errno
import json
import os
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from absl import logging

from xr2mri_jax.errors import InputError
from xr2mri_jax.files import naming

try:
    import fcntl
except ImportError:  # not a POSIX system: only the owner in the file is known
    fcntl = None  # type: ignore[assignment]

NAME = ".lock"
# Seconds between two renewals, and the age at which an owner on another host counts as dead.
RENEWED, SILENT = 20.0, 300.0
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


@dataclasses.dataclass(frozen=True)
class Owner:
    """The owner of a lock.

    Attributes:
      work: description of its work, such as "a training run".
      host: name of the machine.
      boot: identifier of the boot, shared by containers of one machine; "" if unknown.
      pid: process id.
      since: UTC, ISO 8601.
    """

    work: str
    host: str
    boot: str
    pid: int
    since: str

    def __str__(self) -> str:
        return f"{self.work}, process {self.pid} on host {self.host} since {self.since}"

    def is_here(self) -> bool:
        """Whether it runs or ran under this kernel, which then knows if it is alive."""
        boot = _boot()
        return self.boot == boot if boot else self.host == socket.gethostname()


@contextlib.contextmanager
def hold(folder: Path, work: str) -> Iterator[None]:
    """Context manager that holds the lock of an existing folder.

    A lock whose owner has ended is taken over, with a warning.

    Args:
      folder: a writable folder.
      work: description of the work, for the message to other processes.

    Raises:
      InputError: another process holds the lock, or one on another host that renewed it less than
        SILENT seconds ago.
    """
    with _held(folder / NAME, folder, work):
        yield


@contextlib.contextmanager
def hold_beside(path: Path, work: str) -> Iterator[None]:
    """`hold` for a file or folder that need not exist yet: the lock lies beside it.

    Args:
      path: of the file or folder; its parent is created if missing.
      work: as for `hold`.

    Raises:
      InputError: as `hold`.
    """
    path = path.absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    with _held(path.with_name(f".{path.name}{NAME}"), path, work):
        yield


@contextlib.contextmanager
def _held(path: Path, place: Path, work: str) -> Iterator[None]:
    """Holds the lock file `path`, which protects `place`."""
    file = _acquire(path, place, work)
    done = threading.Event()
    renewal = threading.Thread(target=_renew, args=(file.fileno(), done), daemon=True)
    renewal.start()
    try:
        yield
    finally:
        done.set()
        renewal.join()
        # Removed before it is unlocked; a waiting process then checks that the file still exists.
        with contextlib.suppress(OSError):
            path.unlink()
        file.close()


def _acquire(path: Path, place: Path, work: str) -> BinaryIO:
    while True:
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b", buffering=0)
        try:
            free = _lock(file)
            if free is not False and not _is_named(file, path):
                file.close()
                continue
            owner = _read(file)
            if owner is not None and _refused(owner, path, free):
                raise InputError(
                    f"{place}: is in use by {owner}, expected one process at a time: wait "
                    f"until it ends{_removal(owner, path)}"
                )
            if free is False:
                raise InputError(
                    f"{place}: is in use by a process that has just started, expected one "
                    "process at a time"
                )
            if owner is not None:
                logging.warning("%s: taken over from %s, which has ended", place, owner)
            with naming(place):
                _write(file, work)
            return file
        except BaseException:
            file.close()
            raise


def _lock(file: BinaryIO) -> bool | None:
    """Takes flock: True; False if another has it; None if the file system has none."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return None
    return True


def _refused(owner: Owner, path: Path, free: bool | None) -> bool:
    """Whether the owner may be alive; `free` is the result of `_lock`."""
    if free is False:
        return True
    if not owner.is_here():
        return _age(path) < SILENT
    return free is None and _is_alive(owner.pid)


def _removal(owner: Owner, path: Path) -> str:
    if owner.is_here():
        return ""
    return (
        f"; if it has ended, remove {path} or wait {SILENT / 60:g} minutes after its last sign of "
        "life"
    )


def _is_named(file: BinaryIO, path: Path) -> bool:
    """Whether the opened file still exists under its name; its owner may have removed it."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return pid != os.getpid()


def _age(path: Path) -> float:
    """Seconds since the last renewal, by the clock of the file system."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".partial-") as now:
        return os.stat(now.name).st_mtime - path.stat().st_mtime


def _read(file: BinaryIO) -> Owner | None:
    """The owner; None if the file is empty, because its owner is starting, or damaged."""
    try:
        return Owner(**json.loads(file.read(4096)))
    except (ValueError, TypeError, RecursionError):
        return None


def _write(file: BinaryIO, work: str) -> None:
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    owner = Owner(work, socket.gethostname(), _boot(), os.getpid(), since)
    file.seek(0)
    file.truncate()
    file.write(json.dumps(dataclasses.asdict(owner)).encode())
    os.fsync(file.fileno())


def _renew(handle: int, done: threading.Event) -> None:
    while not done.wait(RENEWED):
        with contextlib.suppress(OSError):
            os.utime(handle)


def _boot() -> str:
    try:
        return _BOOT.read_text(encoding="ascii").strip()
    except OSError:
        return ""
