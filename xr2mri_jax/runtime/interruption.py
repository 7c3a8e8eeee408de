"""Handles SIGTERM and SIGINT from the start of a command: one line, exit code 143 or 130.

After `arm` a signal ends the process immediately, because no work has started. In `unwinding` it
raises an exception, so that temporary files are removed. The process ends at a second signal, or
GRACE seconds later at the latest, for example during a compilation in another thread.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from importlib.machinery import ExtensionFileLoader
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)
GRACE = 5.0
# Seconds after which a signal received during the import of a compiled module is sent again.
AGAIN = 0.05
# The received signal, and the signal already reported.
_received: list[int] = []
_reported: list[int] = []


class Interrupted(KeyboardInterrupt):
    """Raised when a signal requests the process to end.

    Attributes:
      number: number of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.number = number


def arm() -> None:
    """From now on a signal ends the process immediately."""
    _handle(_end)


def interrupt(number: int, frame: FrameType | None) -> None:
    """A handler that raises `Interrupted`."""
    del frame
    raise Interrupted(number)


@contextlib.contextmanager
def unwinding() -> Iterator[None]:
    """In this context, a signal raises `Interrupted` in the main thread.

    It is raised at the end of the context if the signal arrived where exceptions are ignored, such
    as in a destructor.
    """
    hook = sys.unraisablehook
    sys.unraisablehook = lambda failure: failure.exc_type is Interrupted or hook(failure)
    _handle(_unwind)
    try:
        yield
    finally:
        _handle(_end)
        sys.unraisablehook = hook
        if _received:
            raise Interrupted(_received[0])


def leave(number: int) -> None:
    """Ends the process like `end`, but with the interpreter's regular cleanup."""
    _report(number)
    sys.exit(128 + number)


def _report(number: int) -> None:
    """Writes the message once."""
    if not _is_worker() and not _reported:  # workers do not repeat the message
        _reported.append(number)
        with contextlib.suppress(OSError):
            os.write(2, f"error: stopped by {signal.Signals(number).name}\n".encode())


def end(number: int) -> None:
    """Reports the signal and ends the process immediately with exit code 128 + its number."""
    _report(number)
    os._exit(128 + number)


def _unwind(number: int, frame: FrameType | None) -> None:
    if _is_in_compiled_import(frame):  # an exception there would crash, for example in jaxlib
        again = threading.Timer(AGAIN, os.kill, (os.getpid(), number))
        again.daemon = True
        again.start()
        return
    _handle(_end)
    _received.append(number)
    timer = threading.Timer(GRACE, end, (number,))
    timer.daemon = True
    timer.start()
    interrupt(number, frame)


def _is_in_compiled_import(frame: FrameType | None) -> bool:
    """Whether the frame or one of its callers imports a compiled module."""
    while frame is not None:
        if isinstance(frame.f_locals.get("self"), ExtensionFileLoader):
            return True
        frame = frame.f_back
    return False


def _end(number: int, frame: FrameType | None) -> None:
    del frame
    end(number)


def _is_worker() -> bool:
    """Whether multiprocessing started this process; does not import it, which takes time."""
    module = sys.modules.get("multiprocessing.process")
    return module is not None and module.parent_process() is not None


def _handle(handler: object) -> None:
    """Installs a handler, except for signals that are ignored (for example by nohup)."""
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, handler)  # type: ignore[arg-type]
