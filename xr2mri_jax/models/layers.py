"""Layers that are fast on CPU and GPU: convolutions, sub-pixel upsampling, residual blocks.

Layout: images are [b, h, w, c]. Inside the models volumes are [b, h, w, d, c] ("depth inside"):
seen as [b, h, w, d * c] the same memory is an image, so that 3D work becomes 2D convolutions and
matrix products, which both XLA and cuDNN run near the hardware's speed. `docs/performance.md`
has the measurements behind this choice.
"""

import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from xr2mri_jax.models import sharding
from xr2mri_jax.models.product import Dense, Dtype, add_bias, product

_SLOPE = 0.2


def initialiser(gain: float, added: bool = False) -> nn.initializers.Initializer:
    """Uniform noise of variance gain / fan-in, drawn by XLA's own bit generator.

    Threefry, the default generator of random keys, costs XLA's CPU compiler most of a second per
    draw, which made the start of a training run minutes long; "rbg" takes a tenth. Its numbers may
    differ between kinds of devices, which is acceptable for an initialisation.

    Args:
      gain: 2 keeps the scale through `activate`, 1 through a linear layer.
      added: the parameter is added, not summed over: its variance is `gain` itself.
    """

    def draw(key: jax.Array, shape: tuple[int, ...], dtype: Dtype = jnp.float32) -> jax.Array:
        fan_in = 1 if added else math.prod(shape[:-1])
        limit = math.sqrt(3.0 * gain / fan_in)
        words = jnp.tile(jax.random.key_data(key), 2)[:4]
        key = jax.random.wrap_key_data(words, impl="rbg")
        return jax.random.uniform(key, shape, dtype, -limit, limit)

    return draw


@jax.custom_vjp
def activate(x: jax.Array) -> jax.Array:
    """LeakyReLU with slope 0.2, the paper's; any shape, dtype kept.

    Its gradient reads the sign from the output, which the next product needs anyway. With the
    input instead, XLA's CPU compiler recomputes the sums before it for every use.
    """
    return jnp.where(x >= 0, x, _SLOPE * x)


