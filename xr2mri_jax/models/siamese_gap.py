"""Siamese-GAP: two weight-sharing branches for both sides of the joint, pooled after every block.

Wang, Chetouani and Jennane, arXiv 2303.13203: four blocks of 3x3 convolutions; the global average
of every block, not only of the last one, goes to the classifier.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from xr2mri_jax import losses
from xr2mri_jax.errors import InputError
from xr2mri_jax.models import specification
from xr2mri_jax.models.convolution import NormalisedConvolution
from xr2mri_jax.models.layers import Dtype, initialiser

# The published crop and its patches, in pixels: a crop of 299, patches of 128 from row 99 on.
CROP, PATCH, FIRST_ROW = 299, 128, 99
POOLING = ("average", "maximum")
BRANCHES = ("added", "concatenated")
HEADS = ("nominal", "ordinal")
# Subtracted from a patch by the branch, so that the zeros beyond its edges are a medium grey.
MEAN_LEVEL = 0.5


@dataclasses.dataclass(frozen=True)
class SiameseGapSpec:
    """Sizes and options of the network.

    Attributes:
      image_shape: (h, w) of the radiograph, equal.
      channels: of the blocks.
      convolutions: 3x3 convolutions in each block; all blocks but the first begin with stride 2.
      pooling: "average" (GAP) or "maximum" (GMP) over a block's pixels.
      levels: the blocks whose pooled features are classified, numbered from 1.
      branches: how the two patches' features are combined, "added" or "concatenated".
      dropout: share of the features dropped in training, in [0, 1).
      classes: number of logits.
      head: "nominal", a linear output per class, or "ordinal", one per boundary between
        neighbouring classes, from which the logits are computed (`losses.continuation_ratio`).
    """

    image_shape: tuple[int, ...] = (224, 224)
    channels: tuple[int, ...] = (32, 64, 128, 256)
    convolutions: tuple[int, ...] = (2, 3, 4, 4)
    pooling: str = "average"
    levels: tuple[int, ...] = (1, 2, 3, 4)
    branches: str = "added"
    dropout: float = 0.2
    classes: int = 2
    head: str = "nominal"


def patch_places(shape: tuple[int, ...]) -> tuple[int, int]:
    """First row and size of the patches, scaled from the paper's crop to this radiograph.

    Args:
      shape: (h, w), equal.

    Returns:
      (row, size) in pixels: the published position, scaled; the size is the nearest multiple of 8,
      for three halvings without a remainder. The first patch begins at column 0, the second ends at
      the last column. For 299 pixels (99, 128), for 224 (74, 96).

    Raises:
      InputError: if the image is not square or too small for two patches.
    """
    height, width = shape
    size = round(PATCH * width / CROP / 8) * 8
    row = round(FIRST_ROW * height / CROP)
    if height != width or size < 8 or row + size > height:
        raise InputError(
            f"radiograph: found {height} x {width} pixels, expected a square of 16 or more"
        )
    return row, size


def patches(xray: jax.Array) -> jax.Array:
    """Both sides of the joint, the second one mirrored so that the joint's middle is at its right.

    In the canonical frame left knees are mirrored, so that the first patch is always the lateral
    side with the fibula.

    Args:
      xray: [b, h, w, 1].

    Returns:
      [2 b, p, p, 1]: the first patches of all, then the second ones.
    """
    row, size = patch_places(tuple(xray.shape[1:3]))
    rows = xray[:, row : row + size]
    return jnp.concatenate([rows[:, :, :size], rows[:, :, -size:][:, :, ::-1]])


def dropped(features: jax.Array, rate: float, keys: jax.Array) -> jax.Array:
    """Dropout with one key per example: [b, n] and key[b]; the expected value is kept."""
    kept = jax.vmap(lambda key: jax.random.bernoulli(key, 1 - rate, features.shape[1:]))(keys)
    return jnp.where(kept, features / (1 - rate), 0.0)


def last_layer(classes: int, head: str) -> nn.Dense:
    """The linear layer of a head of HEADS."""
    return nn.Dense(classes - (head == "ordinal"), kernel_init=initialiser(1.0))


def class_logits(outputs: jax.Array, head: str) -> jax.Array:
    """The last layer's outputs to logits f32[b, classes], whose softmax is the probability."""
    return losses.continuation_ratio(outputs) if head == "ordinal" else outputs


def average(x: jax.Array) -> jax.Array:
    """The mean over pixels: [b, h, w, c] -> [b, c]."""
    return jnp.mean(x, axis=(1, 2))


def maximum(x: jax.Array) -> jax.Array:
    """The maximum over pixels: [b, h, w, c] -> [b, c].

    Taken by its position: the gradient of `jnp.max` searches for equal values, but XLA may
    recompute a value differently, and the gradient is then 0 / 0.
    """
    pixels = x.reshape(x.shape[0], -1, x.shape[-1])
    place = jnp.argmax(jax.lax.stop_gradient(pixels), axis=1)
    return jnp.take_along_axis(pixels, place[:, None], axis=1)[:, 0]


