"""Adds up the seconds that a worker spends, by kind of work."""

import contextlib
import time
from collections.abc import Iterator


class Clock:
    """Adds up seconds by kind of work: `with clock("decoding"): ...`."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def __call__(self, kind: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - start
            self._seconds[kind] = self._seconds.get(kind, 0.0) + spent

    def taken(self) -> dict[str, float]:
        """The seconds since the last call."""
        seconds, self._seconds = self._seconds, {}
        return seconds
