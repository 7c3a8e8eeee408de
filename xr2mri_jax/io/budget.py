"""Limits on reading files of unknown origin: bytes, parts and seconds.

Packed formats can expand far beyond their size: deflate up to a thousandfold, and an archive can
hold a million names. Every reader charges what it unpacks to a `Budget`, which refuses a file
during reading, so that no file costs more than about 1 GiB of memory and 5 s.
"""

import io
import math
import os
import time
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np

from xr2mri_jax.errors import InputError

# Unpacked bytes of one file. The largest MRI series of a knee has 0.2 GB, a radiograph 0.05 GB.
MAX_BYTES = 512 * 1024**2
MAX_PARTS = 4096
# Processor time of the reading thread, so that a busy disk or machine refuses no file.
MAX_SECONDS = 5.0
# Bytes of one read; a larger piece is a header that no format needs.
MAX_PIECE = 1 << 20
MODEL_BYTES = 64 * 1024**2


class Budget:
    """The remaining budget of one file.

    Attributes:
      name: the file, for messages.
    """

    def __init__(
        self,
        name: str | os.PathLike[str],
        most_bytes: int = MAX_BYTES,
        most_parts: int = MAX_PARTS,
        most_seconds: float = MAX_SECONDS,
    ) -> None:
        self.name = os.fspath(name)
        self._most = (most_bytes, most_parts, most_seconds)
        self._bytes = self._parts = 0
        self._start = time.thread_time()

    def take(self, count: int) -> None:
        """Charges bytes; raises InputError if there are too many, or if reading takes too long."""
        self._bytes += count
        if self._bytes > self._most[0]:
            raise InputError(f"{self.name}: holds more than {self._most[0]} bytes")
        self._require_time()

    def part(self) -> None:
        """Charges a part (a member, a page, an element); raises InputError like `take`."""
        self._parts += 1
        if self._parts > self._most[1]:
            raise InputError(f"{self.name}: holds more than {self._most[1]} parts")
        self._require_time()

    def _require_time(self) -> None:
        if time.thread_time() - self._start > self._most[2]:
            raise InputError(f"{self.name}: takes longer than {self._most[2]:g} s to read")


class BudgetReader(io.RawIOBase):
    """A stream that charges all bytes that are read or skipped to a budget.

    A single read of more than MAX_PIECE bytes is refused.
    """

    def __init__(self, stream: IO[bytes], budget: Budget) -> None:
        self._stream, self._budget, self._at = stream, budget, 0

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Reads up to `size` bytes; `size` is required."""
        if not 0 <= size <= MAX_PIECE:
            raise InputError(
                f"{self._budget.name}: a part of {size} bytes, expected at most {MAX_PIECE}"
            )
        found = self._stream.read(size)
        self._budget.take(len(found))
        self._at += len(found)
        return found

    def seek(self, place: int, whence: int = io.SEEK_SET) -> int:
        """Skips forward by reading; cannot go back."""
        if whence != io.SEEK_SET or place < self._at:
            raise InputError(f"{self._budget.name}: its parts are out of order")
        while self._at < place and self.read(min(place - self._at, MAX_PIECE)):
            continue
        return self._at


def inflated(packed: bytes, most: int, wbits: int = zlib.MAX_WBITS) -> tuple[bytes, bool]:
    """At most `most` + 1 bytes of a deflated stream, and whether the stream ends with them."""
    unzip = zlib.decompressobj(wbits)
    data = unzip.decompress(packed, most + 1)
    if not unzip.eof and len(data) <= most:
        data += unzip.decompress(unzip.unconsumed_tail, 1)
    return data, unzip.eof


def require_inflatable(stream: IO[bytes], budget: Budget, wbits: int) -> None:
    """Unpacks a deflated stream to its end, keeping nothing.

    Raises:
      InputError: more bytes than the budget has, or a broken stream.
    """
    unzip = zlib.decompressobj(wbits)
    try:
        while not unzip.eof:
            packed = unzip.unconsumed_tail or stream.read(MAX_PIECE)
            if not packed:
                break
            budget.take(len(unzip.decompress(packed, MAX_PIECE)))
    except zlib.error as error:
        raise InputError(f"{budget.name}: a broken deflated stream ({error})") from error


def read_bytes(path: str | os.PathLike[str], most: int = MODEL_BYTES) -> bytes:
    """Reads a whole file; raises InputError if it is unreadable or longer than `most` bytes."""
    try:
        size = os.stat(path).st_size
        if size > most:
            raise InputError(f"{path}: has {size} bytes, expected at most {most}")
        return Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error


def read_npz(path: str | os.PathLike[str], content: bytes) -> dict[str, np.ndarray]:
    """The arrays of an .npz file by name, without pickles and at most MODEL_BYTES unpacked.

    Args:
      path: names the file in errors.
      content: its bytes.

    Raises:
      InputError: not an .npz file, arrays of objects, or sizes that contradict the headers.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            budget = Budget(path, MODEL_BYTES)
            for member in archive.infolist():
                budget.part()
                budget.take(member.file_size)
            return dict(_array(archive, member) for member in archive.infolist())
    except InputError as error:
        said = str(error).removeprefix(f"{path}: ")
        raise InputError(f"{path}: {said}") from error
    except Exception as error:  # zipfile, zlib and numpy raise errors of every class
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: cannot be read as .npz ({reason})") from error


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> tuple[str, np.ndarray]:
    """One member's name and array; checks its header against its size before allocating memory."""
    content = archive.read(member)
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    readers: dict[tuple[int, int], Any] = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in readers:
        raise InputError(f"array {member.filename!r} of form {version}, expected 1.0 or 2.0")
    shape, fortran, dtype = readers[version](stream)
    if dtype.hasobject:
        raise InputError(f"array {member.filename!r} holds objects, expected numbers")
    needed = math.prod(shape) * dtype.itemsize
    found = len(content) - stream.tell()
    if needed != found:
        raise InputError(
            f"array {member.filename!r} of shape {shape} needs {needed} bytes, found {found}"
        )
    array = np.frombuffer(content, dtype, offset=stream.tell()).reshape(
        shape, order="F" if fortran else "C"
    )
    return member.filename.removesuffix(".npy"), array.copy()
