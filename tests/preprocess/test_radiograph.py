"""Tests of the way from a radiograph to the canonical radiograph and back."""

import json

import numpy as np
import pytest

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import Radiograph
from xr2mri_jax.preprocess.radiograph import (
    displayed,
    source_pixels,
    source_values,
    spread_over_box,
    standardise_radiograph,
)

WHOLE = {"percentiles": (0.0, 100.0)}


def knee(shape=(160, 160), spacing=(0.8, 0.8), side="right", seed=0):
    """A ramp with noise: f32, values about 100..300, 128 mm across at the default."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(100, 300, shape[0] * shape[1]).reshape(shape)
    return Radiograph((ramp + rng.normal(0, 5, shape)).astype(np.float32), spacing, side)


def test_own_grid_keeps_the_pixels():
    radiograph = knee((64, 64), (2.0, 2.0))
    standard = standardise_radiograph(radiograph, (64, 64), contrast=WHOLE)
    low, high = radiograph.array.min(), radiograph.array.max()
    expected = (radiograph.array - low) / (high - low)
    np.testing.assert_allclose(standard.image[..., 0], expected, atol=1e-6)
    assert standard.image.dtype == np.float32
    assert standard.image.shape == (64, 64, 1)
    assert standard.record["outside"]["share"] == 0


def test_left_knees_are_mirrored():
    right = knee()
    left = Radiograph(right.array[:, ::-1].copy(), right.spacing, "left")
    images = [standardise_radiograph(r, (32, 32)).image for r in (right, left)]
    np.testing.assert_allclose(images[0], images[1], atol=1e-5)
    assert standardise_radiograph(left, (32, 32)).record["mirrored"] is True


@pytest.mark.parametrize("side", ["left", "right"])
def test_canonical_pixels_lead_back_to_a_marker(side):
    radiograph = knee((300, 260), (0.5, 0.4), side)
    radiograph.array[120:127, 70:79] = 900.0
    standard = standardise_radiograph(radiograph, (128, 128), (150.5, 120.25), WHOLE)
    peak = np.argwhere(standard.image[..., 0] > 0.8)
    found = source_pixels(standard.record, peak.mean(axis=0))
    np.testing.assert_allclose(found, (123, 74), atol=1.0)
    middle = source_pixels(standard.record, (63.5, 63.5))
    np.testing.assert_allclose(middle, (150.5, 120.25), atol=1e-9)


def test_record_is_json_and_undoes_the_intensities():
    radiograph = knee((64, 64), (2.0, 2.0))
    standard = standardise_radiograph(radiograph, (64, 64), contrast=WHOLE)
    record = json.loads(json.dumps(standard.record, allow_nan=False))
    assert record == standard.record
    np.testing.assert_allclose(
        source_values(record, standard.image[..., 0]), radiograph.array, atol=1e-3
    )


def test_scale_and_offset_of_the_file_do_not_matter():
    radiograph = knee()
    other = Radiograph(radiograph.array * 13 - 4000, radiograph.spacing, "right")
    images = [standardise_radiograph(r, (64, 64)).image for r in (radiograph, other)]
    np.testing.assert_allclose(images[0], images[1], atol=1e-4)


def test_a_second_time_changes_nothing():
    first = standardise_radiograph(knee(), (64, 64)).image[..., 0]
    second = standardise_radiograph(spread_over_box(Radiograph(first, None, "right")), (64, 64))
    np.testing.assert_allclose(second.image[..., 0], first, atol=2e-3)


def test_the_shutter_does_not_set_the_window():
    radiograph = knee()
    plain = standardise_radiograph(radiograph, (64, 64)).record["window"]
    array = radiograph.array.copy()
    array[:, :30] = 4095.0
    covered = standardise_radiograph(Radiograph(array, (0.8, 0.8), "right"), (64, 64))
    assert covered.record["window"]["high"] == pytest.approx(plain["high"], abs=5)
    assert covered.record["window"]["low"] == pytest.approx(plain["low"], abs=5)


def test_outside_repeats_the_border():
    radiograph = knee((100, 160), (0.8, 0.8))
    standard = standardise_radiograph(radiograph, (128, 128))
    assert standard.record["outside"] == {"share": pytest.approx(48 / 128), "fill": "edge"}
    top = standard.image[:20, :, 0]
    np.testing.assert_allclose(top, np.broadcast_to(top[:1], top.shape), atol=1e-6)
    assert top.std() > 0
    assert standard.record["inside"] == {"rows": [24, 103], "columns": [0, 127]}


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_displayed_radiograph_is_dim_where_its_border_is_repeated(side):
    standard = standardise_radiograph(knee(side=side), (64, 64), (79.5, 39.5), WHOLE)
    shown, own = displayed(standard), standard.image[..., 0]
    if side == "left":
        own = own[:, ::-1]
    # The box reaches 40 of its 160 pixels beyond the left edge of the image.
    np.testing.assert_array_equal(shown[:, 16:], own[:, 16:])
    np.testing.assert_allclose(shown[:, :16], 0.3 * own[:, :16], atol=1e-6)


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_grid_on_the_pixels_keeps_their_values(side):
    radiograph = knee((80, 60), (2.0, 2.0), side)
    standard = standardise_radiograph(radiograph, (64, 64), (35.5, 40.5), WHOLE)
    expected = radiograph.array[4:68, 9:]
    expected = np.pad(expected, ((0, 0), (0, 13)), mode="edge")
    expected = expected[:, ::-1] if side == "left" else expected
    found = source_values(standard.record, standard.image[..., 0])
    inside = expected.min() + 1e-3 < found
    np.testing.assert_allclose(found[inside], expected[inside], atol=1e-3)
    assert inside.mean() > 0.99


def test_large_image_equals_its_own_crop():
    large = knee((400, 900), (0.4, 0.4))
    crop = Radiograph(large.array[20:380, 420:780].copy(), (0.4, 0.4), "right")
    a = standardise_radiograph(large, (64, 64), (200.0, 600.0))
    b = standardise_radiograph(crop, (64, 64), (180.0, 180.0))
    np.testing.assert_allclose(a.image, b.image, atol=1e-5)


def test_adaptive_contrast_is_recorded_and_cannot_be_undone():
    contrast = {"clahe": {"clip_limit": 0.02, "kernel_mm": 16}}
    standard = standardise_radiograph(knee(), (64, 64), contrast=contrast)
    assert standard.record["clahe"] == {"clip_limit": 0.02, "kernel_mm": 16.0}
    assert standard.record["window"]["percentiles"] == [1.0, 99.0]
    assert 0 <= standard.image.min() < standard.image.max() <= 1
    with pytest.raises(InputError, match="cannot be undone"):
        source_values(standard.record, standard.image)


@pytest.mark.parametrize(
    ("radiograph", "arguments", "message"),
    [
        (knee(side=None), {}, "--side"),
        (knee(spacing=None), {}, "--spacing"),
        (knee((31, 160)), {}, "31 x 160 pixels"),
        (Radiograph(np.full((64, 64), 7.0), (2, 2), "left"), {}, "blank"),
        (Radiograph(np.full((64, 64), np.nan), (2, 2), "left"), {}, "not finite"),
        (knee(), {"centre": (80, 160)}, "--centre"),
        (knee(), {"centre": (np.nan, 80)}, "--centre"),
        (knee(spacing=(0.08, 0.08)), {}, "covers 1%"),
        (knee(spacing=(8.0, 8.0)), {}, "16 pixels across"),
        (knee(), {"contrast": {"gamma": 2}}, "'gamma'"),
        (knee(), {"contrast": {"clahe": {"clip": 2}}}, "clip_limit"),
    ],
)
def test_what_cannot_be_used_is_refused(radiograph, arguments, message):
    with pytest.raises(InputError, match=message) as caught:
        standardise_radiograph(radiograph, (64, 64), **arguments)
    assert "\n" not in str(caught.value)
