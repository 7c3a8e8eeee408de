"""Tests of the losses: against numpy, one example and many, jitted and not, masked."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xr2mri_jax import losses

ALL = sorted(losses.TERMS)
JITTED = {name: jax.jit(term) for name, term in losses.TERMS.items()}


def arrays(shape, seed=0):
    rng = np.random.default_rng(seed)
    prediction, target = (rng.random(shape).astype(np.float32) for _ in range(2))
    mask = (rng.random(shape) < 0.7).astype(np.float32)
    return prediction, target, mask


def mean_of(values, mask):
    return np.array([np.sum(v * m) / np.sum(m) for v, m in zip(values, mask, strict=True)])


def gradient_reference(prediction, target, mask):
    total = 0.0
    for axis in range(1, prediction.ndim - 1):
        ends = [np.take(mask, range(s, mask.shape[axis] - 1 + s), axis) for s in (0, 1)]
        change = np.abs(np.diff(prediction, axis=axis) - np.diff(target, axis=axis))
        total = total + mean_of(change, ends[0] * ends[1])
    return total / (prediction.ndim - 2)


@pytest.mark.parametrize(
    ("shape", "masked", "jitted"),
    [
        ((1, 6, 7, 1), False, True),
        ((3, 6, 7, 2), True, False),
        ((3, 6, 7, 2), False, True),
        ((2, 3, 4, 5, 1), True, True),
    ],
)
def test_losses_equal_numpy(shape, masked, jitted):
    prediction, target, mask = arrays(shape)
    given = mask if masked else None
    weight = mask if masked else np.ones_like(mask)
    wanted = {
        "l1": mean_of(np.abs(prediction - target), weight),
        "mse": mean_of((prediction - target) ** 2, weight),
        "gradient_difference": gradient_reference(prediction, target, weight),
    }
    for name, value in wanted.items():
        found = (JITTED if jitted else losses.TERMS)[name](prediction, target, given)
        assert found.shape == (shape[0],) and found.dtype == jnp.float32
        np.testing.assert_allclose(found, value, rtol=2e-5, err_msg=name)


def test_hand_computed_values():
    prediction = jnp.array([[[0.0], [1.0], [3.0]]])
    target = jnp.array([[[0.0], [0.0], [0.0]]])
    np.testing.assert_allclose(losses.l1(prediction, target), [4 / 3], rtol=1e-6)
    np.testing.assert_allclose(losses.mse(prediction, target), [10 / 3], rtol=1e-6)
    np.testing.assert_allclose(losses.gradient_difference(prediction, target), [1.5], rtol=1e-6)
    mask = jnp.array([[[1.0], [1.0], [0.0]]])
    np.testing.assert_allclose(losses.l1(prediction, target, mask), [0.5], rtol=1e-6)
    np.testing.assert_allclose(losses.gradient_difference(prediction, target, mask), [1.0])


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("shape", [(2, 12, 13, 1), (2, 5, 6, 7, 1)])
def test_examples_do_not_mix_and_equal_images_cost_nothing(name, shape):
    prediction, target, mask = arrays(shape)
    both = JITTED[name](prediction, target, mask)
    alone = JITTED[name](prediction[1:], target[1:], mask[1:])
    np.testing.assert_allclose(both[1:], alone, rtol=1e-5)
    np.testing.assert_allclose(JITTED[name](target, target, mask), 0.0, atol=1e-6)
    assert np.all(both > 0)


@pytest.mark.parametrize("name", ALL)
def test_nothing_outside_the_mask_counts(name):
    prediction, target, mask = arrays((2, 6, 7, 1))
    mask[1] = 0
    loss = JITTED[name]
    first = jax.jit(jax.value_and_grad(lambda p: jnp.sum(loss(p, target, mask)[:1])))
    value, gradient = first(prediction)
    other = np.where(mask > 0, prediction, 5.0)
    np.testing.assert_allclose(jnp.sum(loss(other, target, mask)[:1]), value, rtol=1e-5)
    assert np.all(np.isfinite(gradient))
    np.testing.assert_array_equal(np.asarray(gradient)[mask == 0], 0.0)
    assert np.isfinite(loss(prediction, target, mask)[1])


@pytest.mark.parametrize("name", ALL)
def test_shape_mismatch_raises(name):
    prediction, target, mask = arrays((2, 6, 7, 1))
    with pytest.raises(ValueError, match="target has shape"):
        losses.TERMS[name](prediction, target[:, :5])
    with pytest.raises(ValueError, match="target has shape"):
        losses.TERMS[name](prediction, target[:1])
    with pytest.raises(ValueError, match="mask has shape"):
        losses.TERMS[name](prediction, target, mask[..., 0])
    with pytest.raises(ValueError):
        losses.TERMS[name](jnp.float32(1.0), jnp.float32(1.0))


def test_gradient_difference_needs_neighbours():
    with pytest.raises(ValueError, match="size 2"):
        losses.gradient_difference(jnp.zeros((2, 1, 4, 1)), jnp.zeros((2, 1, 4, 1)))
    with pytest.raises(ValueError, match="size 2"):
        losses.gradient_difference(jnp.zeros((2, 3)), jnp.zeros((2, 3)))


def test_half_precision_is_summed_in_single():
    prediction = jnp.full((1, 64, 64, 1), 0.1, jnp.bfloat16)
    target = np.zeros((1, 64, 64, 1), np.float32)
    found = losses.l1(prediction, target)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, [float(jnp.bfloat16(0.1))], rtol=1e-5)


def test_weighted_sum_of_terms():
    prediction, target, mask = arrays((2, 6, 7, 1))
    found = losses.weighted({"l1": 2.0, "mse": 0.5, "ssim": 0.0}, prediction, target, mask)
    wanted = 2 * losses.l1(prediction, target, mask) + losses.mse(prediction, target, mask) / 2
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    with pytest.raises(KeyError, match="l2"):
        losses.weighted({"l2": 1.0}, prediction, target)


def test_surface_distance_weighs_near_voxels_and_compares_thickness():
    target = np.array([0.0, 2.0, 7.5], np.float32).reshape(1, 1, 3, 1, 1)
    found = target + np.array([1.0, -1.0, 4.0], np.float32).reshape(target.shape)
    # Cut off at 7.5 mm the last one is right; exp(-|t| / 2) + 0.01 weighs the others.
    weight = np.array([1.01, np.exp(-1.0) + 0.01, 0.01])
    wanted = (weight[0] + weight[1]) / weight.sum()
    value = losses.surface_distance(found, target, 7.5)
    np.testing.assert_allclose(value, [wanted], rtol=1e-5)
    both, true = (np.concatenate([x, x], axis=1) for x in (found, target))
    # Two surfaces that are wrong alike leave a cartilage between them as thick as it is.
    np.testing.assert_allclose(losses.surface_distance(both, true, 7.5, [(1, 0)]), value, rtol=1e-5)
    thicker = np.concatenate([target, found], axis=1)
    np.testing.assert_allclose(
        losses.surface_distance(thicker, true, 7.5, [(1, 0)]), wanted / 2 + wanted, rtol=1e-5
    )


def test_surface_distance_pulls_from_beyond_the_limit_and_refuses_other_shapes():
    target = np.full((1, 1, 1, 1, 1), 3.0, np.float32)
    gradient = jax.grad(lambda x: losses.surface_distance(x, target, 7.5)[0])(target - 20)
    assert gradient.item() < 0
    with pytest.raises(ValueError, match="distances"):
        losses.surface_distance(target, target[0], 7.5)


def test_gap_distance_is_the_error_of_the_space_between_two_surfaces():
    # One column of two voxels, midway between the surfaces and at the first one.
    target = np.array([[2.0, 0.0], [2.0, 4.0]], np.float32).reshape(1, 2, 2, 1, 1)
    shifted = target + np.array([0.5, -0.5], np.float32).reshape(1, 2, 1, 1, 1)
    np.testing.assert_allclose(losses.gap_distance(shifted, target, 7.5, (0, 1)), 0, atol=1e-6)
    wider = target + np.array([1.0, 0.0], np.float32).reshape(1, 1, 2, 1, 1)
    np.testing.assert_allclose(losses.gap_distance(wider, target, 7.5, (0, 1)), 1.0, rtol=1e-5)
    # Cut off at the limit, more than that is no error.
    far = np.array([7.5, 1.0], np.float32).reshape(1, 2, 1, 1, 1)
    beyond = far + np.array([5.0, 0.0], np.float32).reshape(far.shape)
    np.testing.assert_allclose(losses.gap_distance(beyond, far, 7.5, (0, 1)), 0, atol=1e-6)


def test_beta_labels_by_hand_and_what_they_do_to_the_loss():
    labels = losses.beta_labels(5)
    np.testing.assert_allclose(labels.sum(axis=1), 1, rtol=1e-6)
    # Beta(1, 8) has the distribution function 1 - (1 - x)^8; the last class mirrors the first.
    edges = 1 - (1 - np.linspace(0, 1, 6)) ** 8
    np.testing.assert_allclose(labels[0], np.diff(edges), rtol=1e-5)
    np.testing.assert_allclose(labels, labels[::-1, ::-1], atol=1e-6)
    assert (labels.argmax(axis=1) == np.arange(5)).all()
    logits = np.random.default_rng(0).normal(size=(5, 5)).astype(np.float32)
    log = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    wanted = -0.4 * np.diag(log) - 0.6 * (labels * log).sum(axis=1)
    found = losses.cross_entropy(logits, np.arange(5), 0.6, labels)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    with pytest.raises(ValueError, match="7 classes"):
        losses.beta_labels(7)
