"""The table of graded knees, written row by row; the file contains only complete rows."""

import dataclasses
import math
import os
from pathlib import Path
from types import TracebackType
from typing import IO

from xr2mri_jax import files
from xr2mri_jax.io.tables import table_line

COLUMNS = ("file", "side", "probability_kl2", "warning", "distance", "at_threshold", "picture")


@dataclasses.dataclass(frozen=True)
class GradedKnee:
    """A row.

    Attributes:
      file: its path below the folder that was given.
      side: "left", "right", or "" if nothing was graded.
      probability: of Kellgren-Lawrence grade 2 (against 0) in [0, 1]; None if it was not graded.
      warning: why it was not graded, or doubtful decisions; "" for none.
      distance: to the training radiographs, above 1 unlike them; None if it is not known.
      positive: whether the probability reaches the threshold for a sensitivity of 0.9; None if
        there is no threshold.
      picture: path of the knee's picture; None if none was drawn.
    """

    file: str
    side: str = ""
    probability: float | None = None
    warning: str = ""
    distance: float | None = None
    positive: bool | None = None
    picture: Path | None = None

    def cells(self, folder: Path) -> list[str]:
        """Text by COLUMNS; the picture's path is relative to `folder`."""
        drawn = "" if self.picture is None else os.path.relpath(self.picture, folder)
        return [
            self.file,
            self.side,
            "" if self.probability is None else f"{self.probability:.6f}",
            self.warning,
            "" if self.distance is None else f"{self.distance:.3f}",
            "" if self.positive is None else str(int(self.positive)),
            drawn.replace(os.sep, "/"),
        ]


class Table:
    """Writes OUT.csv.partial row by row; it becomes OUT.csv when the table is finished.

    A killed run leaves the partial file with complete rows only.
    """

    def __init__(self, path: Path):
        """Starts the partial file; that of an earlier run is replaced."""
        self.path = path
        self.partial = partial_path(path)
        self._file: IO[bytes] | None = None

    def __enter__(self) -> "Table":
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.partial.open("wb", buffering=0)
        self._write(list(COLUMNS))
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

    def add(self, knee: GradedKnee) -> None:
        """Writes a row.

        Raises:
          FloatingPointError: a number is not finite, or a probability outside [0, 1].
          OSError: the row could not be written completely; the rows before it stay intact.
        """
        known = [value for value in (knee.probability, knee.distance) if value is not None]
        if not all(map(math.isfinite, known)) or not 0 <= (knee.probability or 0) <= 1:
            raise FloatingPointError(
                f"{knee.file}: found the probability {knee.probability} and distance "
                f"{knee.distance}, expected finite numbers"
            )
        self._write(knee.cells(self.path.parent))

    def _write(self, cells: list[str]) -> None:
        assert self._file is not None
        # File names may contain bytes that are not valid text.
        rest = memoryview(table_line(cells).encode("utf-8", "backslashreplace"))
        start = self._file.tell()
        try:
            while rest:  # an unbuffered write may be partial, for example on a full disk
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            self._file.truncate(start)
            raise OSError(error.errno, error.strerror, os.fspath(self.partial)) from error


def partial_path(path: Path) -> Path:
    """The file of a table's rows until the table is finished."""
    return path.with_name(path.name + ".partial")
