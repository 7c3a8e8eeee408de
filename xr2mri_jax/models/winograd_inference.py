"""3x3 convolution by Winograd's F(4x4, 3x3) with kernels transformed in advance.

Without gradients little has to be kept, and the transforms are written so that XLA's CPU backend
makes one pass over the tiles for each. With a few images at a time, which stay in the processor's
cache, 64 and more channels take half the time of XLA's own convolution or less, and 32 channels two
thirds.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from xr2mri_jax.models.winograd import INPUT, KERNEL, OUTPUT, TILE, WINDOW, combined

# Number of channels from which this form is faster on a CPU.
CHANNELS = 32


def usable(size: int, channels: int) -> bool:
    """Whether `convolve` accepts square images of `size` pixels, and is faster for them."""
    return size % TILE == 0 and channels >= CHANNELS


def transformed(kernel: np.ndarray) -> np.ndarray:
    """f64[..., 3, 3, c, o] to f32[..., 36, c, o]: G k G^T."""
    matrix = KERNEL.astype(np.float64)
    found = np.einsum("ia,jb,...abco->...ijco", matrix, matrix, kernel, optimize=True)
    return found.reshape(*kernel.shape[:-4], WINDOW**2, *kernel.shape[-2:]).astype(np.float32)


def transposed_kernel(kernel: np.ndarray) -> np.ndarray:
    """Converts a kernel [..., 3, 3, c, o] to that of the image's gradient, [..., 3, 3, o, c]."""
    return np.swapaxes(kernel[..., ::-1, ::-1, :, :], -1, -2)


def convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """3x3 convolution of stride 1 with zero padding of one pixel.

    Args:
      x: f32[b, h, w, c], with sizes that are multiples of 4.
      kernel: f32[36, c, o] from `transformed`.

    Returns:
      f32[b, h, w, o].
    """
    batch, height, width, _ = x.shape
    tall, wide = height // TILE, width // TILE
    # A tile's pixels separate from the tiles: [b, t, 4, u, 4, c], with one more tile at the end.
    padded = jnp.pad(x, ((0, 0), (1, TILE - 1), (1, TILE - 1), (0, 0)))
    tiles = padded.reshape(batch, tall + 1, TILE, wide + 1, TILE, -1)
    across = jnp.stack([combined(weights, _window(tiles, 3)) for weights in INPUT])
    windows = jnp.stack([combined(weights, _window(across, 2)) for weights in INPUT])
    products = jax.lax.dot_general(
        windows.reshape(WINDOW**2, batch * tall * wide, -1), kernel, (((2,), (1,)), ((0,), (0,)))
    ).reshape(WINDOW, WINDOW, batch, tall, wide, -1)
    columns = [products[:, column] for column in range(WINDOW)]
    pixels = jnp.stack([combined(weights, columns) for weights in OUTPUT], axis=4)
    rows = [pixels[row] for row in range(WINDOW)]
    pixels = jnp.stack([combined(weights, rows) for weights in OUTPUT], axis=2)
    return pixels.reshape(batch, height, width, -1)


def _window(tiles: jax.Array, axis: int) -> Sequence[jax.Array]:
    """The six rows or columns of each window: tiles along `axis`, a tile's pixels in the next."""
    count = tiles.shape[axis] - 1
    own, behind = (jax.lax.slice_in_dim(tiles, i, i + count, axis=axis) for i in (0, 1))
    parts = [(own, pixel) for pixel in range(TILE)] + [(behind, 0), (behind, 1)]
    return [jax.lax.index_in_dim(part, i, axis=axis + 1, keepdims=False) for part, i in parts]
