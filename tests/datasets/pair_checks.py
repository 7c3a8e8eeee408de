"""What must hold for a prepared dataset of pairs that was made from a made collection."""

import csv
import itertools
import json
from pathlib import Path

import numpy as np
from made_knees import MadeKnees
from made_subjects import PAIRED, MadeSubject

from xr2mri_jax.datasets.outcomes import Outcome
from xr2mri_jax.geometry import (
    SIDES,
    Radiograph,
    from_canonical,
    resample_radiograph,
    to_canonical,
)
from xr2mri_jax.phantom.bilateral import BilateralRadiograph
from xr2mri_jax.tools.benchmarks.phantom_files import CENTRES


def report_of(builder) -> dict[tuple[str, str, str], dict[str, str]]:
    with open(builder.data_path / "report.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    found = {(row["subject"], row["side"], row["visit"]): row for row in rows}
    assert len(found) == len(rows)
    return found


def examples_of(builder) -> dict[tuple[str, str], dict]:
    found = {}
    for split in builder.info.splits:
        for example in builder.as_data_source(split):
            knee = example["subject"].decode(), SIDES[int(example["side"])]
            assert knee not in found
            found[knee] = {**example, "split": split, "record": json.loads(example["record"])}
    return found


def check_everybody(builder, expected: tuple[MadeSubject, ...]) -> dict:
    """Every knee and visit is paired, or rejected for the right reason; none more, none less."""
    wanted = {
        (subject.name, side, visit): outcome
        for subject in expected
        for (side, visit), outcome in subject.expected.items()
    }
    outcomes = {
        knee: PAIRED if row["status"] == PAIRED else row["reason"]
        for knee, row in report_of(builder).items()
    }
    found = {knee: (outcomes.get(knee), wanted.get(knee)) for knee in outcomes | wanted}
    assert outcomes == wanted, {knee: both for knee, both in found.items() if both[0] != both[1]}
    assert len({knee[:2] for knee in wanted}) >= 40
    examples = examples_of(builder)
    assert set(examples) == {knee[:2] for knee, outcome in wanted.items() if outcome == PAIRED}
    by_name = {subject.name: subject for subject in expected}
    homes: dict[str, str] = {}
    for (name, side), example in examples.items():
        assert int(example["kl"]) == by_name[name].kl.get(side, -1)
        assert homes.setdefault(name, example["split"]) == example["split"]
    stored = json.loads((builder.data_path / "splits.json").read_text())
    kept = {name: home for home, names in stored["subjects"].items() for name in names}
    assert kept.items() >= homes.items()
    return examples


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.corrcoef(first.ravel(), second.ravel())[0, 1])


def check_places(
    knees: MadeKnees, examples: dict, expected: tuple[MadeSubject, ...], tolerance_mm: float
) -> None:
    """Radiograph and MRI show the phantom's knee at the place that their records name."""
    by_name = {subject.name: subject.knees for subject in expected}
    for (name, side), example in examples.items():
        case = knees.cases[by_name[name], side]
        film, scan = example["record"]["radiograph"], example["record"]["mri"]
        truth = knees.films[by_name[name]]
        off = np.subtract(film["centre_px"], truth.places[side].centre_px) * truth.spacing
        assert np.linalg.norm(off) <= tolerance_mm, (name, side, off)
        check_radiograph(example, case, truth, side)
        check_volume(example, case, side)
        assert Path(film["file"]).exists() and Path(scan["file"]).exists()


def check_radiograph(example: dict, case: dict, truth: BilateralRadiograph, side: str) -> None:
    """The stored radiograph is the phantom's canonical one, moved to the recorded centre."""
    record = example["record"]["radiograph"]
    moved = np.subtract(record["centre_px"], truth.box_centres[side]) * truth.spacing
    moved[1] *= -1 if side == "left" else 1
    canonical = Radiograph(case["xray"][..., 0], (1.0, 1.0), "right")
    wanted, inside = resample_radiograph(canonical, 63.5 + moved, example["xray"].shape[:2])
    # A film is turned by some degrees and magnified: it fits near the middle.
    middle = (slice(8, 24), slice(8, 24))
    assert inside[middle].all()
    found = {
        shift: correlation(np.roll(example["xray"][..., 0], shift, (0, 1))[middle], wanted[middle])
        for shift in itertools.product((-1, 0, 1), repeat=2)
    }
    assert max(found, key=found.__getitem__) == (0, 0)
    assert found[0, 0] > 0.85


def check_volume(example: dict, case: dict, side: str) -> None:
    """The stored MRI is the phantom's canonical one, moved to the recorded centre."""
    centre = example["record"]["mri"]["centre_mm"]
    assert np.linalg.norm(np.subtract(centre, CENTRES[side])) < 15
    source = from_canonical(case["mri"][..., 0], side, CENTRES[side])
    wanted, _ = to_canonical(source, side, centre, example["mri"].shape[:3])
    middle = (slice(4, 12), slice(8, 24), slice(8, 24))
    assert example["mask"][..., 0][middle].all()
    found = {
        shift: correlation(
            np.roll(example["mri"][..., 0], shift, (0, 1, 2))[middle], wanted[middle]
        )
        for shift in itertools.product((-1, 0, 1), repeat=3)
    }
    assert max(found, key=found.__getitem__) == (0, 0, 0)
    assert found[0, 0, 0] > 0.95


def check_equal(found: dict, outcome: Outcome) -> None:
    """A stored example is what the work makes of its files in this process."""
    assert outcome.example is not None
    for name, value in outcome.example.items():
        if name == "record":
            assert found[name] == json.loads(value)
        elif isinstance(value, str):
            assert found[name].decode() == value
        else:
            np.testing.assert_array_equal(found[name], value)
