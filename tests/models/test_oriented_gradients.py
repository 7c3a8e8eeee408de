"""Tests of oriented gradients: hand-made edges, and a slow reference with scipy."""

import jax
import numpy as np
import pytest
from scipy import ndimage

from xr2mri_jax.errors import InputError
from xr2mri_jax.models.oriented_gradients import DIRECTIONS, GRIDS, oriented_gradients


def reference(image, count):
    """One image f64[n, n], pixel by pixel."""
    size = len(image)
    down, right = np.gradient(ndimage.gaussian_filter(image, 0.7))
    shares = np.zeros((DIRECTIONS, count, count))
    width = size // count
    for row in range(size):
        for column in range(size):
            angle = np.arctan2(down[row, column], right[row, column]) % (2 * np.pi)
            turned = angle / (2 * np.pi) * DIRECTIONS
            low = int(turned)
            high = turned - low
            length = np.hypot(down[row, column], right[row, column]) / width**2
            shares[low % DIRECTIONS, row // width, column // width] += (1 - high) * length
            shares[(low + 1) % DIRECTIONS, row // width, column // width] += high * length
    near = ndimage.gaussian_filter(np.sqrt((shares**2).sum(axis=0)), count / 16)
    return shares / (near + 0.02)


def test_gradients_equal_a_slow_reference_jitted_and_not():
    images = np.random.default_rng(0).random((2, 64, 64, 1))
    for function in (oriented_gradients, jax.jit(oriented_gradients)):
        found = function(images.astype(np.float32))
        assert [part.shape for part in found] == [(2, DIRECTIONS, n, n) for n in GRIDS]
        for part, count in zip(found, GRIDS, strict=True):
            wanted = np.stack([reference(image[..., 0], count) for image in images])
            np.testing.assert_allclose(part, wanted, rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize(
    ("axis", "sign", "direction"), [(2, 1, 0), (1, 1, 2), (2, -1, 4), (1, -1, 6)]
)
def test_a_ramp_has_one_direction_and_contrast_hardly_matters(axis, sign, direction):
    ramp = np.linspace(0, 1, 64, dtype=np.float32)[::sign]
    shape = [1, 1, 1, 1]
    shape[axis] = 64
    image = np.ascontiguousarray(np.broadcast_to(ramp.reshape(shape), (1, 64, 64, 1)))
    found = np.asarray(oriented_gradients(image)[1])[0, :, 4:-4, 4:-4]
    assert np.all(found.argmax(axis=0) == direction)
    np.testing.assert_allclose(np.delete(found, direction, axis=0), 0, atol=1e-3)
    strong = np.asarray(oriented_gradients(50 * image)[1])[0, direction, 4:-4, 4:-4]
    np.testing.assert_allclose(strong, 1, atol=0.05)


@pytest.mark.parametrize("shape", [(1, 48, 48, 1), (1, 64, 32, 1)])
def test_a_size_that_the_grids_do_not_divide_is_refused(shape):
    with pytest.raises(InputError, match="expected a square whose side is a multiple of 32"):
        oriented_gradients(np.zeros(shape, np.float32))
