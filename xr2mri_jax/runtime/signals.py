"""SIGTERM and SIGINT as stop requests: the training loop finishes its step, saves and ends."""

import signal
from types import FrameType
from typing import Any


class StopRequest:
    """Context manager that stores the first signal; a second SIGINT interrupts immediately.

    Attributes:
      number: number of the received signal, None if there was none.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "StopRequest":
        for number in (signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, self._remember)
        return self

    def __exit__(self, *_: Any) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if self.number is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.number = number
