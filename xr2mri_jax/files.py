"""Writing files so that a reader never sees half of one, where they can be written at all."""

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from xr2mri_jax.errors import InputError


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives a temporary path beside `path`: on success it replaces `path`, on an error it goes.

    The temporary name ends like `path`, so that writers which look at the suffix choose the same
    format.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".partial-", suffix=f"-{path.name}", dir=path.parent)
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
        umask = os.umask(0)
        os.umask(umask)
        partial.chmod(0o666 & ~umask)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Writes `content` as indented JSON, atomically; NaN and infinity raise ValueError."""
    text = json.dumps(content, indent=2, allow_nan=False)
    with atomic_path(path) as partial:
        partial.write_text(text + "\n", encoding="utf-8")


@contextlib.contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives an empty temporary folder beside `path`: on success it becomes `path`, else it goes.

    `path` must not exist or be an empty folder then; else OSError is raised and nothing is left.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".partial-", suffix=f"-{path.name}", dir=path.parent))
    try:
        yield partial
        umask = os.umask(0)
        os.umask(umask)
        partial.chmod(0o777 & ~umask)
        os.replace(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def require_writable(folder: Path, flag: str) -> None:
    """Tries the folder, or the one that it would be made in, before any work; makes nothing.

    Raises:
      InputError: where it cannot be written to.
    """
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise InputError(
            f"{flag}: the folder {nearest} cannot be written to ({error.strerror}), expected one "
            "that can"
        ) from error
