"""Tests that the joint centre's network learns, is stored, and is the one that numpy runs."""

import jax
import numpy as np
import pytest

from xr2mri_jax.errors import InputError
from xr2mri_jax.preprocess import joint_centre
from xr2mri_jax.tools.fit_joint_centre import examples, fit


@pytest.fixture(scope="module")
def knees():
    return examples.legs(5, 2)


def test_numpy_runs_the_network_that_jax_fits():
    weights = joint_centre._weights()
    x = np.random.default_rng(0).uniform(size=(1, 32, 32, 32, 2)).astype(np.float32)
    heat, nowhere = fit.logits(weights, x)
    expected = np.asarray(jax.nn.softmax(np.concatenate([heat[0], nowhere])))
    found, seen = joint_centre.heat_map(weights, x[0])
    np.testing.assert_allclose(found.ravel(), expected[:-1], rtol=2e-3, atol=1e-7)
    assert seen == pytest.approx(1 - expected[-1], abs=1e-4)


def test_the_shipped_weights_have_the_shapes_that_are_fitted():
    fresh = jax.eval_shape(fit.init, jax.random.key(0))
    shipped = joint_centre._weights()
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
    errors = [
        np.abs(np.unravel_index(joint_centre.heat_map(joint_centre._weights(), x)[0].argmax(),
                                (32,) * 3) - y).max()
        for x, y in known
    ]  # fmt: skip
    assert np.median(errors) < 1.5


def test_fitting_lowers_the_loss_and_writes_the_weights(tmp_path):
    lines = []
    output = tmp_path / "weights.npz"
    weights = fit.fit(output, knees=1, examples=1, steps=20, batch=1, seed=3, say=lines.append)
    assert len(lines) == 1 and "step 20 of 20" in lines[0]
    with np.load(output) as stored:
        assert set(stored.files) == set(weights)
        assert stored["c2.w"].dtype == np.float16
    x, y = examples.example(np.random.default_rng(3), examples.legs(3, 1))
    fresh = fit.init(jax.random.key(3))
    loss = jax.jit(fit.loss)
    first, last = (float(loss(w, x[None], y[None])) for w in (fresh, weights))
    assert last < 0.8 * first
    with pytest.raises(InputError, match="expected 1 up"):
        fit.fit(output, knees=0)


def test_the_loss_of_what_is_not_there_is_that_of_nowhere():
    weights = fit.init(jax.random.key(0))
    x = np.zeros((1, 32, 32, 32, 2), np.float32)
    y = np.full((1, 3), -1, np.float32)
    # All 32^3 + 1 places are equally likely at first: heat is 0 where all layers are.
    assert float(fit.loss(weights, x, y)) == pytest.approx(np.log(32**3 + 1), rel=1e-3)
