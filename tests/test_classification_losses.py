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


def test_each_degree_of_confidence_has_its_loss():
    probability = np.array([0.95, 0.5, 0.05])
    logits = np.log(np.stack([probability, 1 - probability], axis=1)).astype("f4")
    label = np.zeros(3, np.int32)
    found = losses.by_confidence(logits, label, 0.2, 0.9, 0.2)
    wanted = [-np.log(0.95), -0.9 * np.log(0.5) - 0.1 * np.log(0.5), -np.log(0.2) + 0.2 - 0.05]
    np.testing.assert_allclose(found, wanted, rtol=1e-4)
    with pytest.raises(ValueError, match="doubtful"):
        losses.by_confidence(logits, label, 0.2, 0.2, 0.9)


def test_a_doubtful_label_pulls_less():
    logits = np.float32([[-6.0, 0.0]])
    label = np.zeros(1, np.int32)
    pull = jax.grad(lambda x: losses.by_confidence(x, label, 0.0, 0.9, 0.2)[0])(logits)
    full = jax.grad(lambda x: losses.cross_entropy(x, label)[0])(logits)
    assert np.abs(pull).max() < 0.01 < 0.9 < np.abs(full).max()
