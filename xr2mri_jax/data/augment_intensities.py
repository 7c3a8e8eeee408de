"""Random augmentation of a radiograph's intensities: equalisation, levels, noise, blur, erasing."""

import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from xr2mri_jax.data import clahe

_NAMES = ("clahe", "gamma", "contrast", "brightness", "noise", "blur", "erase")
# The clip limits of the equalisation, in multiples of a histogram's mean.
_CLIP_LIMITS = (1.5, 4.0)


def is_active(strength: Mapping[str, float]) -> bool:
    """Whether any augmentation changes intensities."""
    return any(strength[name] for name in _NAMES)


def apply(image: jax.Array, key: jax.Array, strength: Mapping[str, float]) -> jax.Array:
    """Augments the intensities of a radiograph.

    Args:
      image: f32[h, w] in [0, 1].
      key: random key.
      strength: from `augment.strengths`.

    Returns:
      f32[h, w] in [0, 1].
    """
    # One draw, because every draw is a loop of its own to compile; noise has another key.
    levels, noise = (jax.random.fold_in(key, number) for number in range(2))
    drawn = jax.random.uniform(levels, (13,))
    gamma, contrast, brightness = 2 * drawn[:3] - 1
    # Interpolation can leave the range by a rounding error.
    image = jnp.clip(image, 0.0, 1.0)
    if strength["clahe"]:
        image = _equalised(image, strength["clahe"] * drawn[3], drawn[4])
    if strength["gamma"]:
        exponent = jnp.exp(strength["gamma"] * gamma)
        # XLA has vectorised exp and log for a CPU, but no vectorised power.
        image = jnp.exp(exponent * jnp.log(jnp.maximum(image, jnp.finfo(jnp.float32).tiny)))
    if strength["contrast"]:
        mean = _mean(image)
        image = (image - mean) * jnp.exp(strength["contrast"] * contrast) + mean
    if strength["brightness"]:
        image = image + strength["brightness"] * brightness
    if strength["noise"]:
        image = image + strength["noise"] * drawn[5] * normal(noise, image.shape)
    if strength["blur"]:
        image = blurred(image, strength["blur"] * drawn[6], strength["blur"])
    if strength["erase"]:
        image = _erased(image, drawn[7:], strength["erase"])
    return jnp.clip(image, 0.0, 1.0)


def normal(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Normal random numbers of 16 bits, between -4.3 and 4.3: f32[h, w].

    Half as many random words as `jax.random.normal` takes, which are most of its time on a CPU.
    """
    height, width = shape
    words = jax.random.bits(key, (-(-height // 2), width), jnp.uint32)
    # Shifted copies, because XLA would compute both parts of a concatenation for every element.
    halves = (words >> np.array([0, 16], np.uint32)[:, None, None]) & 0xFFFF
    halves = halves.reshape(-1, width)[:height]
    centred = (halves.astype(jnp.float32) + 0.5) * 2.0**-15 - 1.0
    return jax.lax.erf_inv(centred) * np.float32(2**0.5)


def blurred(image: jax.Array, sigma: jax.Array, largest: float) -> jax.Array:
    """A Gaussian blur up to 4 sigma, as `scipy.ndimage.gaussian_filter` with mode "nearest".

    Args:
      image: f32[h, w].
      sigma: standard deviation in pixels, 0 to `largest`.
      largest: sets the size of the matrices.

    Returns:
      f32[h, w]: the image between two banded matrices of weights.
    """
    reach = int(4 * largest + 0.5)
    padded = jnp.pad(image, reach, mode="edge")
    rows, columns = (_weights(size, sigma, reach) for size in image.shape)
    exact = jax.lax.Precision.HIGHEST
    return jnp.matmul(jnp.matmul(rows, padded, precision=exact), columns.T, precision=exact)


def _weights(size: int, sigma: jax.Array, reach: int) -> jax.Array:
    """f32[size, size + 2 * reach]: normalised weights of a Gaussian around each pixel."""
    away = np.arange(size + 2 * reach)[None, :] - np.arange(size)[:, None] - reach
    kernel = jnp.exp(-0.5 * jnp.square(away / jnp.maximum(sigma, 1e-3)))
    kernel = jnp.where(np.abs(away) <= jnp.floor(4 * sigma + 0.5), kernel, 0.0)
    return kernel / jnp.sum(kernel, axis=1, keepdims=True)


def _mean(image: jax.Array) -> jax.Array:
    """The mean of f32[h, w] by matrix products: XLA's sums of large arrays are slow on a CPU."""
    over_h, over_w = (np.full(size, 1 / size, np.float32) for size in image.shape)
    exact = jax.lax.Precision.HIGHEST
    return jnp.matmul(over_h, jnp.matmul(image, over_w, precision=exact), precision=exact)


def _equalised(image: jax.Array, share: jax.Array, place: jax.Array) -> jax.Array:
    """A share of the equalised image; place in [0, 1) between the smallest and largest limit."""
    low, high = (math.log(value) for value in _CLIP_LIMITS)
    clip = jnp.exp(low + (high - low) * place)
    return image + share * (clahe.equalised(image, clip) - image)


def _erased(image: jax.Array, drawn: jax.Array, largest: float) -> jax.Array:
    """Overwrites a rectangle with one value, in half of the cases; drawn f32[6] in [0, 1)."""
    height, width = image.shape
    share, aspect = largest * drawn[0], jnp.exp(2 * drawn[1] - 1)
    rows = jnp.clip(jnp.round(height * jnp.sqrt(share * aspect)), 1, height)
    columns = jnp.clip(jnp.round(width * jnp.sqrt(share / aspect)), 1, width)
    top = jnp.floor(drawn[2] * (height - rows + 1))
    left = jnp.floor(drawn[3] * (width - columns + 1))
    y, x = np.arange(height)[:, None], np.arange(width)[None, :]
    inside = (y >= top) & (y < top + rows) & (x >= left) & (x < left + columns)
    return jnp.where(inside & (drawn[4] < 0.5), drawn[5], image)
