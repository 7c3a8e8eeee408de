"""Atomic writing of files and folders: a reader never sees half of one.

Files and folders are synchronised (fsync(2)) before they get their name, so that neither a kill nor
a power loss leaves a name with half of its content.
"""

import contextlib
import fnmatch
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from xr2mri_jax.errors import InputError, WorkError, disk_error

_BLOCK = 1 << 20


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary path beside `path`: replaces `path` on success, is removed on an error.

    The temporary name has the same ending as `path`, so that writers that look at the suffix choose
    the same format.

    Raises:
      InputError: a parent of `path` is a file.
      OSError: the disk refuses; its `filename` is `path`.
    """
    path = Path(path)
    with naming(path):
        _make_folder(path.parent)
        handle, name = tempfile.mkstemp(prefix=".partial-", suffix=f"-{path.name}", dir=path.parent)
        os.close(handle)
        partial = Path(name)
        try:
            yield partial
            partial.chmod(0o666 & ~_umask())
            sync(partial)
            os.replace(partial, path)
            sync(path.parent)
        finally:
            partial.unlink(missing_ok=True)


def remove_abandoned(path: str | os.PathLike[str]) -> None:
    """Removes the temporary files of `path` that killed processes left beside it.

    Only for the one process that may write `path`: it cannot tell another's file from a left one.
    """
    path = Path(path)
    for left in path.parent.iterdir():
        if _is_temporary(left.name, path):
            left.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_paths(*paths: str | os.PathLike[str]) -> Iterator[list[Path]]:
    """`atomic_path` for several files: all of them replace the old ones, or none.

    All are synchronised before the first one gets its name. The first of `paths` gets its name
    last: if it is new, so are the others.
    """
    with contextlib.ExitStack() as stack:
        partials = [stack.enter_context(atomic_path(path)) for path in paths]
        yield partials
        for path, partial in zip(paths, partials, strict=True):
            with naming(Path(path)):
                sync(partial)


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Writes `content` as indented JSON, atomically; NaN and infinity raise ValueError."""
    write_text(path, json_text(content))


def json_text(content: Any) -> str:
    """`content` as `write_json` writes it."""
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes text in UTF-8, atomically."""
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8")


def read_json(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads a JSON object from a file of any origin.

    Raises:
      InputError: the file cannot be read, is not JSON, is nested too deeply, or does not hold an
        object.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    return json_object(path, content)


def json_object(path: str | os.PathLike[str], content: bytes) -> dict[str, Any]:
    """Parses a JSON object; raises InputError like `read_json`, with `path` in the message."""
    try:
        found = json.loads(content.decode("utf-8"))
    except RecursionError as error:
        raise InputError(f"{path}: cannot be read as JSON (nested too deeply)") from error
    except ValueError as error:
        raise InputError(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(found, dict):
        raise InputError(f"{path}: found {type(found).__name__}, expected a JSON object")
    return found


@contextlib.contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields an empty temporary folder beside `path`: becomes `path` on success, else is removed.

    On success `path` must not exist or must be an empty folder; otherwise raises OSError and leaves
    nothing behind.
    """
    path = Path(path)
    with _folder_beside(path) as partial:
        yield partial
        sync_folder(partial)
        os.replace(partial, path)
        sync(path.parent)


@contextlib.contextmanager
def replaced_folder(path: str | os.PathLike[str], own: Sequence[str] = ()) -> Iterator[Path]:
    """Yields an empty temporary folder beside `path`; on success its files replace those of `path`.

    If all files in `path` are replaced, the new folder takes its place at once, so that a reader
    never sees new files beside old ones. If `path` holds other files, they stay, and the new files
    are moved in one by one after all of them have been written. On an error nothing changes.

    Args:
      path: the folder.
      own: patterns (fnmatch) of names that the caller writes in some runs: such files of an earlier
        run are removed if they are not written again.
    """
    path = Path(path)
    with _folder_beside(path) as partial:
        yield partial
        sync_folder(partial)
        new = {entry.name for entry in partial.iterdir()}
        old = {entry.name for entry in path.iterdir()} if path.is_dir() else set()
        stale = {name for name in old - new if _is_own(path / name, own)}
        if old - new - stale or path.is_symlink():
            for name in sorted(new):
                _replace(partial / name, path / name)
            for name in stale:
                (path / name).unlink()
            sync(path)
            return
        with contextlib.ExitStack() as stack:
            if old:
                former = stack.enter_context(_folder_beside(path)) / path.name
                os.replace(path, former)
                stack.callback(_put_back, former, path)
            os.replace(partial, path)
        sync(path.parent)


