"""The subjects of a made collection: what each has on the disk, and what must become of it."""

import dataclasses
from collections.abc import Mapping

PAIRED = "paired"


@dataclasses.dataclass(frozen=True)
class MadeSubject:
    """One subject.

    Attributes:
      name: participant's ID.
      knees: number of the phantom subject whose files these are.
      film: (kind, visit) of the bilateral radiograph, None without one.
      mri: by side, (kind, visit) of the series; kinds beside those of `made_knees`: "other" for one
        of another sequence, "absent" for one that is listed and not there, "twice" for a truncated
        one that was repeated.
      grades: by side, the rows (reading project, cell) of the KL table at the film's visit.
      expected: by (side, visit), PAIRED or the reason of the rejection.
      kl: by side, the grade that a pair must have, -1 without.
    """

    name: str
    knees: int
    film: tuple[str, str] | None
    mri: Mapping[str, tuple[str, str]]
    expected: Mapping[tuple[str, str], str]
    grades: Mapping[str, tuple[tuple[int, str], ...]] = dataclasses.field(default_factory=dict)
    kl: Mapping[str, int] = dataclasses.field(default_factory=dict)


def _both(kind: str = "dess", visit: str = "V00") -> dict[str, tuple[str, str]]:
    return {"right": (kind, visit), "left": (kind, visit)}


def _all(outcome: str, visit: str = "V00") -> dict[tuple[str, str], str]:
    return {("right", visit): outcome, ("left", visit): outcome}


def _good(name: str, knees: int, film: str = "plain", **more: object) -> MadeSubject:
    return MadeSubject(name, knees, (film, "V00"), _both(), _all(PAIRED), **more)  # type: ignore


def subjects() -> tuple[MadeSubject, ...]:
    """22 subjects, 44 knees; at one subject of its own each quirk that the files can have."""
    plain = ("plain", "V00")
    graded = {"right": ((15, "2: 2"),), "left": ((15, "0: 0"),)}
    return (
        # Graded in the SAS table: 2 and 0, and 3 (by project 42) and missing.
        _good("0000099", 0, kl={"right": 2, "left": 0}),
        _good("9000100", 1, "inverted", kl={"right": 3, "left": -1}),
        _good("9000103", 0, "inverted", grades=graded, kl={"right": 2, "left": 0}),
        # Project 15 before 37 before 42; a missing code gives way to the next.
        _good(
            "9000104",
            1,
            grades={
                "right": ((42, "4"), (37, "3"), (15, "1")),
                "left": ((42, "4"), (15, ".A"), (37, "2.0")),
            },
            kl={"right": 1, "left": 2},
        ),
        # Grades that are missing reject nobody.
        _good(
            "9000105",
            0,
            grades={"right": ((15, ".: Missing Form"),), "left": ()},
            kl={"right": -1, "left": -1},
        ),
        MadeSubject(
            "9000106",
            0,
            plain,
            {"right": ("dess", "V00")},
            {("right", "V00"): PAIRED, ("left", "V00"): "no_mri"},
        ),
        MadeSubject("9000107", 0, None, _both(), _all("no_radiograph")),
        MadeSubject(
            "9000108",
            0,
            plain,
            {"right": ("dess", "V00"), "left": ("other", "V00")},
            {("right", "V00"): PAIRED, ("left", "V00"): "sequence_missing"},
        ),
        MadeSubject("9000109", 0, ("no_spacing", "V00"), _both(), _all("spacing_unknown")),
        MadeSubject("9000110", 1, ("broken", "V00"), _both(), _all("radiograph_broken")),
        MadeSubject("9000111", 1, ("blank", "V00"), _both(), _all("knee_not_found")),
        MadeSubject(
            "9000112",
            1,
            plain,
            {"right": ("corrupt", "V00"), "left": ("dess", "V00")},
            {("right", "V00"): "mri_broken", ("left", "V00"): PAIRED},
        ),
        MadeSubject(
            "9000113",
            1,
            plain,
            {"right": ("gap", "V00"), "left": ("truncated", "V00")},
            {("right", "V00"): "mri_broken", ("left", "V00"): "joint_not_found"},
        ),
        MadeSubject(
            "9000114",
            1,
            plain,
            {"right": ("dess", "V00"), "left": ("twice", "V00")},
            _all(PAIRED),
        ),
        MadeSubject(
            "9000115", 0, plain, {"right": ("odd", "V00"), "left": ("rows352", "V00")}, _all(PAIRED)
        ),
        # Two years apart: too far; one year: within the tolerance of the tests.
        MadeSubject(
            "9000116",
            0,
            plain,
            _both(visit="V03"),
            _all("visit_too_far") | _all("visit_too_far", "V03"),
        ),
        MadeSubject(
            "9000117",
            1,
            ("plain", "V01"),
            _both(),
            _all(PAIRED) | _all(PAIRED, "V01"),
            grades={"right": ((15, "3"),), "left": ((15, "4"),)},
            kl={"right": 3, "left": 4},
        ),
        MadeSubject(
            "9000118",
            1,
            plain,
            {"right": ("dess", "V00"), "left": ("absent", "V00")},
            {("right", "V00"): PAIRED, ("left", "V00"): "mri_unusable"},
        ),
        MadeSubject("9000119", 0, None, {}, _all("no_images"), grades=graded),
        MadeSubject("9000120", 0, plain, {}, _all("no_mri")),
        MadeSubject("9000121", 0, None, {}, _all("no_images"), grades=graded),
        MadeSubject("9000122", 1, plain, {}, _all("no_mri")),
    )
