"""The result of pairing: the pairs, the rejected knees with their reasons, and the report."""

import dataclasses
import enum
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from xr2mri_jax.errors import printable
from xr2mri_jax.io.records import Knee, MriSeries, RadiographFile
from xr2mri_jax.io.tables import write_table

COLUMNS = (
    "subject",
    "side",
    "visit",
    "status",
    "reason",
    "detail",
    "kl",
    "radiograph_visit",
    "gap_months",
    "radiograph",
    "mri",
)


class Reason(enum.StrEnum):
    """The reason why a knee at a visit is in no pair."""

    NO_RADIOGRAPH = "no_radiograph"
    NO_MRI = "no_mri"
    NO_IMAGES = "no_images"
    SEQUENCE_MISSING = "sequence_missing"
    VISIT_TOO_FAR = "visit_too_far"
    VISIT_UNKNOWN = "visit_unknown"
    RADIOGRAPH_TAKEN = "radiograph_taken"
    MRI_TAKEN = "mri_taken"
    RADIOGRAPH_UNUSABLE = "radiograph_unusable"
    MRI_UNUSABLE = "mri_unusable"
    AMBIGUOUS = "ambiguous"
    # Found only when the pixels are read, after the pairing (`Pairing.with_failures`):
    RADIOGRAPH_BROKEN = "radiograph_broken"
    MRI_BROKEN = "mri_broken"
    SPACING_UNKNOWN = "spacing_unknown"
    SPACING_IMPOSSIBLE = "spacing_impossible"
    KNEE_NOT_FOUND = "knee_not_found"
    JOINT_NOT_FOUND = "joint_not_found"
    MRI_FIELD = "mri_field"
    NOT_REACHED = "not_reached"


REASON_TEXTS: Mapping[Reason, str] = {
    Reason.NO_RADIOGRAPH: "no radiograph of the knee",
    Reason.NO_MRI: "no MRI of the knee",
    Reason.NO_IMAGES: "in a table only, no images",
    Reason.SEQUENCE_MISSING: "MRI, but not of the sequence",
    Reason.VISIT_TOO_FAR: "nearest visit too far",
    Reason.VISIT_UNKNOWN: "visits cannot be compared",
    Reason.RADIOGRAPH_TAKEN: "radiograph is another visit's",
    Reason.MRI_TAKEN: "MRI is another visit's",
    Reason.RADIOGRAPH_UNUSABLE: "radiograph's file missing",
    Reason.MRI_UNUSABLE: "MRI's files missing",
    Reason.AMBIGUOUS: "several candidates",
    Reason.RADIOGRAPH_BROKEN: "radiograph cannot be read",
    Reason.MRI_BROKEN: "MRI cannot be read",
    Reason.SPACING_UNKNOWN: "radiograph without pixel spacing",
    Reason.SPACING_IMPOSSIBLE: "radiograph whose pixel spacing no knee can have",
    Reason.KNEE_NOT_FOUND: "knee not found in the radiograph",
    Reason.JOINT_NOT_FOUND: "joint not found in the MRI",
    Reason.MRI_FIELD: "MRI shows too little of the joint",
    Reason.NOT_REACHED: "the preparation ended before",
}


@dataclasses.dataclass(frozen=True)
class Pair:
    """One knee's radiograph and MRI; `visit` is the MRI's, `gap` months from the radiograph's.

    `kl` is the grade 0..4 at the radiograph's visit, None if there is none; `note` names the
    candidates that were not chosen, and the radiograph of the grade if it is another.
    """

    subject: str
    side: str
    visit: str
    radiograph: RadiographFile
    series: MriSeries
    kl: int | None
    gap: int
    note: str = ""

    @property
    def knee(self) -> Knee:
        return self.subject, self.side, self.visit

    @property
    def radiograph_knee(self) -> Knee:
        return self.subject, self.side, self.radiograph.visit


@dataclasses.dataclass(frozen=True)
class Rejection:
    """One knee at one visit that is in no pair."""

    subject: str
    side: str
    visit: str
    reason: Reason
    detail: str

    @property
    def knee(self) -> Knee:
        return self.subject, self.side, self.visit


