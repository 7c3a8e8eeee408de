"""Tests of the Gaussian filters as products against SciPy's."""

import numpy as np
import pytest
from scipy import ndimage

from xr2mri_jax.preprocess import blur


@pytest.mark.parametrize("mode", ["reflect", "nearest"])
def test_as_scipy(mode):
    image = np.random.default_rng(0).random((67, 40), np.float32)
    found = blur.gaussian(image, (12, 6), mode)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, ndimage.gaussian_filter(image, (12, 6), mode=mode), 2e-6)


def test_a_derivative():
    image = np.random.default_rng(1).random((30, 20), np.float32)
    wanted = ndimage.gaussian_filter1d(image, 2.0, axis=0, order=1)
    np.testing.assert_allclose(blur.along_rows(image, 2.0, 1), wanted, atol=1e-6)
