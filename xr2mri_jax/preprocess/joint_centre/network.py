"""The network that locates the tibiofemoral joint in a cube of 5 mm voxels.

One function of plain arrays, written in the operations that NumPy and JAX share (Python array API,
https://data-apis.org/array-api): `find` evaluates it in NumPy, which needs no compilation and gives
the same bits on any machine; `tools.fit_joint_centre` differentiates it in JAX.
"""

import functools
import itertools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from xr2mri_jax.files import atomic_path

# The network's input is a cube of GRID voxels of VOXEL_MM, axes as in the canonical frame: it must
# distinguish thigh from calf and front from back, not resolve cartilage.
GRID = 32
VOXEL_MM = 5.0
WEIGHTS = Path(__file__).with_name("weights.npz")
# Name, kernel edge, input channels, output channels; in the order of `logits`.
LAYERS = (
    ("c1", 1, 16, 16),
    ("c2", 3, 16, 16),
    ("d2", 3, 16, 24),
    ("d3", 3, 24, 32),
    ("c4", 3, 32, 32),
    ("u2", 3, 56, 24),
    ("u1", 1, 40, 24),
)
_BOTTOM_CHANNELS, _TOP_CHANNELS = LAYERS[4][3], LAYERS[6][3]


def network_input(array: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The network's input: f32[..., 2], intensity over its 99th percentile, and the field.

    Args:
      array: real [...], any range.
      mask: bool[...], the acquired field.
    """
    high = float(np.percentile(array[mask], 99)) if mask.any() else 0.0
    scaled = np.clip(array / high, 0.0, 1.5) if high > 0 else np.zeros_like(array)
    return np.stack([np.where(mask, scaled, 0.0), mask], axis=-1).astype(np.float32)


def logits(weights: Mapping[str, Any], x: Any) -> tuple[Any, Any]:
    """A U-shaped network of convolutions with instance normalisation (Ronneberger et al. 2015).

    Args:
      weights: arrays of the same library as `x`, by layer: kernels f32[3, 3, 3, in, out] or
        f32[1, 1, 1, in, out] ("c1.w"), scales and offsets f32[out] ("c1.s", "c1.b"); the heads
        "heat" f32[24, 8] and "null" f32[33].
      x: f32[b, GRID, GRID, GRID, 2] of `network_input`, a NumPy or a JAX array.

    Returns:
      f32[b, GRID^3], the logit of the joint's centre in each voxel, and f32[b], the logit of a
      joint outside the field, before a softmax over both.
    """
    xp = x.__array_namespace__()

    def layer(name: str, *parts: Any, stride: int = 1) -> Any:
        values = _convolve(xp.concat(parts, axis=-1), weights[f"{name}.w"], stride)
        values = values - xp.mean(values, axis=(1, 2, 3), keepdims=True)
        variance = xp.mean(values * values, axis=(1, 2, 3), keepdims=True)
        values = values / xp.sqrt(variance + 1e-3)
        return xp.maximum(values * weights[f"{name}.s"] + weights[f"{name}.b"], 0.0)

    half = layer("c2", layer("c1", _folded(x)))
    quarter = layer("d2", half, stride=2)
    eighth = layer("c4", layer("d3", quarter, stride=2))
    up = layer("u2", _doubled(eighth), quarter)
    up = layer("u1", _doubled(up), half)
    null = weights["null"]
    nowhere = xp.mean(eighth, axis=(1, 2, 3)) @ null[:-1] + null[-1]
    return _unfolded(up @ weights["heat"]), 4.0 * nowhere


def heat_maps(weights: Mapping[str, np.ndarray], x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The probabilities, evaluated in NumPy.

    Args:
      weights: as `logits` takes them.
      x: f32[b, GRID, GRID, GRID, 2] of `network_input`.

    Returns:
      f64[b, GRID, GRID, GRID], the probability that the joint's centre is in the voxel, and f64[b],
      their sum: the probability that it is in the field.
    """
    heat, nowhere = (part.astype(np.float64) for part in logits(weights, x))
    top = np.maximum(heat.max(axis=1), nowhere)
    heat = np.exp(heat - top[:, None])
    inside = heat.sum(axis=1)
    total = inside + np.exp(nowhere - top)
    shape = (len(x), GRID, GRID, GRID)
    return (heat / total[:, None]).reshape(shape), inside / total


def save_weights(path: str | os.PathLike[str], weights: Mapping[str, Any]) -> None:
    """Writes weights as .npz, atomically: kernels as float16, all else as float32."""
    stored: dict[str, Any] = {
        name: np.asarray(value, np.float16 if name.endswith(".w") else np.float32)
        for name, value in weights.items()
    }
    with atomic_path(path) as partial, partial.open("wb") as stream:
        np.savez_compressed(stream, **stored)


@functools.cache
def shipped_weights() -> dict[str, np.ndarray]:
    """The shipped weights with the package, float32."""
    with np.load(WEIGHTS) as stored:
        return {name: stored[name].astype(np.float32) for name in stored.files}


def _convolve(x: Any, kernel: Any, stride: int) -> Any:
    """Convolution of [b, n, n, n, in] with zero padding, as one matrix product."""
    if kernel.shape[0] == 1:
        return x @ kernel[0, 0, 0]
    xp = x.__array_namespace__()
    n, c = x.shape[1], x.shape[-1]
    for axis in (1, 2, 3):
        edge = xp.zeros_like(x[tuple(slice(1) if a == axis else slice(None) for a in range(5))])
        x = xp.concat((edge, x, edge), axis=axis)
    taps = [
        x[:, i : i + n : stride, j : j + n : stride, k : k + n : stride]
        for i, j, k in itertools.product(range(3), repeat=3)
    ]
    return xp.concat(taps, axis=-1) @ xp.reshape(kernel, (27 * c, -1))


def _folded(x: Any) -> Any:
    """Blocks of 2 x 2 x 2 voxels as channels: the finest level costs an eighth that way."""
    xp = x.__array_namespace__()
    b, n, c = x.shape[0], x.shape[1] // 2, x.shape[-1]
    blocks = xp.reshape(x, (b, n, 2, n, 2, n, 2, c))
    return xp.reshape(xp.permute_dims(blocks, (0, 1, 3, 5, 2, 4, 6, 7)), (b, n, n, n, 8 * c))


def _unfolded(x: Any) -> Any:
    """Eight channels as blocks of 2 x 2 x 2 voxels: [b, n, n, n, 8] to [b, (2 n)^3]."""
    xp = x.__array_namespace__()
    b, n = x.shape[0], x.shape[1]
    blocks = xp.permute_dims(xp.reshape(x, (b, n, n, n, 2, 2, 2)), (0, 1, 4, 2, 5, 3, 6))
    return xp.reshape(blocks, (b, -1))


def _doubled(x: Any) -> Any:
    """Repeats every voxel of [b, n, n, n, c] twice along each axis."""
    xp = x.__array_namespace__()
    for axis in (1, 2, 3):
        x = xp.repeat(x, 2, axis=axis)
    return x
