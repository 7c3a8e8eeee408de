"""Stores examples on disk while a split larger than memory is sorted, without TensorFlow.

TFDS collects a split of more than 1 GB in files, by the hash of each example's key, and opens these
with TensorFlow, which is not installed here. `without_tensorflow` gives it plain Python files.
"""

import contextlib
import os
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

_KEY = 16  # bytes of a hashed key
_SIZE = struct.Struct("=Q")


class Bucket:
    """One file of (key, example), in the order in which they were added.

    The file is open only during a write or read: a split has a thousand of them, as many as a
    process may usually keep open.

    Attributes:
      size: bytes of the examples.
    """

    def __init__(self, path: os.PathLike[str]) -> None:
        """Takes the file's path; a remote path (gs://...) becomes a local file of the same name."""
        where = os.fspath(path)
        self._path = Path(where)
        if "://" in where:
            self._path = Path(tempfile.gettempdir()) / self._path.name
        self._length = 0
        self.size = 0

    def __len__(self) -> int:
        return self._length

    def add(self, key: int, data: bytes) -> None:
        """Appends one example under its key, 0 <= key < 2**128."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab") as file:
            file.write(key.to_bytes(_KEY, "little") + _SIZE.pack(len(data)) + data)
        self._length += 1
        self.size += len(data)

    def read_values(self) -> Iterator[tuple[int, bytes]]:
        """Yields the added examples; nothing if there are none."""
        if not self._length:
            return
        with self._path.open("rb") as file:
            while key := file.read(_KEY):
                (length,) = _SIZE.unpack(file.read(_SIZE.size))
                yield int.from_bytes(key, "little"), file.read(length)

    def del_file(self) -> None:
        """Deletes the file."""
        self._path.unlink(missing_ok=True)


@contextlib.contextmanager
def without_tensorflow() -> Iterator[None]:
    """While active, TFDS keeps what exceeds its memory in files of `Bucket`."""
    from tensorflow_datasets.core import shuffle

    before = shuffle._Bucket
    shuffle._Bucket = Bucket
    try:
        yield
    finally:
        shuffle._Bucket = before
