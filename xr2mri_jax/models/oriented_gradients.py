"""Oriented gradients of radiographs on three grids, after Dalal and Triggs (CVPR 2005).

A gradient of an image shares its magnitude between the two nearest of eight directions. The shares
are averaged over the cells of a grid and divided by the magnitude in the neighbourhood, so that
contrast matters little and the direction of edges remains: the outlines of bones.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from scipy import ndimage

from xr2mri_jax.errors import InputError

DIRECTIONS = 8
# Cells each way: of 4, 8 and 16 mm in the canonical box of 128 mm.
GRIDS = (32, 16, 8)
# Blur of an image before its gradient, in pixels, and of the magnitudes, as a share of the image.
_BLUR, _NEIGHBOURHOOD = 0.7, 1 / 16
# Added to the magnitude of the neighbourhood, of gradients of intensities in [0, 1] per pixel.
_CONTRAST_FLOOR = 0.02


def oriented_gradients(xray: jax.Array) -> list[jax.Array]:
    """Oriented gradients on every grid of GRIDS.

    Args:
      xray: f32[b, n, n, 1] in [0, 1]; n is a multiple of the finest grid.

    Returns:
      f32[b, DIRECTIONS, cells, cells] by grid. Direction k points k / DIRECTIONS of a turn from the
      right towards below, from dark to bright.

    Raises:
      InputError: the image is not square, or n does not fit.
    """
    size = xray.shape[1]
    if xray.shape[2] != size or size % GRIDS[0]:
        raise InputError(
            f"radiographs: found {size} x {xray.shape[2]} pixels, expected a square whose side is "
            f"a multiple of {GRIDS[0]}"
        )
    image = _smoothed(xray[..., 0].astype(jnp.float32), _BLUR)
    down, right = jnp.gradient(image, axis=(1, 2))
    magnitude = jnp.hypot(down, right)
    turned = jnp.mod(jnp.arctan2(down, right) / (2 * np.pi), 1.0) * DIRECTIONS
    # The share of a direction falls linearly to 0 at its neighbours.
    distance = jnp.abs(turned[:, None] - jnp.arange(DIRECTIONS)[None, :, None, None])
    share = jnp.clip(1.0 - jnp.minimum(distance, DIRECTIONS - distance), 0.0, 1.0)
    return [_cells(magnitude[:, None] * share, count) for count in GRIDS]


def _cells(values: jax.Array, count: int) -> jax.Array:
    batch, directions, size, _ = values.shape
    width = size // count
    means = values.reshape(batch, directions, count, width, count, width).mean(axis=(3, 5))
    magnitude = _smoothed(jnp.sqrt(jnp.square(means).sum(axis=1)), _NEIGHBOURHOOD * count)
    return means / (magnitude[:, None] + _CONTRAST_FLOOR)


def _smoothed(image: jax.Array, sigma: float) -> jax.Array:
    """A Gaussian blur of f32[b, n, n], as `scipy.ndimage.gaussian_filter`."""
    weights = jnp.asarray(_blur_weights(image.shape[-1], sigma))
    return jnp.einsum("ij,bjk,lk->bil", weights, image, weights, precision="highest")


@functools.lru_cache(maxsize=16)
def _blur_weights(size: int, sigma: float) -> np.ndarray:
    weights = ndimage.gaussian_filter1d(np.eye(size), sigma, axis=0)
    return np.asarray(weights, np.float32)
