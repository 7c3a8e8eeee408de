"""The fitting loop: batches follow their seed, the loss falls, a stopped run goes on."""

import dataclasses

import jax
import numpy as np
import pytest

from xr2mri_jax.preprocess.knee_finder import network
from xr2mri_jax.tools.fit_knee_finder import fit
from xr2mri_jax.tools.fit_knee_finder.pictures import Picture, nowhere


@pytest.fixture(scope="module")
def pools():
    image = np.zeros((96, 96), np.uint8)
    image[40:70, 30:60] = 200
    points = nowhere()
    points[1] = [[55.0, 45.0], [50.0, 30.0], [50.0, 60.0]]
    return {"film": [Picture(image, points)], "none": [Picture(image[::-1], nowhere())]}


def test_batches_follow_their_seed(pools):
    shares = {"film": 0.5, "film_zoom": 0.3, "none": 0.2}
    drawn = []
    for seed in (1, 1, 2):
        source = fit.batches(pools, shares, 3, seed)
        drawn.append([next(source) for _ in range(2)])
        source.close()
    for one, other in zip(drawn[0], drawn[1], strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])
    assert not np.array_equal(drawn[0][0][0], drawn[2][0][0])


def test_training_learns_and_saves(pools):
    source = fit.batches(pools, {"film": 1.0}, 2, 0)
    fresh = network.initial(jax.random.key(0))
    views, targets = next(source)
    value = jax.jit(fit.loss)
    before = float(value(fresh, views, targets))
    kept = []
    state = fit.State(fresh, fresh, None)
    state = fit.train(state, source, 12, 1e-2, lambda now: kept.append(dataclasses.replace(now)))
    source.close()
    assert state.step == 12 and [saved.step for saved in kept] == [12]
    assert float(value(state.parameters, views, targets)) < before - 0.5
    assert fit.train(state, iter(()), 12, 1e-2, kept.append) is state  # nothing is left to do
