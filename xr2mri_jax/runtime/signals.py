"""SIGTERM and SIGINT as a wish: the loop finishes its step, saves and leaves."""

import signal
from types import FrameType
from typing import Any


class StopRequest:
    """While it is entered, the first signal is remembered; a second SIGINT interrupts at once.

    Attributes:
      number: of the signal that came, None if none did.
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
