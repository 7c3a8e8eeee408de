"""Progress of long loops: a bar on a terminal, otherwise a plain line a minute."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
# Seconds between two lines where standard error is no terminal.
LINE_S = 60.0


def progress(
    items: Iterable[Item], title: str, unit: str, total: int, announced: bool = False
) -> Iterator[Item]:
    """Yields the items and shows on standard error how many are done.

    Args:
      items: the items.
      title: of the loop.
      unit: name of an item.
      total: number of items.
      announced: whether a loop gets a line at its start too if there is no terminal; for one of
        many loops, each of which may take less than a minute.
    """
    if sys.stderr.isatty():
        yield from tqdm(items, title, total, unit=unit, mininterval=1.0)
        return
    if announced:
        print(f"{title}: {unit} 0 of {total}", file=sys.stderr, flush=True)
    last = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        if time.monotonic() - last >= LINE_S:
            print(f"{title}: {unit} {done} of {total}", file=sys.stderr, flush=True)
            last = time.monotonic()
