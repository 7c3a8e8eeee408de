"""Batch normalisation with ReLU in the form that trains fast on a CPU.

The sums over pixels and their gradients are memory-bound, and XLA's CPU backend reads and writes
every array several times for them. Here they are computed row by row, so that the intermediate
results of a row stay in the processor's cache; on other devices all rows are computed at once.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

EPSILON = 1e-5
# Maps [b, w, c] arrays of a row to the arrays that are summed over w.
Summands = Callable[..., tuple[jax.Array, ...]]


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def normalise(
    x: jax.Array, scale: jax.Array, bias: jax.Array, axis_name: str | None
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """ReLU of batch normalisation by the batch's own mean and variance.

    Ioffe and Szegedy 2015, arXiv 1502.03167, algorithm 1, over examples and pixels, and over all
    devices if they share an axis.

    Args:
      x: [b, h, w, c].
      scale: f32[c].
      bias: f32[c].
      axis_name: the axis over which devices share the batch; None: the batch is not shared.

    Returns:
      The result [b, h, w, c] in x's dtype, mean f32[c] and variance f32[c]; no gradient flows
      through the last two.
    """
    return _normalise_forward(x, scale, bias, axis_name)[0]


def scale_shift(x: jax.Array, scale: Any, bias: Any, mean: Any, variance: Any) -> jax.Array:
    """ReLU of x normalised by given f32[c] moments, in x's dtype."""
    factor = scale * jax.lax.rsqrt(variance + EPSILON)
    return jax.nn.relu(x * factor.astype(x.dtype) + (bias - mean * factor).astype(x.dtype))


def moments(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean and variance over examples and pixels: [b, h, w, c] to f32[c] each.

    In one pass, relative to a point near each example's mean: the difference of the mean square and
    the squared mean loses precision if the channels of similar radiographs hardly vary.
    """
    pixels = x.shape[1] * x.shape[2]
    about = jnp.mean(x[:, x.shape[1] // 2].astype(jnp.float32), axis=1, keepdims=True)

    def powers(row: jax.Array, about: jax.Array) -> tuple[jax.Array, jax.Array]:
        offset = row.astype(jnp.float32) - about
        return offset, jnp.square(offset)

    offset, square = (total / pixels for total in _row_sums(powers, (x,), (about,)))
    return _merged(about[:, 0] + offset, square - jnp.square(offset))


def _merged(means: jax.Array, variances: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Merges moments of equally large parts, [n, c], to those of the whole, [c]."""
    mean = jnp.mean(means, axis=0)
    return mean, jnp.mean(variances + jnp.square(means - mean), axis=0)


def _normalise_forward(x: Any, scale: Any, bias: Any, axis_name: str | None) -> Any:
    mean, variance = moments(x)
    if axis_name is not None:
        # The devices synchronise only once: each variance is about the device's own mean.
        everywhere = jax.lax.all_gather(jnp.stack((mean, variance)), axis_name)
        mean, variance = _merged(everywhere[:, 0], everywhere[:, 1])
    y = scale_shift(x, scale, bias, mean, variance)
    return (y, mean, variance), (x, scale, bias, mean, variance)


def _normalise_backward(axis_name: str | None, saved: Any, gradients: Any) -> Any:
    x, scale, bias, mean, variance = saved
    factor = jax.lax.rsqrt(variance + EPSILON)

    def parts(x: Any, gradient: Any, scale: Any, bias: Any, mean: Any, factor: Any) -> Any:
        unit = (x.astype(jnp.float32) - mean) * factor
        masked = jnp.where(unit * scale + bias > 0, gradient.astype(jnp.float32), 0.0)
        return masked, masked * unit

    constants = scale, bias, mean, factor
    by_example = _row_sums(parts, (x, gradients[0]), constants)
    local = jnp.stack([jnp.sum(total, axis=0) for total in by_example])
    by_bias, by_scale = local
    if axis_name is not None:
        local = jax.lax.pmean(local, axis_name)
    count = x.size // x.shape[-1]
    masked, _ = parts(x, gradients[0], *constants)
    unit = (x.astype(jnp.float32) - mean) * factor
    by_x = scale * factor * (masked - local[0] / count - unit * (local[1] / count))
    return by_x.astype(x.dtype), by_scale, by_bias


normalise.defvjp(_normalise_forward, _normalise_backward)


def _row_sums(
    summands: Summands, images: tuple[jax.Array, ...], constants: tuple[jax.Array, ...]
) -> tuple[jax.Array, ...]:
    """Sums over pixels by example, divided among the devices: f32[b, c] each.

    Args:
      summands: of rows [b, w, c] of `images`, then `constants`.
      images: [b, h, w, c] each.
      constants: further arguments of `summands`.
    """

    def at_once(*given: jax.Array) -> tuple[jax.Array, ...]:
        batch, height, width, channels = given[0].shape
        whole = [image.reshape(batch, height * width, channels) for image in given[: len(images)]]
        return tuple(jnp.sum(part, axis=1) for part in summands(*whole, *given[len(images) :]))

    def row_by_row(*given: jax.Array) -> tuple[jax.Array, ...]:
        batch, height, _, channels = given[0].shape

        def add(index: Any, totals: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
            rows = [
                jax.lax.dynamic_index_in_dim(image, index, axis=1, keepdims=False)
                for image in given[: len(images)]
            ]
            # Materialised: otherwise values that are summed twice would be computed twice.
            parts = jax.lax.optimization_barrier(summands(*rows, *given[len(images) :]))
            return tuple(
                total + jnp.sum(part, axis=1) for total, part in zip(totals, parts, strict=True)
            )

        zero = jnp.zeros((batch, channels), jnp.float32)
        count = len(jax.eval_shape(summands, *(i[:, 0] for i in images), *constants))
        return jax.lax.fori_loop(0, height, add, (zero,) * count)

    return jax.lax.platform_dependent(*images, *constants, cpu=row_by_row, default=at_once)


def bound(axis_name: str | None) -> str | None:
    """`axis_name` if devices share this axis here (inside pmap), else None."""
    try:
        jax.lax.axis_index(axis_name or "")
    except NameError:
        return None
    return axis_name
