"""3x3 convolution with batch normalisation and ReLU, in the form that trains fast on a CPU.

XLA's CPU backend runs a 3x3 convolution and its gradient by the image near the processor's peak,
but not the gradient by the kernel. That gradient is written out here, and wide convolutions use
Winograd's form where gradients are taken. Without gradients, and on other devices, all convolutions
are XLA's own: on a CPU they then run as fast, and compile in a twentieth of the time.
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from xr2mri_jax.models import winograd
from xr2mri_jax.models.layers import Dtype, initialiser
from xr2mri_jax.models.normalisation import bound, normalise, scale_shift

# Channels, in and out, from which Winograd's form is faster on a CPU: for the convolution with both
# its gradients, and for the gradient by the kernel alone.
WIDE, NOT_NARROW = 128, 32
MOMENTUM = 0.95
_NAMES = ("NHWC", "HWIO", "NHWC")
_PADDING = ((1, 1), (1, 1))


def plain(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """`convolve` in XLA's own form, with XLA's own gradients."""
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), _PADDING, dimension_numbers=_NAMES
    )


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def convolve(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """3x3 convolution with zero padding of one pixel.

    Args:
      x: [b, h, w, c].
      kernel: [3, 3, c, o].
      stride: 1 or 2.

    Returns:
      [b, ceil(h / stride), ceil(w / stride), o].
    """
    return plain(x, kernel, stride)


def _convolve_forward(x: jax.Array, kernel: jax.Array, stride: int) -> Any:
    # The values kept for the gradients depend on the platform, of which only the default is known
    # here; on other platforms both ways are correct too.
    if stride == 1 and _channels(x, kernel) >= WIDE and jax.default_backend() == "cpu":
        y, transformed = winograd.convolve_kept(x, kernel)
        return y, (transformed, None)
    return plain(x, kernel, stride), (None, (x, kernel))


def _convolve_backward(stride: int, saved: Any, gradient: jax.Array) -> Any:
    transformed, pair = saved
    if transformed is not None:
        return winograd.gradients(transformed, gradient)
    x, kernel = pair
    by_x = jax.linear_transpose(lambda image: plain(image, kernel, stride), x)(gradient)[0]
    by_kernel = jax.lax.platform_dependent(
        x,
        gradient,
        cpu=partial(kernel_gradient, stride=stride),
        default=partial(_own_kernel_gradient, stride=stride),
    )
    return by_x, by_kernel


convolve.defvjp(_convolve_forward, _convolve_backward)


def _channels(x: jax.Array, kernel: jax.Array) -> int:
    """The smaller channel count; 0 unless f32, because Winograd loses precision in other types."""
    return min(kernel.shape[2:]) if x.dtype == jnp.float32 else 0


def kernel_gradient(x: jax.Array, gradient: jax.Array, stride: int) -> jax.Array:
    """The gradient of `convolve` by its kernel in the form that is fastest on a CPU.

    Winograd's form for stride 1 and enough channels, else one product with a matrix of all windows.

    Args:
      x: [b, h, w, c].
      gradient: [b, h', w', o], with respect to the convolution's result.
      stride: 1 or 2.

    Returns:
      [3, 3, c, o].
    """
    inputs, outputs = x.shape[-1], gradient.shape[-1]
    channels = min(inputs, outputs) if x.dtype == jnp.float32 else 0
    if stride == 1 and channels >= NOT_NARROW:
        return winograd.kernel_gradient(x, gradient)
    if inputs == 1:
        windows = jnp.stack(_windows(x, gradient.shape[1:3], stride))
        product = windows.reshape(9, -1) @ gradient.reshape(-1, outputs)
        return product.reshape(3, 3, 1, outputs)
    # Few images at a time, so that their windows stay in the processor's cache.
    together = 2 if len(x) % 2 == 0 else 1

    def add(index: jax.Array, total: jax.Array) -> jax.Array:
        images, results = (
            jax.lax.dynamic_slice_in_dim(a, index * together, together) for a in (x, gradient)
        )
        windows = jnp.concatenate(_windows(images, gradient.shape[1:3], stride), axis=-1)
        return total + results.reshape(-1, outputs).T @ windows.reshape(-1, 9 * inputs)

    start = jnp.zeros((outputs, 9 * inputs), x.dtype)
    product = jax.lax.fori_loop(0, len(x) // together, add, start)
    return product.T.reshape(3, 3, inputs, outputs)


def _windows(x: jax.Array, shape: tuple[int, ...], stride: int) -> list[jax.Array]:
    """The pixels multiplied by each of the 9 kernel weights: 9 arrays [b, *shape, c]."""
    height, width = shape
    padded = jnp.pad(x, ((0, 0), (1, stride), (1, stride), (0, 0)))
    return [
        padded[:, i : i + stride * height : stride, j : j + stride * width : stride]
        for i in range(3)
        for j in range(3)
    ]


def _own_kernel_gradient(x: jax.Array, gradient: jax.Array, stride: int) -> jax.Array:
    shape = jax.ShapeDtypeStruct((3, 3, x.shape[-1], gradient.shape[-1]), x.dtype)
    return jax.linear_transpose(lambda kernel: plain(x, kernel, stride), shape)(gradient)[0]


class NormalisedConvolution(nn.Module):
    """3x3 convolution, batch norm, ReLU: [b, h, w, c] -> [b, ceil(h / s), ceil(w / s), features].

    Collections: "params" kernel, scale, bias, all f32; "batch_stats" the running mean and variance
    f32[c], which are used if `train` is False. Under pmap over `axis_name` the batch's moments are
    those of all devices.
    """

    features: int
    stride: int = 1
    axis_name: str | None = None
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        shape, size = (3, 3, x.shape[-1], self.features), (self.features,)
        kernel = self.param("kernel", initialiser(2.0), shape, jnp.float32)
        scale = self.param("scale", nn.initializers.ones, size, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, size, jnp.float32)
        mean = self.variable("batch_stats", "mean", jnp.zeros, size, jnp.float32)
        variance = self.variable("batch_stats", "variance", jnp.ones, size, jnp.float32)
        # Outside training only gradients by the image are requested, which XLA's own form
        # computes as fast and compiles in a tenth of the time.
        form = convolve if train else plain
        x = form(x.astype(self.dtype), kernel.astype(self.dtype), self.stride)
        if not train:
            return scale_shift(x, scale, bias, mean.value, variance.value)
        y, found_mean, found_variance = normalise(x, scale, bias, bound(self.axis_name))
        if not self.is_initializing():
            for kept, found in ((mean, found_mean), (variance, found_variance)):
                kept.value = MOMENTUM * kept.value + (1 - MOMENTUM) * found
        return y
