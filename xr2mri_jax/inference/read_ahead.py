"""Reads files on several threads, ahead of the code that uses them."""

import collections
import concurrent.futures
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import Radiograph
from xr2mri_jax.io import read_radiograph
from xr2mri_jax.runtime import processor

Item = TypeVar("Item")
Result = TypeVar("Result")

MOST_WORKERS = 8
# Decoders change the process's warning filters while they run, so they run one at a time.
_DECODING = threading.Lock()


def workers() -> int:
    """The number of reading threads: at least two, so that one can compile meanwhile."""
    return min(max(processor.cores(), 2), MOST_WORKERS)


def decode_radiograph(path: Path) -> Radiograph:
    """`read_radiograph`, called by one thread at a time."""
    with _DECODING:
        return read_radiograph(path)


def error_reason(path: Path, error: Exception) -> str:
    """The reason why a file cannot be used, on one line, without its path."""
    text = " ".join(str(error).replace(f"{path}: ", "").split())
    return text if isinstance(error, InputError) else f"{type(error).__name__}: {text}"


def map_ahead(
    pool: concurrent.futures.Executor,
    work: Callable[[Item], Result],
    items: Iterable[Item],
    window: int,
) -> Iterator[Result]:
    """Yields `work` of every item in order, while up to `window` later items are in progress."""
    pending: collections.deque[concurrent.futures.Future[Result]] = collections.deque()
    try:
        for item in items:
            pending.append(pool.submit(work, item))
            if len(pending) > window:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()
