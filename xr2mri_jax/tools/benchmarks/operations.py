"""Times the generator's operations one by one, at the sizes of its finest level."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from xr2mri_jax.models.generator import GeneratorSpec
from xr2mri_jax.models.layers import transposed_convolution
from xr2mri_jax.models.product import product
from xr2mri_jax.tools.benchmarks import timing

_IMAGE = ("NHWC", "HWIO", "NHWC")
_VOLUME = ("NDHWC", "DHWIO", "NDHWC")


def run(spec: GeneratorSpec, repeats: int, with_torch: bool) -> dict[str, Any]:
    """Times each operation's forward pass and its forward and backward pass together, batch 1.

    Operations: "column product" (all depths and channels to the width), "plane convolution" (3x3,
    width to width), "upsampling by phases" and "by dilation" (`jax.lax.conv_transpose`), and, not
    used by the generator, the plain 3x3x3 convolution of the finest features.

    Returns:
      {"sizes": meaning of the names, "seconds": name -> times from `timing.interleaved`}.
    """
    cases = _cases(spec)
    functions: dict[str, Callable[[], Any]] = {}
    for name, (function, arrays, _) in cases.items():
        functions |= _jax_pair(f"jax {name}", function, arrays)
    if with_torch:
        for name, (_, arrays, torch_name) in cases.items():
            if torch_name:
                functions |= _torch_pair(f"torch {name}", torch_name, arrays)
    sizes = {name: [list(a.shape) for a in arrays] for name, (_, arrays, _) in cases.items()}
    return {"sizes": sizes, "seconds": timing.interleaved(functions, repeats, warmup=1)}


Case = tuple[Callable[..., jax.Array], tuple[np.ndarray, ...], str | None]


def _cases(spec: GeneratorSpec) -> dict[str, Case]:
    depth, height, width = (size // 2 for size in spec.volume_shape)
    channels, features = spec.channels[0], spec.widths[0]
    coarse = spec.channels[min(1, len(spec.channels) - 1)]
    random = np.random.default_rng(0)

    def array(*shape: int) -> np.ndarray:
        return random.standard_normal(shape, np.float32)

    small = (height // 2, width // 2, depth // 2)
    volume = array(1, *small, coarse)
    kernel = array(4, 4, 4, coarse, channels)
    column = array(1, height, width, depth * channels)
    return {
        "column product": (product, (column, array(depth * channels, features)), "product"),
        "plane convolution": (
            _convolution(_IMAGE),
            (array(1, height, width, features), array(3, 3, features, features)),
            "conv2d",
        ),
        "upsampling by phases": (_phases, (volume, kernel), "conv_transpose3d"),
        "upsampling by dilation": (_dilated, (volume, kernel), None),
        "3x3x3 convolution (unused)": (
            _convolution(_VOLUME),
            (array(1, depth, height, width, channels), array(3, 3, 3, channels, channels)),
            "conv3d",
        ),
    }


def _convolution(names: tuple[str, str, str]) -> Callable[..., jax.Array]:
    def function(x: jax.Array, kernel: jax.Array) -> jax.Array:
        strides = (1,) * (x.ndim - 2)
        return jax.lax.conv_general_dilated(x, kernel, strides, "SAME", dimension_numbers=names)

    return function


def _phases(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return transposed_convolution(x, kernel, ((1, 1),) * 3)


def _dilated(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return jax.lax.conv_transpose(x, kernel, (2, 2, 2), "SAME", dimension_numbers=_VOLUME)


def _jax_pair(
    name: str, function: Callable[..., jax.Array], arrays: tuple[np.ndarray, ...]
) -> dict[str, Callable[[], Any]]:
    arrays = jax.device_put(arrays)
    forward = jax.jit(function)

    def both(*inputs: jax.Array) -> Any:
        output, backward = jax.vjp(function, *inputs)
        return output, backward(output)

    both = jax.jit(both)
    return {
        f"{name}, forward": lambda: jax.block_until_ready(forward(*arrays)),
        f"{name}, forward + backward": lambda: jax.block_until_ready(both(*arrays)),
    }


def _torch_pair(
    name: str, operation: str, arrays: tuple[np.ndarray, ...]
) -> dict[str, Callable[[], Any]]:
    import torch

    x, kernel = (torch.tensor(array) for array in arrays)
    last = x.ndim - 1
    x = x.permute(0, last, *range(1, last)).contiguous()
    if operation == "product":
        kernel = kernel[None, None]
    spatial = tuple(range(kernel.ndim - 2))
    order = (-2, -1) if operation == "conv_transpose3d" else (-1, -2)
    kernel = kernel.permute(*(axis % kernel.ndim for axis in order), *spatial).contiguous()
    x.requires_grad_()
    kernel.requires_grad_()

    def function() -> Any:
        if operation == "conv_transpose3d":
            return torch.nn.functional.conv_transpose3d(x, kernel, stride=2, padding=1)
        call = torch.nn.functional.conv3d if x.ndim == 5 else torch.nn.functional.conv2d
        return call(x, kernel, padding=kernel.shape[-1] // 2)

    def forward() -> Any:
        with torch.no_grad():
            return function()

    def both() -> Any:
        output = function()
        return torch.autograd.grad(output, (x, kernel), output.detach())

    return {f"{name}, forward": forward, f"{name}, forward + backward": both}
