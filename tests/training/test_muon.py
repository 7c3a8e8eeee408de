"""The orthogonal update against optax's Muon and a singular value decomposition."""

import jax
import numpy as np
import pytest
from optax import contrib

from xr2mri_jax.training import muon


@pytest.mark.parametrize("shape", [(20, 6), (6, 20), (9, 7)])
def test_singular_vectors_stay_and_values_become_alike(shape):
    matrix = np.random.default_rng(0).standard_normal(shape, np.float32)
    left, _, right = np.linalg.svd(matrix, full_matrices=False)
    found = np.asarray(jax.jit(muon.orthogonalise)(matrix))
    inner = left.T @ found @ right.T
    values = np.diag(inner)
    np.testing.assert_allclose(inner - np.diag(values), 0, atol=1e-4)
    assert values.min() > 0.4 and values.max() < 1.3


def test_updates_are_those_of_optax():
    random = np.random.default_rng(1)
    params = {
        "wide": random.standard_normal((3, 3, 2, 40), np.float32),
        "tall": random.standard_normal((3, 3, 4, 5), np.float32),
    }
    numbers = {
        name: contrib.MuonDimensionNumbers(tuple(range(p.ndim - 1)), p.ndim - 1)
        for name, p in params.items()
    }
    # The learning rate's sign turns descent into the plain update.
    theirs = contrib.muon(-1.0, beta=muon.BETA, muon_weight_dimension_numbers=lambda _: numbers)
    ours = muon.scale_by_muon()
    states = ours.init(params), theirs.init(params)
    for _ in range(3):
        gradient = jax.tree.map(lambda p: random.standard_normal(p.shape).astype("f4"), params)
        found, mine = ours.update(gradient, states[0], params)
        wanted, other = theirs.update(gradient, states[1], params)
        states = mine, other
        for name in params:
            np.testing.assert_allclose(found[name], wanted[name], atol=2e-4)
