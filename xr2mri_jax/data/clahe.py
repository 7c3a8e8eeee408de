"""Contrast-limited adaptive histogram equalisation of a radiograph.

Zuiderveld 1994, Graphics Gems IV, VIII.5: each tile of the image has a histogram, which is clipped;
a pixel's value is mapped by the cumulative histograms of the four nearest tiles.
"""

import jax
import jax.numpy as jnp
import numpy as np

TILES = 8
BINS = 256


def equalised(
    image: jax.Array, clip_limit: jax.Array | float, tiles: int = TILES, bins: int = BINS
) -> jax.Array:
    """The equalised image.

    Args:
      image: f32[h, w] in [0, 1].
      clip_limit: largest count of a bin, in multiples of the mean count, at least 1; the excess is
        divided equally among all bins.
      tiles: along each axis; the image is mirrored at its far edges to a multiple of them.
      bins: of each histogram; within a bin the map is linear.

    Returns:
      f32[h, w] in [0, 1].
    """
    height, width = image.shape
    more = [(0, -size % tiles) for size in image.shape]
    padded = jnp.pad(image, more, mode="symmetric")
    rows, columns = (size // tiles for size in padded.shape)
    bin_of = jnp.clip((padded * bins).astype(jnp.int32), 0, bins - 1)
    tile_row, tile_column = (
        np.arange(size) // n for size, n in zip(padded.shape, (rows, columns), strict=True)
    )
    tile_of = tile_row[:, None] * tiles + tile_column
    counts = jnp.zeros(tiles * tiles * bins, jnp.int32)
    counts = counts.at[(tile_of * bins + bin_of).ravel()].add(1, mode="promise_in_bounds")
    maps = _cumulative(counts.reshape(tiles * tiles, bins), clip_limit, rows * columns)
    value = image * bins
    first = bin_of[:height, :width]
    within = value - first
    flat = maps.ravel()

    def mapped(tile: np.ndarray) -> jax.Array:
        place = tile * (bins + 1) + first
        low, high = (flat.at[p].get(mode="promise_in_bounds") for p in (place, place + 1))
        return low + within * (high - low)

    (up, down, below), (left, right, beside) = (
        _neighbours(size, pixels, tiles) for size, pixels in ((height, rows), (width, columns))
    )
    up, down, below = up[:, None] * tiles, down[:, None] * tiles, below[:, None]
    upper = mapped(up + left) * (1 - beside) + mapped(up + right) * beside
    lower = mapped(down + left) * (1 - beside) + mapped(down + right) * beside
    return upper * (1 - below) + lower * below


def _cumulative(counts: jax.Array, clip_limit: jax.Array | float, pixels: int) -> jax.Array:
    """Maps histograms i32[n, bins] to values at the bins' edges: f32[n, bins + 1] from 0 to 1."""
    bins = counts.shape[1]
    share = counts.astype(jnp.float32) / pixels
    clipped = jnp.minimum(share, clip_limit / bins)
    clipped = clipped + (1.0 - jnp.sum(clipped, axis=1, keepdims=True)) / bins
    summed = jnp.minimum(jnp.cumsum(clipped, axis=1), 1.0)
    return jnp.pad(summed, ((0, 0), (1, 0)))


def _neighbours(size: int, pixels: int, tiles: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The two nearest tiles of each pixel along an axis, and the weight of the second."""
    place = np.clip((np.arange(size) + 0.5) / pixels - 0.5, 0, tiles - 1)
    first = np.floor(place).astype(np.int32)
    second = np.minimum(first + 1, tiles - 1)
    return first, second, (place - first).astype(np.float32)