def sync(path: Path) -> None:
    """Returns when a file's content, or a folder's list of names, is on the disk."""
    if path.is_dir() and os.name != "posix":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some network file systems cannot synchronise folders.
        if not path.is_dir() or disk_error(error) is not None:
            raise
    finally:
        os.close(handle)


def sync_folder(folder: Path) -> None:
    """Applies `sync` to everything in a folder, then to the folder."""
    for path in folder.rglob("*"):
        sync(path)
    sync(folder)


def reserve(file: IO[bytes], size: int, where: str) -> None:
    """Reserves disk space for the first `size` bytes of a file that is open for writing.

    Raises:
      OSError: there is not enough; its `filename` is `where`.
    """
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, max(size, 1))
        else:
            for _ in range(0, size, _BLOCK):
                file.write(bytes(_BLOCK))
            file.flush()
    except OSError as error:
        raise OSError(error.errno, error.strerror, where) from error


def require_room(folder: Path, size: int) -> None:
    """Checks that the folder's disk has `size` free bytes now; leaves nothing there.

    Raises:
      OSError: it does not; its `filename` is the folder.
    """
    with tempfile.TemporaryFile(dir=folder) as file:
        reserve(file, size, os.fspath(folder))


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Makes disk errors name the intended file, never a temporary one.

    Raises:
      OSError: the disk's error, whose `filename` is `path` or a file in it.
    """
    try:
        yield
    except (InputError, WorkError):
        raise
    except Exception as error:  # libraries wrap the disk's errors in their own
        refused = disk_error(error)
        if refused is None:
            raise
        name = path if refused.filename is None else _final(Path(refused.filename), path)
        if isinstance(error, OSError) and error.filename == os.fspath(name):
            raise
        raise OSError(refused.errno, refused.strerror, os.fspath(name)) from error


def _final(name: Path, path: Path) -> Path:
    """`name` with the temporary file or folder of `path` replaced by the final name."""
    # `tempfile` gives absolute names, also beside a relative path.
    folder = path.parent.absolute()
    if not name.absolute().is_relative_to(folder):
        return name
    first, *rest = name.absolute().relative_to(folder).parts or ("",)
    return path.joinpath(*rest) if _is_temporary(first, path) else name


def _is_temporary(name: str, path: Path) -> bool:
    """Whether `name` is one of `tempfile`'s between this module's prefix and suffix for `path`."""
    return re.fullmatch(rf"\.partial-[a-z0-9_]+-{re.escape(path.name)}", name) is not None


@contextlib.contextmanager
def _folder_beside(path: Path) -> Iterator[Path]:
    """A temporary folder beside `path`, removed at the end unless it was renamed."""
    with naming(path):
        _make_folder(path.parent)
        folder = tempfile.mkdtemp(prefix=".partial-", suffix=f"-{path.name}", dir=path.parent)
        partial = Path(folder)
        try:
            partial.chmod(0o777 & ~_umask())
            yield partial
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError(f"{folder}: found a file in its place, expected a folder") from error


def _replace(new: Path, path: Path) -> None:
    """Renames `new` to `path`; first removes a folder at `path`, which `os.replace` refuses."""
    if not path.is_dir() or path.is_symlink():
        os.replace(new, path)
        return
    with _folder_beside(path) as old:
        os.replace(path, old / path.name)
        os.replace(new, path)


def _is_own(path: Path, own: Sequence[str]) -> bool:
    return path.is_file() and any(fnmatch.fnmatchcase(path.name, pattern) for pattern in own)


def _put_back(former: Path, path: Path) -> None:
    """Gives the former folder its name back unless a new folder has it."""
    if not path.exists():
        os.replace(former, path)


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask
