"""Siamese-GAP for inference on a CPU: folded normalisation, Winograd's form, few knees at a time.

The results equal those of `siamese_gap.SiameseGap` and `gradcam.GradCam` up to rounding. The
activations of few knees stay in the processor's cache, the convolutions of one block are one loop
so that they compile once, and evidence maps share the forward pass with the grading.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp

from xr2mri_jax.models import siamese_gap, winograd_inference
from xr2mri_jax.models.convolution import plain
from xr2mri_jax.models.normalisation import EPSILON

Maps = tuple[jax.Array, ...]
# Number of knees that pass through the network together.
TOGETHER = 2
# Kinds of maps: `gradcam.GradCam.__call__`, of all blocks for the upper half of the grades, and
# `of_boundaries`.
BLOCKS, BOUNDARIES = "blocks", "boundaries"


class Block(NamedTuple):
    """A block's convolutions with their normalisation.

    Attributes:
      first: f32[3, 3, c, o], the first kernel; its bias is `biases[0]`.
      rest: f32[n, 36, o, o] in Winograd's form, or f32[n, 3, 3, o, o].
      turned: like `rest`, for the gradients by the image.
      biases: f32[n + 1, o].
    """

    first: np.ndarray
    rest: np.ndarray
    turned: np.ndarray
    biases: np.ndarray


class Layers(NamedTuple):
    """The maps of a block's convolutions, f32[2 b, h, w, c] each.

    Attributes:
      last, first: after the last and the first convolution.
      others: f32[n, 2 b, h, w, c], after all but the first; None unless kept.
    """

    last: jax.Array
    first: jax.Array
    others: jax.Array | None


class Weights(NamedTuple):
    """A network's blocks, and the parameters of its last layer."""

    blocks: tuple[Block, ...]
    head: Any


def folded(spec: siamese_gap.SiameseGapSpec, params: Any, model_state: Any) -> Weights:
    """Converts the weights of a trained network to the form of this module.

    Args:
      spec: of the network.
      params, model_state: its parameters and running moments.
    """
    size = siamese_gap.patch_places(tuple(spec.image_shape))[1]
    blocks = []
    for number, count in enumerate(spec.convolutions):
        kernels, biases = [], []
        for layer in range(count):
            name = f"block{number + 1}_conv{layer + 1}"
            kernel, bias = _folded_layer(params["branch"][name], model_state["branch"][name])
            kernels.append(kernel)
            biases.append(bias)
        channels = kernels[0].shape[-1]
        rest = np.array(kernels[1:]).reshape(count - 1, 3, 3, channels, channels)
        turned = winograd_inference.transposed_kernel(rest)
        if winograd_inference.usable(size >> number, channels):
            rest, turned = map(winograd_inference.transformed, (rest, turned))
        arrays = (kernels[0], rest, turned, np.array(biases))
        blocks.append(Block(*(np.asarray(array, np.float32) for array in arrays)))
    return Weights(tuple(blocks), params["head"])


def _folded_layer(params: Any, state: Any) -> tuple[np.ndarray, np.ndarray]:
    """Kernel and bias, f64, of a normalised convolution."""
    kernel, scale, bias = (np.asarray(params[k], np.float64) for k in ("kernel", "scale", "bias"))
    factor = scale / np.sqrt(np.asarray(state["variance"], np.float64) + EPSILON)
    return kernel * factor, bias - np.asarray(state["mean"], np.float64) * factor


def program(spec: Mapping[str, Any], map_kinds: Sequence[str] = ()) -> Callable[..., Any]:
    """Makes the function that runs a network on radiographs.

    Args:
      spec: as `siamese_gap.make` takes it.
      map_kinds: of BLOCKS and BOUNDARIES.

    Returns:
      A function that can be compiled. It maps `Weights` and xray f32[b, h, w, 1] in [0, 1] to
      logits f32[b, k], features f32[b, n] and, by kind of map, a tuple of maps f32[b, 2, h', w']
      of both patches as cropped: one per block, or one per boundary between grades.
    """
    model: Any = siamese_gap.make(spec)
    maps_of = {BLOCKS: _block_maps, BOUNDARIES: _boundary_maps}

    def some(weights: Weights, xray: jax.Array) -> tuple[jax.Array, jax.Array, dict[str, Maps]]:
        head = {"params": {"head": weights.head}}

        def score(maps: Maps) -> tuple[jax.Array, jax.Array]:
            features = model.apply(head, maps, method="pooled")
            return model.apply(head, features, method="classify"), features

        kept = _forward(weights.blocks, siamese_gap.patches(xray) - 0.5, BLOCKS in map_kinds)
        logits, features = score(tuple(layers.last for layers in kept))
        found = {name: maps_of[name](model, weights, kept, score) for name in map_kinds}
        by_patch = jax.tree.map(lambda m: jnp.stack(jnp.split(m, 2), axis=1), found)
        return logits, features, by_patch

    def all_of(weights: Weights, xray: jax.Array) -> tuple[jax.Array, jax.Array, dict[str, Maps]]:
        together = max(n for n in range(1, TOGETHER + 1) if len(xray) % n == 0)
        parts = xray.reshape(-1, together, *xray.shape[1:])
        found = jax.lax.map(lambda part: some(weights, part), parts)
        return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), found)

    return all_of


def _convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return winograd_inference.convolve(x, kernel) if kernel.ndim == 3 else plain(x, kernel, 1)


def _forward(blocks: tuple[Block, ...], x: jax.Array, keep: bool) -> list[Layers]:
    """The maps after the convolutions, by block; all of them only with `keep`.

    The first block's are never kept, because no gradient passes through it.
    """
    found = []
    for number, block in enumerate(blocks):
        x = jax.nn.relu(plain(x, jnp.asarray(block.first), 2 if number else 1) + block.biases[0])
        first, kept = x, keep and number > 0

        def layer(x: jax.Array, one: Any, kept: bool = kept) -> tuple[jax.Array, jax.Array | None]:
            x = jax.nn.relu(_convolve(x, one[0]) + one[1])
            return x, x if kept else None

        x, others = jax.lax.scan(layer, x, (block.rest, block.biases[1:]))
        found.append(Layers(x, first, others))
    return found


def _boundary_maps(model: Any, weights: Weights, kept: list[Layers], score: Any) -> Maps:
    """See `gradcam.GradCam.of_boundaries`: f32[2 b, h', w'] for each boundary."""
    maps = tuple(layers.last for layers in kept)
    place = max(model.spec.levels) - 1

    def log_odds(last: jax.Array) -> jax.Array:
        logits = score((*maps[:place], last, *maps[place + 1 :]))[0]
        return jnp.stack([
            jnp.sum(logsumexp(logits[:, k:], axis=1) - logsumexp(logits[:, :k], axis=1))
            for k in range(1, logits.shape[1])
        ])  # fmt: skip

    weight = jnp.mean(jax.jacrev(log_odds)(maps[place]), axis=(2, 3))
    return tuple(jax.nn.relu(jnp.einsum("kbc,bhwc->kbhw", weight, maps[place])))


def _block_maps(model: Any, weights: Weights, kept: list[Layers], score: Any) -> Maps:
    """See `gradcam.GradCam.__call__`: f32[2 b, h', w'] for each block."""
    count = model.spec.classes
    signs = np.where(np.arange(count) < count // 2, -1 / (count // 2), 1 / (count - count // 2))
    maps = tuple(layers.last for layers in kept)
    direct = jax.grad(lambda maps: jnp.sum(signs * score(maps)[0]))(maps)
    gradient = direct[-1]
    means = [jnp.mean(gradient, axis=(1, 2))]
    for number in range(len(maps) - 1, 0, -1):
        gradient = _before_first(weights.blocks[number], kept[number], gradient)
        kernel, before = jnp.asarray(weights.blocks[number].first), maps[number - 1]
        if number > 1:
            gradient = direct[number - 1] + _transposed(gradient, kernel)
            means.append(jnp.mean(gradient, axis=(1, 2)))
        else:  # the largest maps need only the gradient's mean
            pixels = before.shape[1] * before.shape[2]
            mean = jnp.mean(direct[number - 1], axis=(1, 2))
            means.append(mean + _sum_of_transposed(gradient, kernel) / pixels)
    return tuple(
        jax.nn.relu(jnp.einsum("bc,bhwc->bhw", mean, x))
        for mean, x in zip(reversed(means), maps, strict=True)
    )


def _before_first(block: Block, kept: Layers, gradient: jax.Array) -> jax.Array:
    """The gradient by the first convolution's result, from the gradient by the block's maps."""

    def layer(gradient: jax.Array, one: Any) -> tuple[jax.Array, None]:
        return _convolve(jnp.where(one[1] > 0, gradient, 0), one[0]), None

    gradient, _ = jax.lax.scan(layer, gradient, (block.turned, kept.others), reverse=True)
    return jnp.where(kept.first > 0, gradient, 0)


def _transposed(gradient: jax.Array, kernel: jax.Array) -> jax.Array:
    """Propagates a gradient back through a convolution of stride 2.

    XLA's CPU backend takes several times as long for the transposed convolution as for the four
    matrix products that give its even and odd rows and columns.

    Args:
      gradient: f32[b, h, w, o], by the convolution's result.
      kernel: f32[3, 3, c, o].

    Returns:
      f32[b, 2 h, 2 w, c].
    """
    height, width = gradient.shape[1:3]
    padded = jnp.pad(gradient, ((0, 0), (0, 1), (0, 1), (0, 0)))
    # For an even and for an odd pixel: the results that it contributes to, and their weights.
    taps: tuple[tuple[tuple[int, int], ...], ...] = (((0, 1),), ((0, 2), (1, 0)))
    rows = []
    for down in taps:
        row = []
        for right in taps:
            pairs = [(y, x) for y in down for x in right]
            parts = [padded[:, i : i + height, j : j + width] for (i, _), (j, _) in pairs]
            weights = [kernel[k, m].T for (_, k), (_, m) in pairs]
            row.append(jnp.concatenate(parts, axis=-1) @ jnp.concatenate(weights))
        rows.append(jnp.stack(row, axis=3))
    return jnp.stack(rows, axis=2).reshape(-1, 2 * height, 2 * width, kernel.shape[2])


def _sum_of_transposed(gradient: jax.Array, kernel: jax.Array) -> jax.Array:
    """The sum over pixels f32[b, c] of a gradient propagated back through stride 2.

    A weight contributes to every pixel of the result except where it meets the zero padding: the
    first row and column of an image of even size.

    Args:
      gradient: f32[b, h, w, o], by the convolution's result.
      kernel: f32[3, 3, c, o].
    """
    rows = [jnp.sum(gradient[:, 1:], axis=1), *[jnp.sum(gradient, axis=1)] * 2]
    sums = [[jnp.sum(row[:, 1:], axis=1), *[jnp.sum(row, axis=1)] * 2] for row in rows]
    return jnp.einsum("ijbo,ijco->bc", jnp.stack([jnp.stack(row) for row in sums]), kernel)
