"""A lock on a folder: one process at a time writes in it, and others are told which one.

The lock is flock(2) on FOLDER/.lock, which the system lets go when its owner ends, however it ends.
The file tells host, process and time. Other hosts may not see flock on a shared file system: there
the owner counts as alive while it renews the file's time.
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

try:
    import fcntl
except ImportError:  # not a POSIX system: the owner in the file is all there is
    fcntl = None  # type: ignore[assignment]

NAME = ".lock"
# Seconds between two signs of life, and how long an owner on another host may give none.
RENEWED, SILENT = 20.0, 300.0
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


@dataclasses.dataclass(frozen=True)
class Owner:
    """Who holds a lock.

    Attributes:
      work: what is done, such as "a training run".
      host: name of the machine.
      boot: names the start of its kernel, which containers of one machine share; "" unknown.
      pid: of the process.
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
        """Whether it runs, or ran, under this kernel, which knows whether it is alive."""
        boot = _boot()
        return self.boot == boot if boot else self.host == socket.gethostname()


@contextlib.contextmanager
def hold(folder: Path, work: str) -> Iterator[None]:
    """Holds the lock of an existing folder while it is entered.

    A lock whose owner has ended is taken over, with a warning.

    Args:
      folder: can be written to.
      work: what is done, for the others' message.

    Raises:
      InputError: another process holds it; or one on another host whose last sign of life is less
        than SILENT seconds old.
    """
    path = folder / NAME
    file = _taken(path, work)
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


def _taken(path: Path, work: str) -> BinaryIO:
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
                    f"{path.parent}: is in use by {owner}, expected one process at a time: wait "
                    f"until it ends{_removal(owner, path)}"
                )
            if free is False:
                raise InputError(
                    f"{path.parent}: is in use by a process that has just started, expected one "
                    "process at a time"
                )
            if owner is not None:
                logging.warning("%s: taken over from %s, which has ended", path.parent, owner)
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
    """Whether the owner may be alive; `free` as `_lock` gives it."""
    if free is False:
        return True
    if not owner.is_here():
        return _age(path) < SILENT
    return free is None and _is_alive(owner.pid)


def _removal(owner: Owner, path: Path) -> str:
    if owner.is_here():
        return ""
    return (
        f"; if it has ended, remove {path} or wait {SILENT / 60:g} minutes from its last sign of "
        "life"
    )


def _is_named(file: BinaryIO, path: Path) -> bool:
    """Whether the file that was opened still has its name: the owner before may have ended."""
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
    """Seconds since the last sign of life, both by the clock of the file system."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".partial-") as now:
        return os.stat(now.name).st_mtime - path.stat().st_mtime


def _read(file: BinaryIO) -> Owner | None:
    """None if nobody is named: an owner that just starts, or a damaged file."""
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
