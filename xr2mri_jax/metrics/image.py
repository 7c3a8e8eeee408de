"""Image metrics, one value per example: PSNR, structural similarity in 2D and 3D, absolute error.

Convention for all metrics: intensities have data range 1. Averages are taken over voxels with mask
1. The intensities of voxels with mask 0 have no influence.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from xr2mri_jax.metrics.masked import checked, masked_mean

Array = jax.Array | np.ndarray

WINDOW = 11
SIGMA = 1.5
K1, K2 = 0.01, 0.03
LEAST_MSE = 1e-10

CONVENTION: dict[str, Any] = {
    "data_range": 1.0,
    "mask": "only voxels inside the acquired field are used; voxels outside it have no influence",
    "psnr": f"10 log10(1 / mean squared error inside the mask), per case; the error is at least "
    f"{LEAST_MSE:g}",
    "ssim": {
        "window": "gaussian",
        "size": WINDOW,
        "sigma": SIGMA,
        "k1": K1,
        "k2": K2,
        "covariance": "population (weights sum to 1)",
        "border": "window weights renormalised over the voxels inside the array and the mask; "
        "mean of the map over all voxels inside the mask",
    },
    "mae": "mean absolute error inside the mask, per case",
}


def mae(prediction: Array, target: Array, mask: Array | None = None) -> jax.Array:
    """Mean absolute error inside the mask.

    Args:
      prediction: f32[b, ...] in [0, 1].
      target: f32[b, ...] in [0, 1], same shape.
      mask: [b, ...] of the same shape, 1 for included voxels; None: all.

    Returns:
      f32[b]; 0 for an example whose mask is empty.

    Raises:
      ValueError: if shapes differ.
    """
    prediction, target, mask = checked(prediction, target, mask)
    return _mean(jnp.abs(prediction - target), mask)


def mse(prediction: Array, target: Array, mask: Array | None = None) -> jax.Array:
    """Mean squared error inside the mask: f32[b]; arguments as for `mae`."""
    prediction, target, mask = checked(prediction, target, mask)
    return _mean(jnp.square(prediction - target), mask)


def psnr(prediction: Array, target: Array, mask: Array | None = None) -> jax.Array:
    """Peak signal-to-noise ratio in dB for a peak of 1: f32[b]; arguments as for `mae`.

    The mean squared error is taken per example and floored at 1e-10, so that equal images give
    100 dB rather than infinity.
    """
    error = mse(prediction, target, mask)
    return -10.0 / math.log(10.0) * jnp.log(jnp.maximum(error, LEAST_MSE))


def ssim2d(prediction: Array, target: Array, mask: Array | None = None) -> jax.Array:
    """Structural similarity of 2D images, averaged inside the mask.

    Wang et al. 2004 (doi 10.1109/TIP.2003.819861): Gaussian window of 11, sigma 1.5, K1 0.01,
    K2 0.03, data range 1, population covariance; each channel separately. At the border of the
    array and of the mask the window's weights are renormalised over the included voxels, so axes
    shorter than the window are allowed. At 5 voxels or more from every border, the map equals
    scikit-image's with `gaussian_weights=True, sigma=1.5, use_sample_covariance=False`.

    Args:
      prediction: f32[b, h, w, c] in [0, 1].
      target: f32[b, h, w, c] in [0, 1].
      mask: [b, h, w, c], 1 for included pixels; None: all.

    Returns:
      f32[b] in [-1, 1]; 0 for an example whose mask is empty.

    Raises:
      ValueError: if shapes differ or the rank is not 4.
    """
    return _ssim(prediction, target, mask, rank=4)


def ssim3d(prediction: Array, target: Array, mask: Array | None = None) -> jax.Array:
    """Structural similarity of volumes with a 3D window; otherwise as `ssim2d`.

    Args:
      prediction: f32[b, d, h, w, c] in [0, 1].
      target: f32[b, d, h, w, c] in [0, 1].
      mask: [b, d, h, w, c], 1 for included voxels; None: all.

    Returns:
      f32[b] in [-1, 1]; 0 for an example whose mask is empty.

    Raises:
      ValueError: if shapes differ or the rank is not 5.
    """
    return _ssim(prediction, target, mask, rank=5)


def ssim_map(prediction: Array, target: Array, mask: Array | None = None) -> jax.Array:
    """SSIM at every voxel, before averaging.

    Args:
      prediction: f32[b, *spatial, c] in [0, 1]; two or three spatial axes.
      target: the same shape.
      mask: the same shape or None.

    Returns:
      f32[b, *spatial, c]; 0 where the mask is 0.

    Raises:
      ValueError: if shapes differ.
    """
    prediction, target, mask = checked(prediction, target, mask)
    inside: Any = jnp.ones_like(prediction) if mask is None else (mask > 0).astype(jnp.float32)
    c1, c2 = K1**2, K2**2
    # Subtracting an offset does not change the variances. Without it, float32 rounding in the
    # difference of squares would destroy the variances of bright, flat images.
    (p, shift_p), (t, shift_t) = (_centred(x, inside) for x in (prediction, target))
    blurred = [_blur(x) for x in (p, t, p**2, t**2, p * t)]
    if mask is not None:
        scale = inside / jnp.where(mask > 0, _blur(mask), 1.0)
        blurred = [x * scale for x in blurred]
    mean_p, mean_t, pp, tt, pt = blurred
    variances = pp + tt - mean_p**2 - mean_t**2
    covariance = pt - mean_p * mean_t
    mean_p, mean_t = mean_p + shift_p, mean_t + shift_t
    luminance = (2 * mean_p * mean_t + c1) / (mean_p**2 + mean_t**2 + c1)
    return inside * luminance * (2 * covariance + c2) / (variances + c2)


def _centred(images: Any, inside: Any) -> tuple[Any, Any]:
    """Images minus their mean inside the mask, 0 outside, and that mean (without gradient)."""
    axes = tuple(range(1, images.ndim - 1))
    kept = jnp.where(inside > 0, images, 0.0)
    count = jnp.maximum(jnp.sum(inside, axis=axes, keepdims=True), 1.0)
    mean = jax.lax.stop_gradient(jnp.sum(kept, axis=axes, keepdims=True) / count)
    return jnp.where(inside > 0, images - mean, 0.0), mean


def _ssim(prediction: Any, target: Any, mask: Any, rank: int) -> Any:
    if jnp.ndim(prediction) != rank:
        raise ValueError(
            f"prediction has shape {jnp.shape(prediction)}, expected {rank} axes: batch, "
            f"{rank - 2} spatial axes, channel"
        )
    similarity = ssim_map(prediction, target, mask)
    return _mean(similarity, None if mask is None else jnp.asarray(mask, jnp.float32))


def _mean(values: Any, mask: Any) -> jax.Array:
    """`masked_mean` corrected by the mean residual: a float32 sum of a million voxels drifts."""
    first = jax.lax.stop_gradient(masked_mean(values, mask))
    return first + masked_mean(values - first.reshape(-1, *[1] * (values.ndim - 1)), mask)


def _blur(images: Any) -> Any:
    """Gaussian window along every spatial axis of f32[b, *spatial, c], renormalised at the borders.

    Uses one banded matrix product per axis. On the CPU this is faster than a grouped convolution
    with one channel, and it keeps the axis order.
    """
    for axis in range(1, images.ndim - 1):
        band = _window_matrix(images.shape[axis])
        blurred = jnp.tensordot(images, band, axes=((axis,), (1,)), precision="highest")
        images = jnp.moveaxis(blurred, -1, axis)
    return images


def _window_matrix(size: int) -> np.ndarray:
    """f32[size, size]: row i holds the window centred on i, truncated at the borders, sum 1."""
    offset = np.arange(size)[None, :] - np.arange(size)[:, None]
    weights = np.exp(-0.5 * (offset / SIGMA) ** 2) * (np.abs(offset) <= WINDOW // 2)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
