"""The knee finder's network in a form for inference on a CPU.

The probabilities equal those of `network.probabilities` up to rounding, in 60 % of the time.
XLA's CPU backend multiplies matrices with few columns slowly, and a layer of 12 channels has 12.
The layers in WIDER therefore compute two neighbouring pixels as one pixel of twice the channels,
with a kernel that holds the layer's own kernel twice. The sums of the group normalisation are taken
by channel first, over pixels, which XLA vectorises.
"""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from jax import lax

from xr2mri_jax.preprocess.knee_finder.network import (
    CELLS,
    GROUPS,
    POINTS,
    SIDES,
    WIDTHS,
    load_weights,
)

# Layers with twice the channels: the first one and those of the largest maps.
WIDER = ("Conv_0", "Conv_1", "Conv_17")
_EPSILON = 1e-6  # as in Flax
_LAYOUT = ("NHWC", "HWIO", "NHWC")

Parameters = dict[str, jax.Array]


def prepared(parameters: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The parameters of `network.KneeFinder` by path, as `probabilities` takes them."""
    flat = traverse_util.flatten_dict(dict(parameters), sep="/")
    arrays = {name: np.asarray(value, np.float32) for name, value in flat.items()}
    for name in WIDER:
        kernel = arrays[f"{name}/kernel"]
        arrays[f"{name}/kernel"] = _doubled(kernel, 2 if name == "Conv_0" else 1)
    return arrays


def _doubled(kernel: np.ndarray, stride: int) -> np.ndarray:
    """f32[h, w, c, o] to f32[h, w + stride, c, 2 o]: for two neighbouring outputs."""
    own, next_one = ((0, 0), (0, stride), (0, 0), (0, 0)), ((0, 0), (stride, 0), (0, 0), (0, 0))
    return np.concatenate([np.pad(kernel, own), np.pad(kernel, next_one)], axis=-1)


def probabilities(parameters: Parameters, view: jax.Array) -> jax.Array:
    """f32[6, CELLS * CELLS + 1] of one view f32[SIZE, SIZE, 2]; each map sums to 1."""
    convolutions = iter(range(len(parameters)))
    norms = iter(range(len(parameters)))

    def convolve(x: jax.Array, stride: int = 1) -> jax.Array:
        name = f"Conv_{next(convolutions)}"
        found = _convolve(x, parameters[f"{name}/kernel"], stride, name in WIDER)
        bias = parameters.get(f"{name}/bias")
        return found if bias is None else found + bias

    def unit(x: jax.Array) -> jax.Array:
        name = f"GroupNorm_{next(norms)}"
        return _unit(x, parameters[f"{name}/scale"], parameters[f"{name}/bias"])

    levels: list[jax.Array] = []
    x = unit(convolve(view[None], 2))
    for depth in range(len(WIDTHS)):
        x = unit(convolve(x, 2)) if depth else x
        x = x + unit(convolve(x))
        levels.append(x)
    for skip in levels[-2::-1]:
        _, height, width, channels = skip.shape
        x = convolve(x)
        x = jnp.broadcast_to(
            x[:, :, None, :, None], (1, height // 2, 2, width // 2, 2, channels)
        ).reshape(skip.shape)
        x = skip + x
        x = x + unit(convolve(x))
    maps = convolve(x).reshape(CELLS * CELLS, len(POINTS) * len(SIDES)).T
    return jax.nn.softmax(jnp.pad(maps, ((0, 0), (0, 1))), axis=-1)


def _convolve(x: jax.Array, kernel: jax.Array, stride: int, doubled: bool) -> jax.Array:
    """f32[1, h, w, c] to f32[1, h / stride, w / stride, o], padded as Flax's "SAME" does."""
    size = kernel.shape[0]
    low, high = ((size - stride) // 2, (size - stride + 1) // 2)
    step = (stride, 2 * stride if doubled else stride)
    found = lax.conv_general_dilated(
        x, kernel, step, ((low, high), (low, high)), dimension_numbers=_LAYOUT
    )
    _, height, width, channels = found.shape
    return found.reshape(1, height, 2 * width, channels // 2) if doubled else found


def _unit(x: jax.Array, scale: jax.Array, bias: jax.Array) -> jax.Array:
    """Group normalisation and ReLU of f32[1, h, w, c]."""
    _, height, width, _ = x.shape
    mean, square = (_by_group(values, height, width) for values in (x, x * x))
    factor = scale * lax.rsqrt(jnp.maximum(square - mean * mean, 0.0) + _EPSILON)
    # The barrier keeps XLA from computing both again for every pixel.
    factor, offset = lax.optimization_barrier((factor, bias - mean * factor))
    return jnp.maximum(x * factor + offset, 0.0)


def _by_group(values: jax.Array, height: int, width: int) -> jax.Array:
    """The mean over each group of channels, repeated for each channel: f32[c]."""
    rows = values.reshape(height, -1)
    channels = rows.shape[1] // width
    sums = jnp.sum(jnp.sum(rows, axis=0).reshape(width, channels), axis=0)
    means = jnp.mean(sums.reshape(GROUPS, -1), axis=1, keepdims=True) / (height * width)
    return jnp.broadcast_to(means, (GROUPS, channels // GROUPS)).reshape(channels)


@functools.cache
def _shipped() -> tuple[Any, Any, Any]:
    device = jax.local_devices(backend="cpu")[0]
    # On one core: splitting its small operations among threads takes longer than it saves.
    function = jax.jit(probabilities, compiler_options={"xla_cpu_multi_thread_eigen": False})
    return function, jax.device_put(prepared(load_weights()), device), device


def probability_maps(views: np.ndarray) -> np.ndarray:
    """The probabilities f32[b, 6, CELLS * CELLS + 1] of views f32[b, SIZE, SIZE, 2].

    Uses the shipped weights, one view at a time so that one shape is compiled.
    """
    function, parameters, device = _shipped()
    with jax.default_device(device):
        return np.stack([np.asarray(function(parameters, view)) for view in views])
