"""Records of file collections: radiographs, MRI series and grades.

Records are joined by the text of their visit. Each therefore stores its visit as `visit_code`.
"""

import dataclasses
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from xr2mri_jax.geometry import SIDES

# Months after enrolment by visit code. The visits with images are V00, V01, V03, V05, V06, V08 and
# V10; V02 and V04 are interim visits of a part of the cohort, V07, V09 and V11 telephone contacts.
VISIT_MONTHS = {
    "V00": 0,
    "V01": 12,
    "V02": 18,
    "V03": 24,
    "V04": 30,
    "V05": 36,
    "V06": 48,
    "V07": 60,
    "V08": 72,
    "V09": 84,
    "V10": 96,
    "V11": 108,
}
_CODES = {months: code for code, months in VISIT_MONTHS.items()}
_MONTHS = re.compile(r"(\d{1,3})\s*(?:m|mo|month|months)?", re.IGNORECASE)

Knee = tuple[str, str, str]  # subject, side, visit


@dataclasses.dataclass(frozen=True, slots=True)
class RadiographFile:
    """One radiograph: `side` is "left" or "right", or None if the image shows both knees.

    `problem` is empty, or the reason why the file cannot be used (such a file still counts).
    `barcode` is text because leading zeros belong to it. `spacing` is the pixel size in mm from
    the collection's table, None if only the file may give it.
    """

    subject: str
    visit: str
    path: Path
    side: str | None = None
    description: str = ""
    barcode: str = ""
    date: str = ""
    problem: str = ""
    spacing: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "visit", visit_code(self.visit))
        if self.side is not None:
            _check_side(self.side)


@dataclasses.dataclass(frozen=True, slots=True)
class MriSeries:
    """One MRI series of one knee: a folder of slices, a volume file, or an archive of slices.

    `sequence` is a name of `names.SEQUENCES`, "other" for another series of the knee, or None if
    the source does not state it (its word is taken then). `exact`: the name is that of the OAI
    protocol. `files` is the number of slices if known.
    """

    subject: str
    visit: str
    side: str
    path: Path
    sequence: str | None = None
    exact: bool = False
    description: str = ""
    barcode: str = ""
    date: str = ""
    files: int | None = None
    problem: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "visit", visit_code(self.visit))
        _check_side(self.side)


@dataclasses.dataclass(frozen=True, slots=True)
class Grade:
    """One knee's Kellgren-Lawrence grade at one visit: `kl` 0..4, or None if missing.

    `project` is the reading project (READPRJ), `raw` the text of the table's cell.
    """

    subject: str
    side: str
    visit: str
    kl: int | None
    project: str = ""
    barcode: str = ""
    raw: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "visit", visit_code(self.visit))
        _check_side(self.side)
        if self.kl is not None and self.kl not in range(5):
            raise ValueError(f"kl is {self.kl}, expected 0..4 or None")

    @property
    def knee(self) -> Knee:
        return self.subject, self.side, self.visit


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """Everything that one collection of files lists.

    `problems` are lines about findings that were not usable or needed a decision; `ignored` counts
    the series that show no knee (hands, hips, thighs, ...) by their description.
    """

    radiographs: tuple[RadiographFile, ...] = ()
    series: tuple[MriSeries, ...] = ()
    grades: tuple[Grade, ...] = ()
    problems: tuple[str, ...] = ()
    ignored: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def __add__(self, other: "Source") -> "Source":
        """Both collections together; records are not compared."""
        return Source(
            self.radiographs + other.radiographs,
            self.series + other.series,
            self.grades + other.grades,
            self.problems + other.problems,
            dict(Counter(self.ignored) + Counter(other.ignored)),
        )


def visit_months(visit: str) -> int | None:
    """Months after enrolment for a visit code ("V03") or a number ("24", "24m"), else None."""
    if visit.upper() in VISIT_MONTHS:
        return VISIT_MONTHS[visit.upper()]
    match = _MONTHS.fullmatch(visit)
    return int(match[1]) if match else None


def visit_code(visit: str) -> str:
    """One spelling of a visit: "V03" for v03, 24 and 24m, "6m" for 6; other names as they are."""
    months = visit_months(visit)
    return visit if months is None else _CODES.get(months, f"{months}m")


def visit_gap(first: str, second: str) -> int | None:
    """Months between two visits (0 for equal names), None if they cannot be compared."""
    if first == second:
        return 0
    months = visit_months(first), visit_months(second)
    if months[0] is None or months[1] is None:
        return None
    return abs(months[0] - months[1])


def _check_side(side: str) -> None:
    if side not in SIDES:
        raise ValueError(f"side is {side!r}, expected one of {SIDES}")
