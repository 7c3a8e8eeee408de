"""Tests of the pure steps: recomputed in numpy, masked, frozen parts untouched, NaN refused."""

import dataclasses

import jax
import numpy as np
import optax
import pytest
from fake_run import FakeData, FakeStage

from xr2mri_jax.data import augment
from xr2mri_jax.training import optimizer, state, step

RATE = 0.1


def make(stage=None, transform=None, ema_decay=0.9):
    stage = stage or FakeStage(noise=0.0)
    params, model_state = stage.create(jax.random.key(3))
    trainable = stage.trainable(params)
    labels = jax.tree.map(lambda free: "trained" if free else "frozen", trainable)
    transform = transform or optax.sgd(RATE)
    tx = optax.multi_transform({"trained": transform, "frozen": optax.set_to_zero()}, labels)
    steps = step.Steps(stage, tx, optax.constant_schedule(RATE), ema_decay, trainable)
    return steps, state.create(params, model_state, tx)


def numpy_step(params, batch):
    """Loss, gradient of w and b, by hand."""
    w, b = (np.asarray(params["trained"][name], np.float64) for name in ("w", "b"))
    scale = float(params["frozen"]["scale"][2])
    error = scale * (batch["x"] @ w)[:, 0] + b[0] - batch["y"]
    weight = batch["example_mask"] / batch["example_mask"].sum()
    loss = np.sum(weight * error**2)
    return loss, 2 * scale * batch["x"].T @ (weight * error)[:, None], 2 * np.sum(weight * error)


@pytest.mark.parametrize("jitted", [False, True])
def test_step_equals_numpy_with_a_masked_example(jitted):
    steps, before = make()
    batch = next(FakeData())
    batch["example_mask"][2] = 0
    batch["x"][2] = 1e3  # what a masked example holds must not matter
    run = jax.jit(steps.train_step) if jitted else steps.train_step
    after, outcome = run(before, batch, jax.random.key(0))
    kept = {name: np.delete(value, 2, 0) for name, value in batch.items()}
    loss, of_w, of_b = numpy_step(before.params, kept)
    mean = outcome["means"]["loss"]
    assert float(mean.count) == 5
    np.testing.assert_allclose(mean.compute(), loss, rtol=1e-5)
    trained = before.params["trained"]
    np.testing.assert_allclose(
        after.params["trained"]["w"], np.asarray(trained["w"]) - RATE * of_w, rtol=1e-4
    )
    np.testing.assert_allclose(after.params["trained"]["b"], [-RATE * of_b], rtol=1e-4)
    norm = np.sqrt(np.sum(of_w**2) + of_b**2)
    np.testing.assert_allclose(outcome["grad_norm"], norm, rtol=1e-5)
    decay = min(0.9, 1 / 10)
    average = decay * np.asarray(trained["w"]) + (1 - decay) * after.params["trained"]["w"]
    np.testing.assert_allclose(after.ema_params["trained"]["w"], average, rtol=1e-5)
    assert bool(outcome["finite"]) and int(after.step) == 1


def test_a_frozen_parameter_keeps_its_bits_and_has_no_memory():
    steps, current = make(transform=optax.adamw(RATE, weight_decay=0.1))
    before = np.asarray(current.params["frozen"]["scale"]).tobytes()
    shapes = [np.shape(leaf) for leaf in jax.tree.leaves(current.opt_state)]
    assert shapes.count((3, 1)) == 2 and (3,) not in shapes
    run, data = jax.jit(steps.train_step), FakeData()
    for _ in range(5):
        current, _ = run(current, next(data), jax.random.key(0))
    for params in (current.params, current.ema_params):
        assert np.asarray(params["frozen"]["scale"]).tobytes() == before
    assert not np.array_equal(current.params["trained"]["w"], current.ema_params["trained"]["w"])


def test_a_step_that_is_not_finite_changes_nothing_and_says_so():
    steps, before = make()
    batch = next(FakeData())
    batch["x"][1] = np.inf
    after, outcome = jax.jit(steps.train_step)(before, batch, jax.random.key(0))
    assert not outcome["finite"]
    for new, old in zip(jax.tree.leaves(after), jax.tree.leaves(before), strict=True):
        np.testing.assert_array_equal(new, old)


def test_noise_follows_the_example_and_the_step_alone():
    index = np.array([5, 2, 9], np.int32)
    rng = jax.random.key(0)
    keys = jax.random.key_data(step.example_keys(rng, 4, index))
    turned = jax.random.key_data(step.example_keys(rng, 4, index[::-1]))
    np.testing.assert_array_equal(keys, turned[::-1])
    assert len(np.unique(np.asarray(keys), axis=0)) == 3
    later = jax.random.key_data(step.example_keys(rng, 5, index))
    assert not np.array_equal(keys, later)