class Branch(nn.Module):
    """The convolutions that both patches share: [b, p, p, 1] -> the maps after each block.

    Block i has [b, p / 2**i, p / 2**i, channels[i]] after its last ReLU. `added` is added to each
    block's maps before the next block: the gradient by it is the gradient by the maps.
    """

    spec: SiameseGapSpec
    axis_name: str | None = None
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self, patch: jax.Array, train: bool, added: tuple[jax.Array, ...] | None = None
    ) -> tuple[jax.Array, ...]:
        x, maps = patch - MEAN_LEVEL, []
        pairs = zip(self.spec.channels, self.spec.convolutions, strict=True)
        for block, (channels, count) in enumerate(pairs):
            for number in range(count):
                stride = 2 if block and not number else 1
                name = f"block{block + 1}_conv{number + 1}"
                x = NormalisedConvolution(
                    channels, stride, self.axis_name, dtype=self.dtype, name=name
                )(x, train)
            if added is not None:
                x = x + added[block]
            maps.append(x)
        return tuple(maps)


class SiameseGap(nn.Module):
    """Radiograph f32[b, h, w, 1] in [0, 1] -> logits f32[b, classes].

    Submodules `branch` and `head`; collections "params" and "batch_stats". With added branches,
    swapping the patches changes the logits only by the rounding of a sum.
    """

    spec: SiameseGapSpec
    axis_name: str | None = None
    dtype: Dtype = jnp.float32

    def setup(self) -> None:
        self.branch = Branch(self.spec, self.axis_name, self.dtype)
        self.head = last_layer(self.spec.classes, self.spec.head)

    def maps(
        self,
        xray: jax.Array,
        train: bool = False,
        added: tuple[jax.Array, ...] | None = None,
    ) -> tuple[jax.Array, ...]:
        """The maps after each block, [2 b, h', w', c]: first patches, then second ones.

        `added`, arrays like the maps, are added to them within the network.
        """
        return self.branch(patches(xray), train, added)

    def pooled(self, maps: tuple[jax.Array, ...]) -> jax.Array:
        """The pooled features f32[b, n] from the result of `maps`."""
        reduce = average if self.spec.pooling == "average" else maximum
        chosen = [maps[level - 1].astype(jnp.float32) for level in self.spec.levels]
        levels = jnp.concatenate([reduce(x) for x in chosen], axis=-1)
        first, second = jnp.split(levels, 2)
        if self.spec.branches == "added":
            return first + second
        return jnp.concatenate([first, second], axis=-1)

    def classify(self, pooled: jax.Array) -> jax.Array:
        """f32[b, n] from `pooled` to logits f32[b, classes]."""
        return class_logits(self.head(pooled), self.spec.head)

    def features(self, xray: jax.Array, train: bool = False) -> jax.Array:
        """Radiograph to the pooled features f32[b, n], the last layer's input."""
        return self.pooled(self.maps(xray, train))

    def __call__(
        self, xray: jax.Array, train: bool = False, keys: jax.Array | None = None
    ) -> jax.Array:
        """See the class; `keys` key[b] for the dropout if `train` is set."""
        features = self.features(xray, train)
        if train and keys is not None and self.spec.dropout:
            features = dropped(features, self.spec.dropout, keys)
        return self.classify(features)


def read_spec(spec: Mapping[str, Any]) -> SiameseGapSpec:
    """Checks a mapping with the fields of `SiameseGapSpec`.

    Raises:
      InputError: an unknown key, a wrong type or value.
    """
    checked = specification.read(SiameseGapSpec, spec, "siamese_gap")
    if len(checked.image_shape) != 2:
        raise InputError(f"siamese_gap.image_shape: found {checked.image_shape}, expected (h, w)")
    patch_places(checked.image_shape)
    specification.require_positive(checked.channels, "siamese_gap.channels")
    specification.require_positive(checked.convolutions, "siamese_gap.convolutions")
    blocks = len(checked.channels)
    if len(checked.convolutions) != blocks:
        raise InputError(
            f"siamese_gap.convolutions: found {checked.convolutions}, expected {blocks} numbers"
        )
    wanted = set(range(1, blocks + 1))
    if not set(checked.levels) <= wanted or len(set(checked.levels)) != len(checked.levels):
        raise InputError(
            f"siamese_gap.levels: found {checked.levels}, expected different ones of 1..{blocks}"
        )
    for name, value, known in (
        ("pooling", checked.pooling, POOLING),
        ("branches", checked.branches, BRANCHES),
        ("head", checked.head, HEADS),
    ):
        if value not in known:
            raise InputError(f"siamese_gap.{name}: found {value!r}, expected {' or '.join(known)}")
    if not 0 <= checked.dropout < 1:
        raise InputError(f"siamese_gap.dropout: found {checked.dropout}, expected it in [0, 1)")
    if checked.classes < 2:
        raise InputError(f"siamese_gap.classes: found {checked.classes}, expected 2 or more")
    return checked


def make(
    spec: Mapping[str, Any], dtype: Dtype = jnp.float32, axis_name: str | None = None
) -> SiameseGap:
    """The network of `spec`, computing in `dtype`, normalised over `axis_name` inside pmap."""
    return SiameseGap(read_spec(spec), axis_name, dtype)
