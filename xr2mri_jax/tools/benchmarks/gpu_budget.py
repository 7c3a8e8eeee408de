"""The time of the suite `gpu`, shared by its rows, and the rows left out."""

import time
from collections.abc import Callable
from typing import Any

OUT_OF_MEMORY = "out of memory"


class Budget:
    """Seconds until the suite must end.

    Attributes:
      left_out: lines that name the rows without time.
    """

    def __init__(self, seconds: float):
        """Starts now."""
        self._end = time.monotonic() + seconds
        self.left_out: list[str] = []

    def left(self) -> float:
        """Seconds that remain."""
        return self._end - time.monotonic()

    def share(self, part_of: float) -> "Budget":
        """A budget of this share of the remaining time, with the same list of left-out rows."""
        part = Budget(max(self.left(), 0.0) * part_of)
        part.left_out = self.left_out
        return part

    def allows(self, row: str, seconds: float = 0.0) -> bool:
        """Whether a row that takes `seconds` can start; if not, it is noted as left out."""
        if self.left() > seconds:
            return True
        self.left_out.append(row)
        return False


def seconds_each(call: Callable[[], Any], wait: Callable[[Any], Any], least: float) -> float:
    """Seconds per call, after two calls that are not counted.

    Args:
      call: starts one call; several may be in progress at once, as in training.
      wait: waits for the result of a call.
      least: minimum seconds to measure, over at least three calls.
    """
    for _ in range(2):
        wait(call())
    start, calls = time.perf_counter(), 0
    elapsed = 0.0
    while calls < 3 or elapsed < least:
        for _ in range(3):
            last = call()
        wait(last)
        calls += 3
        elapsed = time.perf_counter() - start
    return elapsed / calls


def out_of_memory(error: BaseException) -> bool:
    """Whether JAX or PyTorch reports that the device is out of memory."""
    text = f"{type(error).__name__} {error}"
    return any(word in text for word in ("RESOURCE_EXHAUSTED", "OutOfMemory", OUT_OF_MEMORY))
