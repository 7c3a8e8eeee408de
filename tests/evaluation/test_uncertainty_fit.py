"""Intervals fitted on made knees hold what is true of others as often as they promise."""

import dataclasses

import numpy as np
import pytest

from xr2mri_jax.errors import InputError
from xr2mri_jax.evaluation.uncertainty import fit, measure, report
from xr2mri_jax.inference.uncertainty.model import FittedSplit
from xr2mri_jax.phantom.surfaces import NAMES
from xr2mri_jax.phantom.tissues import CODES

SHAPE = (8, 24, 24)


def knee(rng, with_surfaces=False):
    """A bone, dark and sure, and a thin bright cartilage that the prediction often misses."""
    labels = np.full(SHAPE, CODES["muscle"], np.uint8)
    labels[:, :12] = CODES["femur"]
    shift = int(rng.integers(0, 3))
    labels[:, 11 + shift : 13 + shift] = CODES["femoral_cartilage"]
    true = np.where(labels == CODES["femur"], 0.1, 0.3)
    true[labels == CODES["femoral_cartilage"]] = 0.6
    predicted = np.full(SHAPE, 0.3)
    predicted[:, :12], predicted[:, 11:15] = 0.1, 0.4
    noise = np.where(np.arange(24) < 12, 0.01, 0.05) * rng.normal(size=SHAPE)
    true = np.clip(true + noise, 0, 1).astype(np.float32)
    mask = np.ones(SHAPE, bool)
    mask[0] = False
    found = distances = None
    if with_surfaces:
        row = (np.arange(16) + 0.5)[None, :, None] * 8 - 61
        found = np.broadcast_to(np.clip(row, -7.5, 7.5), (len(NAMES), 8, 16, 16))
        moved = np.clip(row + rng.normal(0, 1.0), -7.5, 7.5)
        distances = np.broadcast_to(moved, found.shape).astype(np.float32)
        found = found.astype(np.float32)
        # Of the bones only the femur is there, without cartilage.
        found[2:] = distances[2:] = 7.5
    return fit.Knee(predicted.astype(np.float32), true, mask, labels, found, distances)


def covered(made, knees):
    seen = measure.Coverage(made)
    for one in knees:
        seen.add(one)
    return seen.summary([str(i) for i in range(len(knees))], 0)


def test_every_structure_is_held_as_often_as_promised():
    rng = np.random.default_rng(0)
    made = fit.fit(iter([knee(rng) for _ in range(20)]))
    found = covered(made, [knee(rng) for _ in range(20)])
    for name in ("bone", "cartilage", "muscle", "whole field"):
        share = found["intensity"][name]["coverage"]["mean"]
        assert 0.85 < share < 0.96, (name, share)
    # What is less sure is given a wider interval.
    widths = {name: one["half_width"] for name, one in found["intensity"].items()}
    assert widths["bone"] < widths["muscle"] < widths["cartilage"]
    assert found["surface"] == {} and found["quantity"] == {} and found["labels"] == {}
    assert "bone" in report.findings(found)[0] and len(report.parts(found)) == 3
    terms = dict(report.parts(found)[-1].terms)
    assert set(terms) == {"level", "intensity"} and terms["level"] == "90%"


def test_surfaces_are_held_and_probabilities_right():
    rng = np.random.default_rng(1)
    # At least so many knees, since all points of one are off alike.
    made = fit.fit(iter([knee(rng, with_surfaces=True) for _ in range(30)]))
    assert made.surfaces.half_width[0].mean() == pytest.approx(1.64, abs=0.35)
    found = covered(made, [knee(rng, with_surfaces=True) for _ in range(20)])
    assert 0.8 < found["surface"]["femur"]["coverage"]["mean"] < 0.97
    off = {name: one["calibration_error"] for name, one in found["labels"].items()}
    # Where there is only one bone, the background is as sure as the bone.
    assert off["bone"] < 0.15 and off["background"] == pytest.approx(off["bone"], abs=1e-3)
    assert len(report.parts(found)) == 1 + 2 + 1 + 1 + len(found["labels"])
    terms = dict(report.parts(found)[-1].terms)
    assert set(terms) == {"level", *(kind for kind in measure.CONVENTION if found.get(kind))}
    assert report.parts(None) == report.findings(None) == []


def test_the_report_says_on_which_knees_the_intervals_were_fitted_and_tested():
    rng = np.random.default_rng(0)
    made = fit.fit(iter([knee(rng) for _ in range(3)]))
    seen = measure.Coverage(made)
    seen.add(knee(rng))
    subjects = [str(i) for i in range(90)]
    said = report.findings(seen.summary(subjects, 0))[-1]
    assert said == (
        "The intervals were fitted on 3 knees of an unknown split; their coverage was measured on "
        "1 of 90 knees of the evaluated split."
    )
    split = FittedSplit("knee_phantom/made", "validation")
    seen = measure.Coverage(dataclasses.replace(made, fitted=split))
    seen.add(knee(rng))
    found = seen.summary(subjects, 0)
    assert found["fitted_split"] == {"dataset": "knee_phantom/made", "split": "validation"}
    assert "on 3 knees of knee_phantom/made, split validation;" in report.parts(found)[0].text


def test_coverage_on_the_split_of_the_fit_is_doubted():
    rng = np.random.default_rng(0)
    unknown = fit.fit(iter([knee(rng)]))
    made = dataclasses.replace(unknown, fitted=FittedSplit("knees/made", "validation[:50%]"))
    (same,) = measure.doubts(made, "knees/made", "validation[:50%]")
    assert same.endswith("their coverage is in-sample")
    (part,) = measure.doubts(made, "knees/made", "validation")
    assert part.endswith("their coverage may be in-sample")
    assert measure.doubts(made, "knees/made", "test") == []
    assert measure.doubts(made, "others/made", "validation") == []
    assert measure.doubts(unknown, "knees/made", "validation") == []


def test_without_knees_nothing_is_fitted():
    with pytest.raises(InputError, match="found no held-out knee"):
        fit.fit(iter([]))
