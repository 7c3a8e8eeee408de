"""Reads the voxels that a text header describes: attached or in files beside it, packed or not."""

import bz2
import os
import re
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from xr2mri_jax.errors import InputError
from xr2mri_jax.io.budget import MAX_BYTES, inflated

MAX_HEADER = 1 << 20
_MOST_FILES = 4096
_PATTERN = re.compile(
    r"([^%\s]*%0?\d?d[^%\s]*)\s+(\d{1,6})\s+(\d{1,6})(?:\s+(-?\d{1,6}))?(?:\s+\d)?"
)
_GZIP = zlib.MAX_WBITS | 16
_ZLIB_OR_GZIP = zlib.MAX_WBITS | 32


def data_file(header: Path, name: str) -> Path:
    """The data file that a header names, in the header's folder or below it.

    Raises:
      InputError: a name that leads elsewhere, or no such file.
    """
    clean = name.replace("\\", "/").strip().strip('"')
    parts = clean.split("/")
    if not clean or clean.startswith("/") or ".." in parts or "\0" in clean or ":" in parts[0]:
        raise InputError(f"{header}: its data file leads out of the folder, expected one beside it")
    path = header.parent / clean
    if not path.is_file():
        raise InputError(f"{header}: its data file {clean!r} is missing")
    return path


def pattern_names(text: str) -> list[str]:
    """The names of "slice%03d.raw FIRST LAST STEP", as in NRRD and MetaImage headers.

    Raises:
      InputError: not such a pattern, or too many files.
    """
    match = _PATTERN.fullmatch(text)
    if match is None:
        raise InputError("the data files' pattern is unknown, expected NAME%03d FIRST LAST STEP")
    first, last, step = int(match[2]), int(match[3]), int(match[4] or 1)
    if step == 0 or not 0 <= (last - first) // step < _MOST_FILES:
        raise InputError(f"the data files' pattern names no files or more than {_MOST_FILES}")
    return [match[1] % k for k in range(first, last + (1 if step > 0 else -1), step)]


def read_files(header: Path, names: Sequence[str], skip: int = 0) -> list[bytes]:
    """The content of data files without the first `skip` bytes; -1 keeps all for `payload`."""
    if len(names) > _MOST_FILES:
        raise InputError(f"{header}: names {len(names)} data files, more than {_MOST_FILES}")
    paths = [data_file(header, name) for name in names]
    if sum(path.stat().st_size for path in paths) > MAX_BYTES:
        raise InputError(f"{header}: its data files have more than {MAX_BYTES} bytes")
    return [path.read_bytes()[max(skip, 0) :] for path in paths]


def ascii_values(
    header: str | os.PathLike[str], stored: bytes, count: int, dtype: np.dtype
) -> np.ndarray:
    """Parses voxels that are written as text.

    Args:
      header: names the file in errors.
      stored: numbers, separated by blanks.
      count: the required number.
      dtype: of the result [count].

    Raises:
      InputError: more or fewer numbers, anything other than numbers, or values beyond the dtype.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # numpy's sign of text, not numbers
        try:
            values = np.fromstring(stored.decode("ascii"), np.float64, sep=" ")
        except (ValueError, DeprecationWarning):
            raise InputError(f"{header}: its data are text that is not a number") from None
    if len(values) != count:
        raise InputError(f"{header}: its sizes need {count} numbers, found {len(values)}")
    with np.errstate(invalid="ignore", over="ignore"):
        result = values.astype(dtype)
    if dtype.kind != "f" and not np.array_equal(result, values):
        raise InputError(f"{header}: its data leave the range of {dtype}")
    return result


def payload(
    header: str | os.PathLike[str], stored: bytes, needed: int, encoding: str, skip: int = 0
) -> bytes:
    """Unpacks voxels; never more than one byte beyond what is needed.

    Args:
      header: names the file in errors.
      stored: the bytes as stored in the file.
      needed: bytes that the sizes need.
      encoding: "raw", "gzip", "zlib" (or gzip) or "bzip2".
      skip: bytes before the voxels, after unpacking; -1 takes the last bytes of raw data.

    Raises:
      InputError: too many bytes are needed, or too few or too many exist.
    """
    if needed + max(skip, 0) > MAX_BYTES:
        raise InputError(f"{header}: its sizes need {needed} bytes, more than {MAX_BYTES}")
    total = needed + max(skip, 0)
    if encoding == "raw":
        data, ended = (stored[len(stored) - needed :] if skip == -1 else stored), True
    elif skip < 0:
        raise InputError(f"{header}: byte skip -1 in packed data, expected raw data")
    elif encoding == "bzip2":
        unpack = bz2.BZ2Decompressor()
        data = unpack.decompress(stored, total + 1)
        data += b"" if unpack.eof else unpack.decompress(b"", 1)
        ended = unpack.eof
    else:
        data, ended = inflated(stored, total, _GZIP if encoding == "gzip" else _ZLIB_OR_GZIP)
    if len(data) != total or not ended:
        found = f"{len(data)} bytes" if ended or len(data) < total else "more, or a cut-off end"
        raise InputError(f"{header}: its sizes need {total} bytes, found {found}")
    return data[max(skip, 0) :]