@dataclasses.dataclass(frozen=True)
class Pairing:
    """All knees and visits of the source: each is in `paired`, or has one of `rejections`."""

    pairs: tuple[Pair, ...]
    rejections: tuple[Rejection, ...]
    sequence: str
    problems: tuple[str, ...] = ()
    ignored: Mapping[str, int] = dataclasses.field(default_factory=dict)

    @property
    def paired(self) -> frozenset[Knee]:
        """Knees and visits in a pair: with the MRI's visit, and with the radiograph's."""
        return frozenset(knee for pair in self.pairs for knee in (pair.knee, pair.radiograph_knee))

    @property
    def seen(self) -> frozenset[Knee]:
        """Every knee and visit of the source."""
        return self.paired | {rejection.knee for rejection in self.rejections}

    @property
    def subjects(self) -> tuple[str, ...]:
        """The subjects of the pairs, sorted."""
        return tuple(sorted({pair.subject for pair in self.pairs}))

    def with_failures(self, failures: Mapping[Knee, tuple[Reason, str]]) -> "Pairing":
        """The pairing with pairs that failed later turned into rejections.

        Args:
          failures: reason and detail by the pair's `knee`.

        Raises:
          KeyError: a knee that is in no pair.
        """
        by_knee = {pair.knee: pair for pair in self.pairs}
        rejections = list(self.rejections)
        kept = tuple(pair for pair in self.pairs if pair.knee not in failures)
        still = {knee for pair in kept for knee in (pair.knee, pair.radiograph_knee)}
        for knee, (reason, detail) in failures.items():
            lost = {knee, by_knee[knee].radiograph_knee} - still
            rejections.extend(Rejection(*each, reason, detail) for each in sorted(lost))
        unique = {rejection.knee: rejection for rejection in reversed(rejections)}
        ordered = tuple(sorted(unique.values(), key=lambda rejection: rejection.knee))
        return dataclasses.replace(self, pairs=kept, rejections=ordered)

    def with_doubts(self, doubts: Mapping[Knee, Sequence[str]]) -> "Pairing":
        """The pairing with doubts from reading added to the notes of its pairs.

        Args:
          doubts: clauses by the pair's `knee`.
        """
        pairs = tuple(
            dataclasses.replace(
                pair, note="; ".join(filter(None, (pair.note, *doubts.get(pair.knee, ()))))
            )
            for pair in self.pairs
        )
        return dataclasses.replace(self, pairs=pairs)

    def rows(self) -> Iterator[tuple[str, ...]]:
        """The report's rows under COLUMNS, sorted: one for every knee and visit of the source.

        A pair of two visits has a row for each; the row of the radiograph's visit names the MRI's.
        """
        rows: dict[Knee, tuple[str, ...]] = {}
        for pair in self.pairs:
            values = self._values(pair)
            if pair.radiograph_knee != pair.knee:
                detail = f"radiograph for the MRI of {pair.visit}"
                rows[pair.radiograph_knee] = (*pair.radiograph_knee, "paired", "", detail, *values)
        for pair in self.pairs:
            rows[pair.knee] = (*pair.knee, "paired", "", pair.note, *self._values(pair))
        for each in self.rejections:
            row = (*each.knee, "rejected", str(each.reason), each.detail)
            rows[each.knee] = (*row, *[""] * (len(COLUMNS) - len(row)))
        for knee in sorted(rows):
            yield rows[knee]

    def write_csv(self, path: str | os.PathLike[str]) -> None:
        """Writes the report, atomically."""
        write_table(Path(path), COLUMNS, self.rows())

    def summary(self) -> str:
        """The report for the screen: counts, with those of rejected knees by reason."""
        paired = len(self.paired)
        graded = sum(pair.kl is not None for pair in self.pairs)
        lines = [
            f"{len(self.pairs)} pairs of radiograph and {self.sequence} MRI from "
            f"{len(self.subjects)} subjects, {graded} with a Kellgren-Lawrence grade",
            f"{paired + len(self.rejections)} knees and visits seen: {paired} in pairs, "
            f"{len(self.rejections)} rejected",
        ]
        for reason, count in Counter(each.reason for each in self.rejections).most_common():
            lines.append(f"  {count:7d}  {reason:<20} {REASON_TEXTS[reason]}")
        noted = sum(bool(pair.note) for pair in self.pairs)
        if noted:
            lines.append(
                f"{noted} pairs have notes on other candidates, grades or subjects "
                "(see their detail)"
            )
        if self.ignored:
            total = sum(self.ignored.values())
            lines.append(f"{total} series show no knee or no side and were left out:")
            kinds = sorted(self.ignored.items(), key=lambda item: (-item[1], item[0]))
            lines += [f"  {count:7d}  {description}" for description, count in kinds[:10]]
            if len(kinds) > 10:
                rest = sum(count for _, count in kinds[10:])
                lines.append(f"  {rest:7d}  of {len(kinds) - 10} other descriptions")
        if self.problems:
            lines.append(f"{len(self.problems)} notes on the tables:")
            lines += [f"  {problem}" for problem in self.problems[:10]]
            if len(self.problems) > 10:
                lines.append(f"  and {len(self.problems) - 10} more")
        return "\n".join(map(printable, lines))

    @staticmethod
    def _values(pair: Pair) -> tuple[str, ...]:
        kl = "" if pair.kl is None else str(pair.kl)
        files = str(pair.radiograph.path), str(pair.series.path)
        return kl, pair.radiograph.visit, str(pair.gap), *files
