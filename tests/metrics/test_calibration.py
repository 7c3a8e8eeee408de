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


def test_offsets_make_probabilities_those_of_another_population():
    # Three normal distributions, seen as often as each other; of the population 80 % are class 0.
    random = np.random.default_rng(0)
    shares = np.array([0.8, 0.15, 0.05])

    def draw(counts):
        label = np.repeat(np.arange(3), counts)
        return -np.square(
            label[:, None] + random.normal(0, 1, (len(label), 1)) - np.arange(3)
        ) / 2, label

    seen, label = draw([3000, 3000, 3000])
    bias = np.array([0.0, 0.7, -0.4])
    biased = 2 * (seen + bias)
    found = calibration.fit(biased, label, tuple(shares))
    assert found.temperature == pytest.approx(2, abs=0.3) and found.offsets[0] == 0
    asked, true = draw((shares * 20000).astype(int))
    probability = found.probabilities(2 * (asked + bias))
    np.testing.assert_allclose(probability.mean(axis=0), shares, atol=0.01)
    for one in range(3):
        assert calibration.calibration_error(probability[:, one], (true == one) * 1) < 0.02
    assert calibration.fit(biased, label).offsets is None


def test_offsets_need_every_class_and_as_many_shares():
    logits, label = np.zeros((4, 3)), np.array([0, 1, 0, 1])
    with pytest.raises(ValueError, match=r"\[2, 2, 0\] examples"):
        calibration.fit(logits, label, (1, 1, 1))
    with pytest.raises(ValueError, match="2 shares"):
        calibration.fit(logits, label, (1, 1))


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
