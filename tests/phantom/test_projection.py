"""Tests of the radiograph's projection and blur."""

import jax
import jax.numpy as jnp
import numpy as np

from xr2mri_jax.phantom import radiograph


def test_line_integral_follows_beer_and_lambert():
    attenuation = jnp.full((10, 8, 8), 0.02).at[:, 4:, :].set(0.04)
    path = 10 * 2.0 * attenuation[0]
    expected = radiograph.scale(path, (16.0, 16.0))
    image = radiograph.expose(attenuation, 2.0, (16.0, 16.0), jax.random.key(0))
    assert np.asarray(image)[6, 4, 0] > np.asarray(image)[1, 4, 0]
    assert np.corrcoef(np.ravel(image), np.ravel(expected))[0, 1] > 0.98


def test_blur_keeps_a_constant_and_equals_a_direct_sum():
    constant = radiograph.gaussian_blur(jnp.full((9, 7), 3.0), 2.0, (1.0, 1.0))
    np.testing.assert_allclose(constant, 3.0, rtol=1e-6)
    image = jnp.zeros((21, 21)).at[10, 10].set(1.0)
    blurred = jax.jit(lambda im: radiograph.gaussian_blur(im, 2.0, (1.0, 2.0)))(image)
    rows = np.exp(-0.5 * ((np.arange(21) - 10) / 2.0) ** 2)
    columns = np.exp(-0.5 * ((np.arange(21) - 10) / 1.0) ** 2)
    direct = np.outer(rows / rows.sum(), columns / columns.sum())
    np.testing.assert_allclose(blurred, direct, atol=3e-5)