def _activate_forward(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    y = activate(x)
    return y, y


def _activate_backward(y: jax.Array, gradient: jax.Array) -> tuple[jax.Array]:
    return (jnp.where(y >= 0, gradient, _SLOPE * gradient),)


activate.defvjp(_activate_forward, _activate_backward)


def unit_rms(x: jax.Array) -> jax.Array:
    """x over the root mean square of its last axis, any shape, dtype kept; 0 stays 0.

    RMSNorm without its scale: Zhang and Sennrich 2019, arXiv 1910.07467, equation 4.
    """
    wide = x.astype(jnp.float32)
    square = jnp.mean(jnp.square(wide), axis=-1, keepdims=True)
    return (wide * jax.lax.rsqrt(square + 1e-6)).astype(x.dtype)


def depth_to_space(x: jax.Array, dims: int) -> jax.Array:
    """Interleaves phases: [b, *n, 2**dims * c] -> [b, *(2 n), c], `dims` spatial axes.

    The channel index is (phase of axis 1, ..., phase of axis `dims`, c), the last one fastest: the
    phases of the last axis are already adjacent. The phases of the other axes are stacked, which
    copies long runs and which XLA does not recompute in every following operation.
    """
    channels = x.shape[-1] // 2**dims
    space = (*x.shape[1:dims], 2 * x.shape[dims])
    phases = [
        part.reshape(x.shape[0], *space, channels)
        for part in jnp.split(x, 2 ** (dims - 1), axis=-1)
    ]
    for axis in range(dims - 1, 0, -1):
        pairs = zip(phases[::2], phases[1::2], strict=True)
        stacked = [jnp.stack(pair, axis=axis + 1) for pair in pairs]
        phases = [s.reshape(*s.shape[:axis], -1, *s.shape[axis + 2 :]) for s in stacked]
    return phases[0]


def transposed_convolution(
    x: jax.Array,
    kernel: jax.Array,
    crop: tuple[tuple[int, int], ...],
    bias: jax.Array | None = None,
) -> jax.Array:
    """Transposed convolution with stride 2 as one matrix product and an interleave.

    Equal to `jax.lax.conv_transpose(x, kernel, strides=2)` without its dilated input, which has no
    fast path on the CPU: every output phase uses only its own taps of the kernel (sub-pixel
    phases), so that windows of 2 neighbours per axis times a matrix give all phases at once.

    Args:
      x: [b, *n, c], one to three spatial axes.
      kernel: [*k, c, o], each k of 2, 3 or 4 (one size for all axes), in the orientation of
        `jax.lax.conv_transpose` with `transpose_kernel=False`.
      crop: (before, after) per spatial axis, in output pixels, removed from the full result, whose
        size is 2 n for k = 2, else 2 n + 2. Padding "SAME" is (0, 0) for k = 2, (1, 1) for k = 4;
        "VALID" is (0, 1) for k = 3.
      bias: [o], added to every pixel; None for none.

    Returns:
      [b, *m, o], m = full size - before - after.
    """
    dims = x.ndim - 2
    size = kernel.shape[0]
    if kernel.ndim != x.ndim or size not in (2, 3, 4) or set(kernel.shape[:dims]) != {size}:
        raise ValueError(f"kernel {kernel.shape} for input {x.shape}: one size of 2, 3 or 4")
    taps = 1 if size == 2 else 2
    scatter = jnp.flip(kernel, tuple(range(dims)))  # out[2 i + k] += x[i] * scatter[k]
    scatter = jnp.pad(scatter, [(0, 2 * taps - size)] * dims + [(0, 0)] * 2)
    matrix = _phase_matrix(scatter, taps, dims)
    phases = _phases(x, matrix, taps, dims)
    if bias is not None:
        phases = add_bias(phases, jnp.tile(bias, 2**dims))
    full = depth_to_space(phases, dims)
    window = [slice(None)]
    for axis, (before, after) in enumerate(crop):
        window.append(slice(before, full.shape[axis + 1] - after))
    return full[tuple(window)]


def _phase_matrix(scatter: jax.Array, taps: int, dims: int) -> jax.Array:
    """[*(2 taps), c, o] -> [taps**dims * c, 2**dims * o]; rows ordered as in `_windows`."""
    inputs, outputs = scatter.shape[-2:]
    split = scatter.reshape(*(taps, 2) * dims, inputs, outputs)
    split = jnp.flip(split, tuple(range(0, 2 * dims, 2)))  # the left neighbour has the later taps
    tap_axes, phase_axes = range(0, 2 * dims, 2), range(1, 2 * dims, 2)
    split = split.transpose(*tap_axes, 2 * dims, *phase_axes, 2 * dims + 1)
    return split.reshape(taps**dims * inputs, 2**dims * outputs)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _phases(x: jax.Array, matrix: jax.Array, taps: int, dims: int) -> jax.Array:
    """`_windows(x, taps, dims) @ matrix`, without storing the windows of the first two axes.

    The windows of three axes are eight times the volume. Only two neighbours along the depth are
    stored; the 2 x 2 neighbours in the plane are a convolution over a row of concatenated columns,
    in which the next column is one column length away. Gradients are those of the product.
    """
    if dims < 3 or taps == 1:
        return product(_windows(x, taps, dims), matrix)
    pairs = _neighbours(x, dims)
    batch, height, width, depth, channels = pairs.shape
    found = jax.lax.conv_general_dilated(
        pairs.reshape(batch, height, width * depth, channels),
        matrix.reshape(2, 2, channels, -1),
        (1, 1),
        ((1, 1), (depth, depth)),
        rhs_dilation=(1, depth),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    return found.reshape(batch, height + 1, width + 1, depth, -1)


def _phases_forward(
    x: jax.Array, matrix: jax.Array, taps: int, dims: int
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _phases(x, matrix, taps, dims), (x, matrix)


def _phases_backward(
    taps: int, dims: int, saved: tuple[jax.Array, jax.Array], gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
    _, backward = jax.vjp(lambda x, matrix: product(_windows(x, taps, dims), matrix), *saved)
    return backward(gradient)


_phases.defvjp(_phases_forward, _phases_backward)


def _windows(x: jax.Array, taps: int, dims: int) -> jax.Array:
    """Windows of `taps` neighbours per axis: [b, *n, c] -> [b, *(n + taps - 1), taps**dims * c]."""
    if taps == 1:
        return x
    for axis in range(dims, 0, -1):  # axis by axis: fewer and larger copies than by corners
        x = _neighbours(x, axis)
    return x


def _neighbours(x: jax.Array, axis: int) -> jax.Array:
    """Pairs of neighbours along an axis of n, with 0 outside: n + 1, and twice the channels."""
    size = x.shape[axis]
    margin = [(0, 0)] * x.ndim
    margin[axis] = (1, 1)
    padded = jnp.pad(x, margin)
    pair = [jax.lax.slice_in_dim(padded, k, k + size + 1, axis=axis) for k in (0, 1)]
    return jnp.concatenate(pair, axis=-1)


class Upsample(nn.Module):
    """Learned upsampling by 2 (transposed convolution, kernel 4, stride 2, "SAME"), 2D or 3D.

    [b, *n, c] -> [b, *(2 n), features]; computes in `dtype`, parameters float32.
    """

    features: int
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        dims = x.ndim - 2
        shape = (4,) * dims + (x.shape[-1], self.features)
        # An output pixel depends on 2**dims of the 4**dims taps: the variance of a dense layer.
        kernel = self.param("kernel", initialiser(2.0**dims), shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
        x, kernel, bias = (array.astype(self.dtype) for array in (x, kernel, bias))
        return sharding.upsampled(transposed_convolution, x, kernel, (1, 1), bias)


class Convolution(nn.Module):
    """3x3 convolution of an image, "SAME" by default, [b, h, w, c] -> [b, h', w', features]."""

    features: int
    stride: int = 1
    padding: str = "SAME"
    kernel_init: nn.initializers.Initializer = initialiser(2.0)
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.Conv(
            self.features,
            (3, 3),
            strides=self.stride,
            padding=self.padding,
            kernel_init=self.kernel_init,
            dtype=self.dtype,
            name="conv",
        )(x)


class ResidualBlock(nn.Module):
    """x + conv(activate(conv(activate(x)))), 3x3, [b, h, w, c] kept; starts as the identity.

    The last kernel starts at zero instead of a normalisation, which would cost the CPU a pass over
    memory and tie the examples' statistics to the compute precision.
    """

    width: int
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        y = Convolution(self.width, dtype=self.dtype, name="first")(activate(x))
        y = Convolution(
            x.shape[-1], kernel_init=nn.initializers.zeros, dtype=self.dtype, name="second"
        )(activate(y))
        return x + y


class VolumeBlock(nn.Module):
    """Residual block on a volume: [b, h, w, d, c] kept; starts as the identity.

    A (2+1)D bottleneck in the canonical frame, where a depth index always means the same position:
    a matrix product maps all depths and channels of a column to `width` features, a 3x3
    convolution mixes them in the plane, a matrix product maps them back to depths and channels.
    """

    width: int
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        column = x.reshape(*x.shape[:3], -1)
        dense = Dense(self.width, kernel_init=initialiser(2.0), dtype=self.dtype, name="down")
        y = activate(dense(activate(column)))
        y = activate(Convolution(self.width, dtype=self.dtype, name="plane")(y))
        y = Dense(column.shape[-1], kernel_init=nn.initializers.zeros, dtype=self.dtype, name="up")(
            y
        )
        return (column + y).reshape(x.shape)


class Lift(nn.Module):
    """An image's features lifted to a volume: [b, h, w, c] -> [b, h, w, depth, features].

    The canonical frame aligns radiograph and volume along d, so that each pixel corresponds to the
    column behind it: a 3x3 convolution to `width`, then a matrix product to all of its depths.
    """

    depth: int
    features: int
    width: int
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        y = activate(Convolution(self.width, dtype=self.dtype, name="plane")(x))
        size = self.depth * self.features
        y = Dense(size, kernel_init=initialiser(1.0), dtype=self.dtype, name="column")(y)
        return y.reshape(*y.shape[:3], self.depth, self.features)