def test_a_step_without_augmentation_has_no_more_in_its_program():
    steps, before = make()
    batch, rng = next(FakeData()), jax.random.key(0)
    plain = jax.make_jaxpr(steps.train_step)(before, batch, rng)
    keys = [e for e in plain.eqns if e.primitive.name == "random_fold_in"]
    strength = augment.strengths({"noise": 0.1})
    augmented = dataclasses.replace(steps, strength=strength)
    more = jax.make_jaxpr(augmented.train_step)(before, batch, rng)
    assert len(keys) == 2 < len([e for e in more.eqns if e.primitive.name == "random_fold_in"])


def test_eval_step_sums_and_counts():
    steps, current = make()
    batch = next(FakeData())
    batch["example_mask"][0] = 0
    found = steps.eval_step(current.params, {}, batch)["squared"]
    kept = {name: value[1:] for name, value in batch.items()}
    np.testing.assert_allclose(found.compute(), numpy_step(current.params, kept)[0], rtol=1e-5)
    assert float(found.count) == 5


def test_schedule_and_ema_decay():
    rate = optimizer.schedule({"learning_rate": 0.2, "warmup_steps": 10}, 100)
    values = [float(rate(at)) for at in (0, 5, 10, 55, 100)]
    np.testing.assert_allclose(values, [0.0, 0.1, 0.2, 0.1, 0.0], atol=1e-6)
    short = optimizer.schedule({"learning_rate": 0.2, "warmup_steps": 10}, 2)
    np.testing.assert_allclose(float(short(0)), 0.2, rtol=1e-6)
    decays = [float(optimizer.ema_decay(0.99, at)) for at in (0, 8, 100000)]
    np.testing.assert_allclose(decays, [0.1, 0.5, 0.99], rtol=1e-6)


def test_weight_decay_spares_vectors_and_clipping_limits_the_update():
    params = {"w": np.ones((2, 2), np.float32), "b": np.ones(2, np.float32)}
    trainable = {"w": True, "b": True}
    values = {
        "learning_rate": 0.1,
        "warmup_steps": 0,
        "weight_decay": 0.5,
        "clip_norm": 1.0,
        "muon_learning_rate": 0.0,
    }
    tx = optimizer.make(values, 10, trainable)
    zero = jax.tree.map(np.zeros_like, params)
    update, _ = tx.update(zero, tx.init(params), params)
    np.testing.assert_allclose(update["w"], -0.05, rtol=1e-5)
    np.testing.assert_array_equal(update["b"], 0.0)
    large = jax.tree.map(lambda p: 1e3 * np.ones_like(p), params)
    _, moments = tx.update(large, tx.init(params), params)
    means = [leaf for leaf in jax.tree.leaves(moments) if np.shape(leaf) == (2, 2)]
    np.testing.assert_allclose(means[0], 0.1 / np.sqrt(6), rtol=1e-4)


MUON = {
    "learning_rate": 0.01,
    "muon_learning_rate": 0.5,
    "warmup_steps": 0,
    "weight_decay": 0.0,
    "clip_norm": 0.0,
}


def test_muon_makes_kernels_updates_orthogonal_and_leaves_the_rest_to_adam():
    rng = np.random.default_rng(0)
    params = {
        "conv": {"kernel": rng.normal(size=(3, 2, 4)).astype(np.float32), "bias": np.ones(4)},
        "frozen": {"kernel": np.ones((2, 2), np.float32)},
    }
    trainable = {"conv": {"kernel": True, "bias": True}, "frozen": {"kernel": False}}
    tx = optimizer.make(MUON, 10, trainable)
    gradient = jax.tree.map(lambda p: rng.normal(size=p.shape).astype(np.float32), params)
    update, _ = tx.update(gradient, tx.init(params), params)
    singular = np.linalg.svd(np.reshape(update["conv"]["kernel"], (6, 4)), compute_uv=False)
    assert singular.max() / singular.min() < 2  # five Newton-Schulz steps bring them near one
    first = 0.01 * (1.0 + 0.9 * 0.1 / (1.0 - 0.9**2))  # Adam with Nesterov's momentum, corrected
    signs = np.sign(gradient["conv"]["bias"])
    np.testing.assert_allclose(update["conv"]["bias"], -first * signs, rtol=1e-3)
    np.testing.assert_array_equal(update["frozen"]["kernel"], 0.0)


@pytest.mark.parametrize(("shape", "by_adam"), [((3, 2, 8), False), ((3, 4, 9), True)])
def test_kernels_whose_smaller_side_is_large_are_left_to_adam(monkeypatch, shape, by_adam):
    monkeypatch.setattr(optimizer, "LARGEST_SIDE", 8)
    gradient = {"kernel": np.random.default_rng(0).normal(size=shape).astype(np.float32)}
    tx = optimizer.make(MUON, 10, {"kernel": True})
    update, _ = tx.update(gradient, tx.init(gradient), gradient)
    sizes = np.abs(update["kernel"])
    # Adam's first step is as large for every number.
    assert bool(sizes.max() / sizes.min() < 1.01) == by_adam
