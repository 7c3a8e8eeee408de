"""Calibration against distributions whose answer is known."""

import numpy as np
import pytest

from xr2mri_jax.metrics import calibration


def test_temperature_undoes_a_scale():
    random = np.random.default_rng(0)
    logits = random.normal(0, 1.5, (4000, 2))
    chance = 1 / (1 + np.exp(logits[:, 0] - logits[:, 1]))
    label = (random.random(4000) < chance).astype(int)
    assert calibration.fit_temperature(logits, label) == pytest.approx(1, abs=0.1)
    assert calibration.fit_temperature(3 * logits, label) == pytest.approx(3, abs=0.3)
    with pytest.raises(ValueError, match="logits"):
        calibration.fit_temperature(logits, label[:5])


def test_reliability_by_hand():
    found = calibration.reliability([0.05, 0.15, 0.95, 0.85, 1.0], [0, 1, 1, 0, 1], bins=2)
    np.testing.assert_array_equal(found["count"], [2, 3])
    np.testing.assert_allclose(found["probability"], [0.1, 2.8 / 3])
    np.testing.assert_allclose(found["frequency"], [0.5, 2 / 3])
    error = calibration.calibration_error([0.05, 0.15, 0.95, 0.85, 1.0], [0, 1, 1, 0, 1], bins=2)
    assert error == pytest.approx((2 * 0.4 + 3 * (2.8 - 2) / 3) / 5)
    with pytest.raises(ValueError, match="outside"):
        calibration.reliability([1.5], [1])


def test_an_empty_bin_adds_nothing():
    found = calibration.reliability([0.1], [0], bins=4)
    np.testing.assert_array_equal(found["count"], [1, 0, 0, 0])
    assert np.isfinite(found["frequency"]).all()
