"""The outcome of each source item of a dataset: an example, or the reason for none."""

import dataclasses
import os
import resource
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xr2mri_jax.errors import InputError, printable
from xr2mri_jax.io.tables import write_table

# Maximum number of unusable items on the screen; the report has all of them.
SHOWN = 20
# The report's columns; the reason is empty for an item that is used.
COLUMNS = ("key", "status", "reason", "detail")


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The example of one item with its key, or the reason why there is none.

    Attributes:
      key: unique in the dataset.
      example: features by name, None if the item cannot be used.
      reason, detail: why it cannot be used: a word for counting, and a line with file and cause.
      cost: seconds by kind of work, for the benchmark.
      worker: process and its peak memory in bytes.
      doubts: decisions and oddities of an item that is used, one clause each.
    """

    key: str
    example: Mapping[str, Any] | None = None
    reason: str = ""
    detail: str = ""
    cost: Mapping[str, float] = dataclasses.field(default_factory=dict)
    worker: tuple[int, int] = (0, 0)
    doubts: tuple[str, ...] = ()


def this_worker() -> tuple[int, int]:
    """(process id, peak memory of the process in bytes).

    On Linux from /proc, because getrusage includes the parent's memory at the start of the process.
    """
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return os.getpid(), int(line.split()[1]) * 1024
    except OSError:  # no /proc: another system
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return os.getpid(), peak if sys.platform == "darwin" else peak * 1024


class Tally:
    """Counts the items of a preparation, and stops it if too many of them are unusable.

    Attributes:
      usable: keys of the examples; unusable: the outcomes without one, in order of arrival.
      doubts: by key, for examples that have any.
      costs: seconds by kind of work over all items; workers: peak memory in bytes by process.
    """

    def __init__(self, total: int, max_broken: float, what: str) -> None:
        """Starts counting.

        Args:
          total: number of items, 1 or more.
          max_broken: maximum fraction of unusable items tolerated, 0..1.
          what: name of the items in messages, in the plural.
        """
        self.total = total
        self.max_broken = checked_share(max_broken)
        self.what = what
        self.usable: set[str] = set()
        self.unusable: list[Outcome] = []
        self.doubts: dict[str, tuple[str, ...]] = {}
        self.costs: defaultdict[str, float] = defaultdict(float)
        self.workers: dict[int, int] = {}

    def add(self, outcome: Outcome) -> None:
        """Counts an outcome."""
        for kind, seconds in outcome.cost.items():
            self.costs[kind] += seconds
        process, peak = outcome.worker
        if process:
            self.workers[process] = max(peak, self.workers.get(process, 0))
        if outcome.example is not None:
            self.usable.add(outcome.key)
            if outcome.doubts:
                self.doubts[outcome.key] = tuple(outcome.doubts)
            return
        self.unusable.append(outcome)

    def check(self) -> None:
        """Raises InputError if the fraction of unusable items exceeds `max_broken`."""
        if len(self.unusable) > self.max_broken * self.total:
            first = self.unusable[0]
            raise InputError(
                f"found {len(self.unusable)} of {self.total} {self.what} unusable, expected at "
                f"most {self.max_broken:.1%} (--max_broken); the first: {first.key}: {first.detail}"
            )

    def summary(self) -> str:
        """The unusable items and the doubts for the screen, "" if there are none."""
        lines = []
        for found, what in (
            ([(each.key, each.detail) for each in self.unusable], "could not be used"),
            ([(key, "; ".join(said)) for key, said in self.doubts.items()], "are used with doubts"),
        ):
            if found:
                lines.append(f"{len(found)} of {self.total} {self.what} {what}:")
                lines += [f"  {key}: {detail}" for key, detail in found[:SHOWN]]
            if len(found) > SHOWN:
                lines.append(f"  and {len(found) - SHOWN} more, see the report")
        return "\n".join(map(printable, lines))

    def rows(self) -> list[tuple[str, str, str, str]]:
        """The report's rows under COLUMNS: the unusable items, then those used with doubts."""
        unusable = [(each.key, "unusable", each.reason, each.detail) for each in self.unusable]
        return unusable + [(key, "used", "", "; ".join(said)) for key, said in self.doubts.items()]

    def write_csv(self, path: Path) -> None:
        """Writes the report, atomically."""
        write_table(path, COLUMNS, self.rows())


def checked_share(value: float) -> float:
    """Returns `value`; raises InputError unless it is a number in 0..1."""
    if not 0 <= value <= 1:
        raise InputError(f"--max_broken: found {value}, expected a fraction 0..1 such as 0.01")
    return float(value)


def require_some(split: str, examples: int, items: Sequence[Any]) -> None:
    """Raises InputError if a split would be empty because all of its items are unusable."""
    if not examples:
        raise InputError(
            f"split {split!r}: all of its {len(items)} items are unusable, expected some"
        )
