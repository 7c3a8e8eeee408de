"""Tests of intensity windows and the exposed area."""

import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from xr2mri_jax.errors import InputError
from xr2mri_jax.preprocess.intensity import (
    SHUTTER_RIM,
    _with_rim,
    apply_window,
    exposed_area,
    percentile_window,
    undo_window,
)


def test_window_limits_are_percentiles():
    values = np.arange(101, dtype=np.float32)
    assert percentile_window(values, (1, 99)) == (1.0, 99.0)
    assert percentile_window(values, (0, 50)) == (0.0, 50.0)


def test_apply_and_undo_are_inverse_inside_the_window():
    values = np.array([-50.0, 0.0, 25.0, 100.0, 400.0], np.float32)
    scaled = apply_window(values, 0.0, 100.0)
    np.testing.assert_array_equal(scaled, np.array([0, 0, 0.25, 1, 1], np.float32))
    np.testing.assert_allclose(undo_window(scaled, 0.0, 100.0), [0, 0, 25, 100, 100])
    assert scaled.dtype == np.float32


@pytest.mark.parametrize("values", [np.zeros(9), np.full(9, 7.5), np.zeros(0)])
def test_no_contrast_is_refused(values):
    with pytest.raises(InputError, match=r"constant|none"):
        percentile_window(values, (1, 99))


@pytest.mark.parametrize("percentiles", [(99, 1), (-1, 50), (0, 101), (1, 2, 3)])
def test_bad_percentiles_are_refused(percentiles):
    with pytest.raises(InputError, match="two increasing numbers"):
        percentile_window(np.arange(9.0), percentiles)


def test_shutters_of_both_kinds_are_found():
    image = np.random.default_rng(0).uniform(10, 20, (40, 40)).astype(np.float32)
    image[:, :8] = 0.0
    image[:5, 8:] = 90.0
    exposed = exposed_area(image)
    expected = np.ones((40, 40), bool)
    expected[:, : 8 + 3] = False
    expected[: 5 + 3, 8 - 3 :] = False
    np.testing.assert_array_equal(exposed, expected)


def test_small_or_inner_plateaus_are_no_shutters():
    image = np.random.default_rng(0).uniform(10, 20, (40, 40)).astype(np.float32)
    image[10:30, 10:30] = 90.0
    image[0, :20] = 0.0
    assert exposed_area(image).all()


@pytest.mark.parametrize("share", [0.002, 0.1])
def test_the_rim_is_a_dilation(share):
    area = np.random.default_rng(0).random((40, 30)) < share
    expected = binary_dilation(area, iterations=SHUTTER_RIM)
    np.testing.assert_array_equal(_with_rim(area), expected)
