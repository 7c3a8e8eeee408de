"""A CSV table that grows row by row and always holds complete rows."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from xr2mri_jax import files
from xr2mri_jax.io.tables import table_line


class RowFile:
    """Writes OUT.csv.partial row by row; the file is renamed to OUT.csv when the table is finished.

    A killed run leaves a partial file with complete rows only: each write is unbuffered. One
    process at a time may write a table (`runtime.lock`).
    """

    def __init__(self, path: Path, columns: Sequence[str], kept: Iterable[Iterable[Any]] = ()):
        """Describes the table; entering the context writes its header.

        Args:
          path: of the finished table; a partial file of an earlier run is replaced.
          columns: names in the header.
          kept: rows of an earlier run, written first.
        """
        self.path, self.columns = path, tuple(columns)
        self.partial = partial_path(path)
        self._kept = [list(row) for row in kept]
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        files.remove_abandoned(self.partial)
        with files.atomic_path(self.partial) as new:
            new.write_bytes(_lines([self.columns, *self._kept]))
        self._file = self.partial.open("ab", buffering=0)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._file is not None
        self._file.close()
        if kind is None:
            files.sync(self.partial)
            os.replace(self.partial, self.path)
            files.sync(self.path.parent)

    def write(self, *rows: Iterable[Any]) -> None:
        """Appends rows together.

        Raises:
          OSError: not all of them could be written; the rows before remain complete.
        """
        assert self._file is not None
        rest = memoryview(_lines(rows))
        start = self._file.tell()
        try:
            while rest:  # an unbuffered write to a nearly full disk may be partial
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            self._file.truncate(start)
            raise OSError(error.errno, error.strerror, os.fspath(self.partial)) from error


def partial_path(path: Path) -> Path:
    """Where the rows of a table are until it is finished."""
    return path.with_name(path.name + ".partial")


def _lines(rows: Iterable[Iterable[Any]]) -> bytes:
    # File names may hold bytes that are not text.
    return "".join(map(table_line, rows)).encode("utf-8", "backslashreplace")
