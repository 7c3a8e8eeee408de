"""Tests of the Dice of label maps: by hand, and with a model that is right or a little off."""

import numpy as np
import pytest

from xr2mri_jax.evaluation import label_maps
from xr2mri_jax.phantom import surfaces
from xr2mri_jax.phantom.tissues import CODES
from xr2mri_jax.presentation import report

SHAPE, COARSE = (16, 32, 32), (8, 8, 8)


def ball(radius):
    """Signed distances of a ball of femur with 2 voxels of cartilage, f32[k, *COARSE]."""
    axes = [np.arange(n) * 32 / n + 16 / n for n in COARSE]
    d, h, w = np.meshgrid(*axes, indexing="ij")
    distance = np.sqrt((d - 16) ** 2 + (h - 16) ** 2 + (w - 16) ** 2) - radius
    fields = dict.fromkeys(surfaces.NAMES, np.full(COARSE, 7.5))
    fields |= {"femur": distance, "femoral_outer": distance - 2}
    return np.stack(list(fields.values())).astype(np.float32)


def test_dice_by_hand():
    true, found = np.zeros((2, 1, 2, 4), np.uint8)
    true[0, 0] = CODES["femur"]
    found[0, 0, :3] = CODES["femur"]
    found[0, 1, 0] = CODES["femur"]
    true[0, 1, 1:3] = CODES["medial_tibial_cartilage"]
    found[0, 1, 1:3] = CODES["lateral_tibial_cartilage"]
    values = label_maps.dice_by_part(found, true)
    assert values["femur"] == pytest.approx(2 * 3 / 8)
    assert values["tibial_cartilage"] == 1.0  # both plates together
    assert np.isnan(values["patella"])


def test_a_right_model_beats_its_controls():
    radii = [9.0, 11.0, 10.0]
    maps = [surfaces.labels(surfaces.resized(ball(r), SHAPE, order=3)) for r in radii]
    # The radiograph's grey level tells the radius.
    xrays = np.array(radii, np.float32).reshape(3, 1, 1, 1)
    found = label_maps.evaluate(
        lambda xray: ball(float(xray[0, 0, 0, 0])),
        lambda i: maps[i],
        xrays,
        [1, 2, 0],
        ball(10.0),
        ["a", "b", "c"],
    )
    assert found["n"] == 3 and set(found["model"]) == {"femur", "femoral_cartilage"}
    assert found["model"]["femur"]["mean"] == found["model"]["femoral_cartilage"]["mean"] == 1.0
    middle = label_maps.dice_by_part(maps[2], maps[0])["femur"]
    others = [middle, label_maps.dice_by_part(maps[2], maps[1])["femur"], 1.0]
    assert found["mean_shape"]["femur"]["mean"] == pytest.approx(np.mean(others))
    assert found["shuffled_xray"]["femoral_cartilage"]["mean"] < 0.9
    text = report._label_maps(found)
    assert text.startswith("Dice of the label maps: femur 1.000 (mean shape 0.")
    without = label_maps.evaluate(
        lambda xray: ball(10.0), lambda i: maps[i], xrays, [1, 2, 0], None, ["a", "b", "c"]
    )
    assert "mean_shape" not in without and without["model"]["femur"]["mean"] < 1


def test_mean_distances_of_a_split():
    stored = [surfaces.stored(ball(r)) for r in (9.0, 11.0)]
    source = {"train": [{"distances": d} for d in stored]}
    found = label_maps.mean_distances(source, "train")
    np.testing.assert_allclose(found, np.mean(stored, axis=0) / surfaces.STEPS, atol=1e-5)
    assert label_maps.mean_distances({"train": [{"mri": 0}]}, "train") is None
