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


def corn_by_hand(outputs, label):
    """Each task's binary cross entropy over the examples that reach it, Shi et al., equation 6."""
    total = np.zeros(len(label))
    for task in range(outputs.shape[1]):
        for i, y in enumerate(label):
            if y >= task:
                p = 1 / (1 + np.exp(-outputs[i, task]))
                total[i] -= np.log(p) if y > task else np.log(1 - p)
    return total


@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit])
def test_the_ordinal_head_has_the_loss_of_corn(wrap):
    random = np.random.default_rng(0)
    outputs = random.normal(0, 2, (40, 4)).astype(np.float32)
    label = np.arange(40) % 5
    log = wrap(losses.continuation_ratio)(outputs)
    np.testing.assert_allclose(np.exp(log).sum(axis=1), 1, rtol=1e-5)
    found = losses.cross_entropy(log, label)
    np.testing.assert_allclose(found, corn_by_hand(outputs.astype(float), label), rtol=1e-4)
    above = 1 / (1 + np.exp(-outputs))
    wanted = [1 - above[:, 0], above[:, 0] * (1 - above[:, 1])]
    np.testing.assert_allclose(np.exp(log)[:, :2], np.stack(wanted, axis=1), rtol=1e-4)
    strong = losses.continuation_ratio(np.float32([[200.0, -300.0, 200.0, -200.0]]))
    assert np.isfinite(strong).all()
