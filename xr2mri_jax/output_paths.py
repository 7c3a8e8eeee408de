"""Checks of output paths before any work, so that nothing is lost at its end."""

import errno
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from xr2mri_jax.errors import InputError


def require_writable(folder: Path, flag: str) -> None:
    """Checks early that a folder, or its nearest existing parent, is writable; creates nothing.

    Raises:
      InputError: it is not writable, or a part of its path is a link to nothing.
      OSError: the disk is full.
    """
    for path in (folder, *folder.parents):
        if path.is_symlink() and not path.exists():
            raise InputError(
                f"{flag}: {path} is a link to {os.readlink(path)}, which does not exist; expected "
                "a folder"
            )
    # Without the ".." of a/../b, where a is missing: its parents would not include b.
    final = Path(os.path.realpath(folder))
    nearest = next(path for path in (folder, final, *final.parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):  # not the folder's fault: the disk is full
            raise OSError(error.errno, error.strerror, os.fspath(folder)) from error
        raise InputError(
            f"{flag}: the folder {nearest} cannot be written to ({error.strerror}), expected one "
            "that can"
        ) from error


def require_ending(path: Path, ending: str, flag: str) -> None:
    """Raises InputError unless the file name has the ending, for example ".png"."""
    if path.suffix != ending or not path.stem:
        raise InputError(f"{flag}: found {path}, expected a name ending in {ending}")


def require_apart(
    output: str | os.PathLike[str],
    inputs: Iterable[str | os.PathLike[str]],
    flag: str,
    what: str = "",
) -> None:
    """Raises InputError if writing `output` would overwrite an input, called `what`."""
    for path in inputs:
        if os.path.isfile(path) and os.path.exists(output) and os.path.samefile(path, output):
            raise InputError(
                f"{flag}: {output} would overwrite {what or path}, expected another name"
            )


def require_file_place(path: Path, flag: str) -> None:
    """Checks early that a file can be written: its folder is writable and it is no folder.

    Raises:
      InputError: it cannot.
      OSError: the disk is full.
    """
    if path.is_dir():
        raise InputError(f"{flag}: {path} is a folder, expected the name of a file")
    require_writable(path.parent, flag)
