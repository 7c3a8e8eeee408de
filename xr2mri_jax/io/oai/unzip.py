"""Reads the members of a zip archive within a budget."""

import contextlib
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from xr2mri_jax.errors import InputError
from xr2mri_jax.io.budget import MAX_PARTS

# PKWARE's APPNOTE.TXT 4.3.16: the end of the central directory, and a comment after it.
_END, _END_64, _END_BYTES, _COMMENT = b"PK\5\6", b"PK\6\7", 22, 65_535
_LOCATOR_BYTES = 20
_DIRECTORY_BYTES = 1024 * MAX_PARTS
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


@contextlib.contextmanager
def opened_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """Opens a zip archive whose directory has a usual size.

    Raises:
      InputError: not a zip archive, or a directory with more members than a series has.
      zipfile.BadZipFile: damaged, perhaps only found while members are read.
    """
    with path.open("rb") as stream:
        _require_short_directory(path, stream)
        with zipfile.ZipFile(stream) as archive:
            yield archive


def _require_short_directory(path: Path, stream: IO[bytes]) -> None:
    """Limits the directory, which `zipfile` reads completely on opening, whatever its size."""
    size = stream.seek(0, 2)
    stream.seek(max(0, size - _END_BYTES - _COMMENT - _LOCATOR_BYTES))
    tail = stream.read()
    at = tail.rfind(_END)
    if at < 0 or at + _END_BYTES > len(tail):
        raise InputError(f"{path}: truncated or no zip archive (its directory is missing)")
    length = int.from_bytes(tail[at + 12 : at + 16], "little")
    if length > _DIRECTORY_BYTES or _END_64 in tail[max(0, at - _LOCATOR_BYTES) : at]:
        raise InputError(f"{path}: holds more than {MAX_PARTS} parts")


def member_name(path: Path, member: zipfile.ZipInfo) -> str:
    """A member's name with slashes (some Windows programs write backslashes).

    Raises:
      InputError: the member is encrypted, a link, or packed by a method other than deflate.
    """
    if member.flag_bits & 1:
        raise InputError(f"{path}: member {member.filename!r} is encrypted, expected a plain file")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise InputError(f"{path}: member {member.filename!r} is a link, expected a plain file")
    if member.compress_type not in _METHODS:
        raise InputError(
            f"{path}: member {member.filename!r} is packed by method {member.compress_type}, "
            "expected deflate"
        )
    return member.filename.replace("\\", "/")
