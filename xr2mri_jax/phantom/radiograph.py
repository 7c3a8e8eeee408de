"""Simulated radiograph: Beer-Lambert projection along d, detector, processing to [0, 1]."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

# Photons counted by a pixel in the open beam, median over exposures.
PHOTONS = 1e5
# Share of scattered photons behind the grid, and the width (mm) over which they spread.
SCATTER, SCATTER_MM = 0.12, 18.0
# Blur of focal spot, screen and pixel, mm.
BLUR_MM = 0.5
# Share of the slow part (over TISSUE_MM) that the processing removes, as harmonisation does.
HARMONISED, TISSUE_MM = 0.55, 16.0
# Percentiles of the processed image that become 0 and 1: those of `preprocess.radiograph`, so that
# it does not change a simulated radiograph that is read from a file.
WINDOW = (1.0, 99.0)


def expose(
    attenuation: jax.Array, depth_mm: float, pixel_mm: Sequence[float], key: jax.Array
) -> jax.Array:
    """Takes the radiograph of an attenuation volume.

    The detector counts I = N exp(-sum(mu) depth_mm) photons, blurred, with scatter; noise has the
    variance of a Poisson count (its normal limit is used at these counts); the logarithm is
    harmonised and scaled by fixed percentiles.

    Args:
      attenuation: f32[d, h, w], 1/mm.
      depth_mm: size of a voxel along d, mm.
      pixel_mm: size of a pixel along (h, w), mm.
      key: typed key of exposure and noise.

    Returns:
      f32[h, w, 1] in [0, 1], bone bright.
    """
    path = jnp.sum(attenuation, axis=0) * depth_mm
    primary = gaussian_blur(jnp.exp(-path), BLUR_MM, pixel_mm)
    scattered = gaussian_blur(primary, SCATTER_MM, pixel_mm)
    exposure, quantum = jax.random.split(key)
    photons = PHOTONS * jnp.exp(0.4 * jnp.clip(jax.random.normal(exposure), -2.0, 2.0))
    counts = photons * (primary + SCATTER * scattered)
    noise = jax.random.normal(quantum, counts.shape)
    counts = jnp.maximum(counts + jnp.sqrt(counts) * noise, 1.0)
    return scale(jnp.log(photons) - jnp.log(counts), pixel_mm)


def scale(line_integral: jax.Array, pixel_mm: Sequence[float]) -> jax.Array:
    """The fixed processing: f32[h, w] line integrals -> f32[h, w, 1] in [0, 1], bone bright."""
    slow = gaussian_blur(line_integral, TISSUE_MM, pixel_mm)
    detail = line_integral - HARMONISED * slow
    low, high = jnp.percentile(detail, jnp.array(WINDOW))
    return jnp.clip((detail - low) / jnp.maximum(high - low, 1e-6), 0.0, 1.0)[..., None]


def gaussian_blur(image: jax.Array, sigma_mm: float, pixel_mm: Sequence[float]) -> jax.Array:
    """Gaussian blur of f32[h, w] by two matrix products; weights are normalised at the border."""
    rows, columns = (
        jnp.asarray(_weights(n, sigma_mm / size))
        for n, size in zip(image.shape, pixel_mm, strict=True)
    )
    blurred = jnp.matmul(rows, image, precision="highest")
    return jnp.matmul(blurred, columns.T, precision="highest")


def _weights(n: int, sigma: float) -> np.ndarray:
    index = np.arange(n)
    weights = np.exp(-0.5 * ((index[:, None] - index[None, :]) / sigma) ** 2)
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)
