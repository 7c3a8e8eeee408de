"""Losses of classifiers against hand-computed values, jitted and not."""

import functools

import jax
import numpy as np
import pytest

from xr2mri_jax import losses


def noise():
    random = np.random.default_rng(0)
    return random.normal(0, 3, (6, 3)).astype("f4"), random.integers(0, 3, 6)


@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit])
def test_cross_entropy_with_smoothed_labels(wrap):
    logits, label = noise()
    probability = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    target = 0.8 * np.eye(3)[label] + 0.2 / 3
    wanted = -(target * np.log(probability)).sum(axis=1)
    found = wrap(functools.partial(losses.cross_entropy, smoothing=0.2))(logits, label)
    np.testing.assert_allclose(found, wanted, rtol=1e-4)
    plain = losses.cross_entropy(logits, label)
    np.testing.assert_allclose(plain, -np.log(probability[np.arange(6), label]), rtol=1e-4)
    with pytest.raises(ValueError, match="logits"):
        losses.cross_entropy(logits, label[:2])
