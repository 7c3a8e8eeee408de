"""The generator: a radiograph's hidden variables -> an MRI volume in the canonical frame.

`vector`: the paper's form: the bottleneck, flattened to one global vector, becomes a small volume
that is upsampled level by level. `pyramid`: the hidden variables of every level are lifted to 3D
and merged from coarse to fine; radiograph and volume are aligned along d, so that a pixel's
features belong to the column of voxels behind it.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from xr2mri_jax.errors import InputError
from xr2mri_jax.models import specification
from xr2mri_jax.models.encoder_maps import require_maps
from xr2mri_jax.models.layers import (
    Dtype,
    Lift,
    Upsample,
    VolumeBlock,
    activate,
    initialiser,
    unit_rms,
)
from xr2mri_jax.models.product import Dense
from xr2mri_jax.models.shape_generator import READINGS, ShapeGenerator, reading_features
from xr2mri_jax.models.sharding import split_depth
from xr2mri_jax.phantom.surfaces import NAMES

FORMS = ("pyramid", "vector", "shape")


@dataclasses.dataclass(frozen=True)
class GeneratorSpec:
    """Sizes of the generator; tuples have one entry per level, finest (half resolution) first.

    Attributes:
      volume_shape: (d, h, w) of the volume, each a multiple of 2**len(channels).
      form: "pyramid", "vector" or "shape".
      channels: channels of the volume features.
      widths: features of a column inside a residual block, and of an image before it is lifted.
      blocks: residual blocks.
      mean_level: value of the untrained volume, in (0, 1).
      surfaces: number of signed distances predicted beside the volume (`phantom.surfaces.NAMES` has
        nine); 0 for none.
      surface_width: features of a column (form "shape": of the whole radiograph) from which the
        distances are computed.
      coefficients: components of the form "shape".
      column_width: features of a pixel, form "shape", that change the column behind it.
      reading: of the form "shape", how the coefficients follow from the radiograph: "network" (from
        the hidden variables, trained) or "linear" (from the bottleneck and oriented gradients,
        fitted when the generator is packaged).
    """

    volume_shape: tuple[int, ...]
    form: str = "pyramid"
    channels: tuple[int, ...] = (16, 24, 32, 48)
    widths: tuple[int, ...] = (96, 128, 160, 192)
    blocks: tuple[int, ...] = (1, 1, 1, 1)
    mean_level: float = 0.2
    surfaces: int = 0
    surface_width: int = 128
    coefficients: int = 64
    column_width: int = 96
    reading: str = "network"


def surface_shape(spec: GeneratorSpec) -> tuple[int, int, int, int]:
    """(surfaces, d, h, w) of the signed distances, which are smooth: a quarter of h and w."""
    depth, height, width = spec.volume_shape
    return spec.surfaces, depth // 2, height // 4, width // 4


class Generator(nn.Module):
    """Hidden variables by level, finest first -> volume f32[b, d, h, w, 1] in [0, 1].

    With `spec.surfaces` the result is the pair of that volume and the signed distances
    f32[b, k, d / 2, h / 4, w / 4] in mm, negative inside, from the features of the second level.

    The form `pyramid` needs one map [b, h / 2**(i+1), w / 2**(i+1), c] per level; the form `vector`
    reads only the last entry, of any shape. Computes in `dtype`; parameters float32.
    """

    spec: GeneratorSpec
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, hidden: tuple[jax.Array, ...]) -> Any:
        spec = self.spec
        if spec.form == "pyramid":
            require_maps(hidden, spec.volume_shape, len(spec.channels))
        x: jax.Array | None = None
        distances: jax.Array | None = None
        for level in reversed(range(len(spec.channels))):
            if x is not None:
                up = Upsample(spec.channels[level], dtype=self.dtype, name=f"up{level}")
                x = up(activate(x))
            x = split_depth(self._enter(x, hidden, level), 3)
            for block in range(spec.blocks[level]):
                name = f"level{level}_block{block}"
                block_of = VolumeBlock(spec.widths[level], dtype=self.dtype, name=name)
                x = split_depth(block_of(x), 3)
            if spec.surfaces and level == 1:
                distances = self._surfaces(activate(x))
        assert x is not None  # the spec has at least one level
        volume = self._output(activate(x))
        return (volume, distances) if spec.surfaces else volume

    def _enter(self, x: jax.Array | None, hidden: tuple[jax.Array, ...], level: int) -> jax.Array:
        """Adds the hidden variables and position features of this level: [b, h, w, d, c]."""
        spec = self.spec
        depth, height, width = (size >> level + 1 for size in spec.volume_shape)
        features = spec.channels[level]
        if spec.form == "pyramid":
            name = f"lift{level}"
            lift = Lift(depth, features, spec.widths[level], dtype=self.dtype, name=name)
            lifted = lift(hidden[level].astype(self.dtype))
            x = lifted if x is None else x + lifted
        elif x is None:
            vector = hidden[-1].reshape(hidden[-1].shape[0], -1).astype(self.dtype)
            size = height * width * depth * features
            x = Dense(size, kernel_init=initialiser(1.0), dtype=self.dtype, name="seed")(vector)
            x = x.reshape(-1, height, width, depth, features)
        shape = (height, width, depth, features)
        place = self.param(f"place{level}", initialiser(0.01, added=True), shape, jnp.float32)
        return x + place.astype(self.dtype)

    def _output(self, x: jax.Array) -> jax.Array:
        """Columns of features at half resolution -> the volume, by 2x2x2 sub-pixel phases."""
        batch, height, width, depth, _ = x.shape
        column = x.reshape(batch, height, width, -1)
        phases = Dense(
            depth * 8,
            use_bias=False,
            kernel_init=nn.initializers.zeros,
            dtype=self.dtype,
            name="output",
        )(column)
        phases = phases.reshape(batch, height, width, depth, 2, 2, 2)  # phases of d, h, w
        volume = phases.transpose(0, 3, 4, 1, 5, 2, 6)
        volume = volume.reshape(batch, *self.spec.volume_shape)
        template = self.param(
            "template", nn.initializers.zeros, self.spec.volume_shape, jnp.float32
        )
        logits = volume.astype(jnp.float32) + template + _logit(self.spec.mean_level)
        return jax.nn.sigmoid(split_depth(logits, 1))[..., None]

    def _surfaces(self, x: jax.Array) -> jax.Array:
        """Feature columns of the second level -> signed distances, with twice the depth.

        The features are normalised because distances are unbounded: as the features grew, a
        learning rate suitable for the volume made the distances diverge.
        """
        surfaces, depth, height, width = surface_shape(self.spec)
        column = x.reshape(*x.shape[:3], -1)
        dense = Dense(
            self.spec.surface_width, kernel_init=initialiser(2.0), dtype=self.dtype, name="near"
        )
        found = Dense(
            surfaces * depth,
            use_bias=False,
            kernel_init=nn.initializers.zeros,
            dtype=self.dtype,
            name="distances",
        )(unit_rms(activate(dense(column))))
        found = found.reshape(-1, height, width, surfaces, depth).transpose(0, 3, 4, 1, 2)
        template = self.param(
            "surface_template", nn.initializers.zeros, surface_shape(self.spec), jnp.float32
        )
        return split_depth(found.astype(jnp.float32) + template, 2)


def read_spec(spec: Mapping[str, Any]) -> GeneratorSpec:
    """Checks a mapping with `volume_shape`, `form` and any override of the sizes.

    Raises:
      InputError: unknown form or key, wrong type, or sizes that do not fit each other.
    """
    checked = specification.read(GeneratorSpec, spec, "generator")
    if checked.form not in FORMS:
        raise InputError(f"generator.form: found {checked.form!r}, expected {' or '.join(FORMS)}")
    levels = len(checked.channels)
    for name in ("widths", "blocks"):
        if len(getattr(checked, name)) != levels:
            raise InputError(
                f"generator.{name}: found {getattr(checked, name)}, expected {levels} entries, "
                f"one per level of generator.channels"
            )
    specification.require_positive(checked.channels, "generator.channels")
    specification.require_positive(checked.widths, "generator.widths")
    if len(checked.volume_shape) != 3:
        raise InputError(
            f"generator.volume_shape: found {checked.volume_shape}, expected (d, h, w)"
        )
    specification.require_divisible(checked.volume_shape, levels, "generator.volume_shape")
    if checked.form == "shape" and checked.surfaces != len(NAMES):
        raise InputError(
            f"generator.surfaces: found {checked.surfaces}, the form 'shape' expects {len(NAMES)}"
        )
    if checked.reading not in READINGS or (checked.reading == "linear" and checked.form != "shape"):
        raise InputError(
            f"generator.reading: found {checked.reading!r} with the form {checked.form!r}, "
            f"expected {' or '.join(READINGS)}, the second with the form 'shape' alone"
        )
    if checked.surfaces and levels < 2:
        raise InputError(f"generator.channels: found {levels} level, surfaces need two")
    if checked.form == "shape" and min(checked.coefficients, checked.column_width) < 1:
        raise InputError(
            f"generator.coefficients, generator.column_width: found {checked.coefficients}, "
            f"{checked.column_width}, the form 'shape' expects at least 1"
        )
    if checked.surfaces < 0 or checked.surface_width < 1:
        raise InputError(
            f"generator.surfaces, generator.surface_width: found {checked.surfaces}, "
            f"{checked.surface_width}, expected at least 0 and 1"
        )
    if not 0.0 < checked.mean_level < 1.0:
        raise InputError(
            f"generator.mean_level: found {checked.mean_level}, expected it inside (0, 1)"
        )
    return checked


def make(spec: Mapping[str, Any], dtype: Dtype = jnp.float32) -> Generator | ShapeGenerator:
    """The generator of `spec` (see `GeneratorSpec`), computing in `dtype`."""
    checked = read_spec(spec)
    if checked.form == "shape":
        return ShapeGenerator(checked, surface_shape(checked), dtype)
    return Generator(checked, dtype)


def input_of(spec: Mapping[str, Any], hidden: Any, xray: Any) -> Any:
    """What the generator of `spec` takes: the hidden variables, or features of a linear reading.

    Args:
      spec: the mapping given to `make`.
      hidden: tuple of hidden variables by level, finest first.
      xray: f32[b, h, w, 1] in [0, 1], the radiographs.
    """
    linear = spec.get("reading") == "linear"
    return reading_features(hidden, xray) if linear else hidden


def with_mean_volume(
    params: Mapping[str, Any], spec: Mapping[str, Any], mean: np.ndarray
) -> dict[str, Any]:
    """The generator's parameters with a template that makes the untrained output `mean`.

    Training then starts from the mean volume's error and learns the departures from it.

    Args:
      params: the generator's own parameters (the tree under "generator").
      spec: the mapping given to `make`.
      mean: f32[d, h, w] or [d, h, w, 1] in [0, 1], the mean of the training volumes; clipped to
        [0.005, 0.995], where the sigmoid still has a gradient.

    Raises:
      InputError: the mean has another shape than the volume.
    """
    checked = read_spec(spec)
    level = np.asarray(mean, np.float32).reshape(np.shape(mean)[:3])
    if level.shape != checked.volume_shape:
        raise InputError(f"mean volume: found {np.shape(mean)}, expected {checked.volume_shape}")
    level = np.clip(level, 0.005, 0.995)
    template = np.log(level / (1.0 - level)) - _logit(checked.mean_level)
    return {**params, "template": jnp.asarray(template, jnp.float32)}


def with_mean_distances(
    params: Mapping[str, Any], spec: Mapping[str, Any], mean: np.ndarray
) -> dict[str, Any]:
    """The parameters with a template that makes the untrained distances `mean`.

    Args:
      params: the generator's own parameters.
      spec: the mapping given to `make`, with surfaces.
      mean: f32[k, d / 2, h / 4, w / 4] in mm.

    Raises:
      InputError: the mean has another shape than the distances.
    """
    wanted = surface_shape(read_spec(spec))
    if np.shape(mean) != wanted:
        raise InputError(f"mean distances: found {np.shape(mean)}, expected {wanted}")
    return {**params, "surface_template": jnp.asarray(mean, jnp.float32)}


def _logit(level: float) -> float:
    return math.log(level / (1.0 - level))
