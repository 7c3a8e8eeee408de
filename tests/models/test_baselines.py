"""PCA of radiographs against numpy's singular value decomposition."""

import numpy as np
import pytest

from xr2mri_jax.errors import InputError
from xr2mri_jax.models.baselines import fit_pca


@pytest.mark.parametrize("shape", [(10, 5, 4, 1), (30, 3, 4, 1)])
def test_equals_the_singular_value_decomposition(shape):
    images = np.random.default_rng(0).random(shape, np.float32)
    flat = images.reshape(len(images), -1)
    _, _, rows = np.linalg.svd(flat - flat.mean(0), full_matrices=False)
    model = fit_pca(images, 3)
    np.testing.assert_allclose(np.abs(np.sum(model.components * rows[:3], 1)), 1.0, atol=1e-4)
    expected = (flat - flat.mean(0)) @ rows[:3].T @ rows[:3] + flat.mean(0)
    found = model.reconstruct(images)
    np.testing.assert_allclose(found.reshape(flat.shape), expected, atol=1e-5)
    assert model.encode(images).shape == (shape[0], 3)
    assert found.dtype == np.float32


def test_all_components_reconstruct_the_training_images():
    images = np.random.default_rng(1).random((6, 4, 4, 1), np.float32)
    model = fit_pca(images, 100)
    assert model.components.shape == (5, 16)
    np.testing.assert_allclose(model.reconstruct(images), images, atol=1e-5)


def test_bad_input_is_refused():
    images = np.zeros((4, 3, 3, 1), np.float32)
    with pytest.raises(InputError, match="expected n >= 2"):
        fit_pca(images[:1], 2)
    with pytest.raises(InputError, match="k = 0"):
        fit_pca(images, 0)
    model = fit_pca(np.random.default_rng(0).random((4, 3, 3, 1), np.float32), 2)
    with pytest.raises(InputError, match="expected \\(3, 3, 1\\)"):
        model.encode(np.zeros((1, 4, 3, 1), np.float32))
