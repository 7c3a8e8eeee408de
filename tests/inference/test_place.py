"""Tests of which knee is meant: a crop's middle, the given centre, one of two knees on a film."""

import dataclasses

import numpy as np
import pytest
from xr2mri_jax.inference.place import place_knee

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import Radiograph
from xr2mri_jax.phantom.bilateral import simulate_bilateral

SPACING = (0.6, 0.6)


@pytest.fixture(scope="module")
def film():
    made = simulate_bilateral(11, 3, (560, 700), SPACING)
    return Radiograph(made.image, SPACING), made.places


@pytest.mark.parametrize("side", ["right", "left"])
def test_the_meant_knee_of_two_is_found(film, side):
    radiograph, truth = film
    placed = place_knee(dataclasses.replace(radiograph, side=side), None)
    assert placed.radiograph.side == placed.found.side == side and not placed.inverted
    assert placed.radiograph.array is radiograph.array
    assert np.abs(np.subtract(placed.centre, truth[side].centre_px)).max() * SPACING[0] < 6.0


def test_two_knees_want_a_side(film):
    with pytest.raises(InputError, match="found a left and a right knee, expected"):
        place_knee(film[0], None)


def test_the_only_knee_of_half_a_film_is_taken_and_the_other_one_refused(film):
    radiograph, truth = film
    half = Radiograph(radiograph.array[:, 350:], SPACING)
    placed = place_knee(half, None)
    assert placed.radiograph.side == placed.found.side == "left"
    expected = np.subtract(truth["left"].centre_px, (0, 350))
    assert np.abs(np.subtract(placed.centre, expected)).max() * SPACING[0] < 6.0


@pytest.mark.parametrize(
    ("spacing", "centre"), [((0.5, 0.5), None), (None, None), ((2.0, 2.0), (10.0, 20.0))]
)
def test_a_crop_or_a_given_centre_is_left_as_it_is(spacing, centre):
    radiograph = Radiograph(np.random.default_rng(0).normal(size=(200, 200)), spacing, "right")
    placed = place_knee(radiograph, centre)
    assert placed.radiograph is radiograph and placed.centre == centre
    assert placed.found is None and not placed.inverted


@pytest.mark.parametrize("centre", [None, (280.0, 180.0)])
def test_a_film_with_dark_bone_is_turned_round(film, centre):
    radiograph, _ = film
    sided = dataclasses.replace(radiograph, side="right")
    dark = dataclasses.replace(sided, array=65535.0 - radiograph.array)
    bright, placed = place_knee(sided, centre), place_knee(dark, centre)
    assert placed.inverted and not bright.inverted and placed.radiograph.side == "right"
    np.testing.assert_allclose(np.ptp(placed.radiograph.array), np.ptp(radiograph.array))
    shift = placed.radiograph.array - radiograph.array
    np.testing.assert_allclose(shift, shift[0, 0], atol=0.01)
    assert placed.centre == pytest.approx(bright.centre, abs=1.0)


def test_a_large_image_without_a_knee_is_refused():
    radiograph = Radiograph(np.random.default_rng(0).normal(size=(300, 300)), (1.0, 1.0), "right")
    with pytest.raises(InputError, match="no knee was found"):
        place_knee(radiograph, None)
