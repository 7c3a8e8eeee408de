"""Tests that the joint centre's network learns, is stored, and is the one that numpy runs."""

import jax
import numpy as np
import pytest

from xr2mri_jax.errors import InputError
from xr2mri_jax.preprocess.joint_centre import network
from xr2mri_jax.tools.fit_joint_centre import examples, fit


@pytest.fixture(scope="module")
def knees():
    return examples.legs(5, 2)


def test_the_network_is_the_same_in_numpy_and_compiled_by_jax():
    weights = network.shipped_weights()
    x = np.random.default_rng(0).uniform(size=(2, 32, 32, 32, 2)).astype(np.float32)
    found = network.logits(weights, x)
    compiled = jax.jit(network.logits)(weights, x)
    for ours, theirs, shape in zip(found, compiled, ((2, 32**3), (2,)), strict=True):
        assert type(ours) is np.ndarray and ours.dtype == np.float32 and ours.shape == shape
        np.testing.assert_allclose(ours, theirs, atol=1e-3)


def test_the_shipped_weights_have_the_shapes_that_are_fitted():
    fresh = jax.eval_shape(fit.init, jax.random.key(0))
    shipped = network.shipped_weights()
    assert {k: v.shape for k, v in shipped.items()} == {k: v.shape for k, v in fresh.items()}


def test_examples_show_the_joint_where_they_say(knees):
    rng = np.random.default_rng(1)
    made = [examples.example(rng, knees) for _ in range(30)]
    known = [(x, y) for x, y in made if y[0] >= 0]
    assert 10 < len(known) < 30
    for x, _ in made:
        assert x.shape == (32, 32, 32, 2) and x.dtype == np.float32
        assert set(np.unique(x[..., 1])) <= {0, 1} and x.min() >= 0 and x.max() <= 1.5
        assert (x[..., 0][x[..., 1] == 0] == 0).all()
    # The shipped network, which has seen neither these knees nor these fields, agrees.
    heat, _ = network.heat_maps(network.shipped_weights(), np.stack([x for x, _ in known]))
    errors = [
        np.abs(np.unravel_index(heat.argmax(), (32,) * 3) - y).max()
        for heat, (_, y) in zip(heat, known, strict=True)
    ]
    assert np.median(errors) < 1.5


def test_fitting_lowers_the_loss_and_a_seed_gives_the_same_weights_again(tmp_path):
    lines = []
    output = tmp_path / "weights.npz"
    plan = fit.Plan(knees=1, examples=1, steps=6, batch=1, seed=3)
    weights = fit.fit(output, plan, say=lines.append)
    assert len(lines) == 2 and "step 6 of 6" in lines[1]
    again = fit.fit(tmp_path / "again.npz", plan, say=lambda _: None)
    assert all(np.array_equal(weights[name], again[name]) for name in weights)
    with np.load(output) as stored:
        assert set(stored.files) == set(weights)
        assert stored["c2.w"].dtype == np.float16
    x, y = examples.example(np.random.default_rng(3), examples.legs(3, 1))
    fresh = fit.init(jax.random.key(3))
    loss = jax.jit(fit.loss)
    first, last = (float(loss(w, x[None], y[None])) for w in (fresh, weights))
    assert last < 0.9 * first
    with pytest.raises(InputError, match="at least 1"):
        fit.fit(output, plan._replace(knees=0))


def test_a_shift_moves_the_joint_and_leaves_nothing_behind():
    x = np.random.default_rng(0).uniform(size=(32, 32, 32, 2)).astype(np.float32)
    moved, place = fit.shifted(x, np.float32([10, 1, 20]), np.array([2, -1, 0]))
    np.testing.assert_array_equal(moved[2:, :-1], x[:-2, 1:])
    assert not moved[:2].any() and not moved[:, -1].any()
    np.testing.assert_array_equal(place, [12, 0, 20])
    _, outside = fit.shifted(x, np.float32([10, 1, 20]), np.array([0, -2, 0]))
    np.testing.assert_array_equal(outside, -1)


def test_the_loss_of_what_is_not_there_is_that_of_nowhere():
    weights = fit.init(jax.random.key(0))
    x = np.zeros((1, 32, 32, 32, 2), np.float32)
    y = np.full((1, 3), -1, np.float32)
    # All 32^3 + 1 places are equally likely at first: heat is 0 where all layers are.
    assert float(fit.loss(weights, x, y)) == pytest.approx(np.log(32**3 + 1), rel=1e-3)
