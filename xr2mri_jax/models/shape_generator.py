"""The generator's form `shape`: hidden variables -> coefficients -> surfaces -> MRI volume.

The hidden variables become the coefficients of the principal components of the training knees'
signed distances, after statistical shape models of bones from radiographs (Fleute and Lavallee,
MICCAI 1998). With the reading "network" a trained network gives the coefficients, and each pixel
adds to the distances of the column of voxels behind it what the components do not hold. With the
reading "linear" the coefficients are a linear function of the bottleneck and of the radiograph's
oriented gradients, fitted in closed form (`evaluation.linear_reading`). The volume is painted from
the surfaces: inside a surface it has the level of the tissue, outside of all surfaces it is the
mean of the training volumes. No operation on fine volumes is trained, so training costs little more
than the encoder's.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from xr2mri_jax.errors import InputError
from xr2mri_jax.models.encoder_maps import require_maps
from xr2mri_jax.models.layers import (
    Convolution,
    Dtype,
    ResidualBlock,
    Upsample,
    activate,
    initialiser,
)
from xr2mri_jax.models.oriented_gradients import oriented_gradients
from xr2mri_jax.models.product import Dense
from xr2mri_jax.models.sharding import split_depth
from xr2mri_jax.phantom import surfaces
from xr2mri_jax.phantom.surfaces import NAMES

# Parameters that are set from training examples and not trained.
FIXED = ("mean", "basis", "template", "levels", "reading", "reading_offset")
READINGS = ("network", "linear")
LEVELS = ("cortex", "marrow", "cartilage", "meniscus")
# Width over which a surface is blurred, and the thickness of a bone's shell, mm.
_EDGE_MM, _SHELL_MM = 1.3, 1.0
# Squeezed features of the level below the bottleneck.
_FINER = 16
# So many volumes tell the levels and the template as well as more would.
_PAINTED = 200
_BONES = (("femur", "femoral_outer"), ("tibia", "tibial_outer"), ("patella", "patellar_outer"))


class ShapeGenerator(nn.Module):
    """Features of a radiograph -> (volume f32[b, d, h, w, 1], distances f32[b, k, ...] mm).

    The reading "network" takes the hidden variables, finest first, and uses every level but the
    finest, each [b, h', w', c]; the reading "linear" takes `reading_features` f32[b, f]. `spec` is
    a `generator.GeneratorSpec` of the form "shape"; the distances have the shape
    `generator.surface_shape(spec)`.
    """

    spec: Any
    surface_shape: tuple[int, ...]
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, given: Any) -> tuple[jax.Array, jax.Array]:
        spec, shape = self.spec, self.surface_shape
        zeros = nn.initializers.zeros
        mean = self.param("mean", zeros, shape, jnp.float32)
        basis = self.param("basis", zeros, (spec.coefficients, *shape), jnp.float32)
        template = self.param("template", zeros, spec.volume_shape, jnp.float32)
        levels = self.param("levels", zeros, (len(LEVELS),), jnp.float32)
        if spec.reading == "linear":
            distances = mean + jnp.tensordot(self._read(given), basis, axes=1)
        else:
            require_maps(given, spec.volume_shape, max(len(given), 2))
            distances = mean + jnp.tensordot(self._coefficients(given), basis, axes=1)
            distances = distances + self._columns(given)
        distances = split_depth(distances, 2)
        return painted(distances, template, levels)[..., None], distances

    def _read(self, features: jax.Array) -> jax.Array:
        """f32[b, coefficients], in standard deviations of the simulated knees."""
        zeros, count = nn.initializers.zeros, self.spec.coefficients
        kernel = self.param("reading", zeros, (features.shape[-1], count), jnp.float32)
        offset = self.param("reading_offset", zeros, (count,), jnp.float32)
        return features @ kernel + offset

    def _coefficients(self, hidden: tuple[jax.Array, ...]) -> jax.Array:
        """f32[b, coefficients], in standard deviations of the training knees."""
        finer = Dense(_FINER, kernel_init=initialiser(1.0), dtype=self.dtype, name="finer")
        parts = [hidden[-1].astype(self.dtype), finer(hidden[-2].astype(self.dtype))]
        x = jnp.concatenate([part.reshape(part.shape[0], -1) for part in parts], axis=-1)
        dense = Dense(
            self.spec.surface_width, kernel_init=initialiser(2.0), dtype=self.dtype, name="global"
        )
        x = activate(dense(activate(x)))
        last = Dense(
            self.spec.coefficients,
            kernel_init=nn.initializers.zeros,
            dtype=self.dtype,
            name="coefficients",
        )
        return last(x).astype(jnp.float32)

    def _columns(self, hidden: tuple[jax.Array, ...]) -> jax.Array:
        """Per-pixel corrections of the signed distances along depth: f32[b, k, d, h, w]."""
        surfaces_, depth, height, width = self.surface_shape
        x: jax.Array | None = None
        for level in reversed(range(1, len(hidden))):
            features = hidden[level].astype(self.dtype)
            own = Convolution(self.spec.column_width, dtype=self.dtype, name=f"own{level}")(
                features
            )
            if x is not None:
                up = Upsample(self.spec.column_width, dtype=self.dtype, name=f"up{level}")
                own = own + up(activate(x))
            x = ResidualBlock(self.spec.column_width, dtype=self.dtype, name=f"level{level}")(own)
        assert x is not None  # there are two levels or more
        x = ResidualBlock(self.spec.column_width, dtype=self.dtype, name="last")(x)
        column = Dense(
            surfaces_ * depth,
            use_bias=False,
            kernel_init=nn.initializers.zeros,
            dtype=self.dtype,
            name="column",
        )(activate(x))
        column = column.reshape(-1, height, width, surfaces_, depth).transpose(0, 3, 4, 1, 2)
        return column.astype(jnp.float32)


def reading_parts(hidden: tuple[jax.Array, ...], xray: jax.Array) -> list[jax.Array]:
    """What the linear reading takes, in parts of one kind: f32[b, f] each.

    Args:
      hidden: by level, finest first, each [b, h', w', c]; the bottleneck, the last, is taken.
      xray: f32[b, n, n, 1] in [0, 1], of which the oriented gradients are taken.
    """
    maps = [hidden[-1], *oriented_gradients(xray)]
    return [part.astype(jnp.float32).reshape(len(xray), -1) for part in maps]


def reading_features(hidden: tuple[jax.Array, ...], xray: jax.Array) -> jax.Array:
    """The parts of `reading_parts` beside each other: f32[b, f]."""
    return jnp.concatenate(reading_parts(hidden, xray), axis=-1)


def painted(distances: jax.Array, template: jax.Array, levels: jax.Array) -> jax.Array:
    """MRI volumes from surfaces.

    Args:
      distances: f32[b, k, d', h', w'] in the order of `surfaces.NAMES`, mm, negative inside.
      template: f32[d, h, w] in [0, 1]: what lies outside of all surfaces.
      levels: f32[4], by LEVELS.

    Returns:
      f32[b, d, h, w] in [0, 1].
    """
    fine = distances
    for axis, n in enumerate(template.shape):
        weights = jnp.asarray(surfaces.linear_weights(distances.shape[axis + 2], n))
        fine = jnp.moveaxis(jnp.tensordot(fine, weights, axes=(axis + 2, 1)), -1, axis + 2)
    by_name = {name: fine[:, index] for index, name in enumerate(NAMES)}

    def cover(distance: jax.Array) -> jax.Array:
        return jnp.clip(0.5 - distance / _EDGE_MM, 0.0, 1.0)

    def with_bone(image: jax.Array, distance: jax.Array) -> jax.Array:
        inside = levels[0] + cover(distance + _SHELL_MM) * (levels[1] - levels[0])
        return image + cover(distance) * (inside - image)

    image = template[None]
    for name in ("medial_meniscus", "lateral_meniscus"):
        image = image + cover(by_name[name]) * (levels[3] - image)
    for bone, outer in _BONES:
        image = image + cover(by_name[outer]) * (levels[2] - image)
        image = with_bone(image, by_name[bone])
    return split_depth(jnp.clip(with_bone(image, by_name["fibula"]), 0.0, 1.0), 1)


class Fit:
    """Accumulates the statistics of the fixed parameters batch by batch."""

    def __init__(self, surface_shape: tuple[int, ...], volume_shape: tuple[int, ...]):
        """Takes the shapes of one example's distances and volume."""
        self._shape = surface_shape
        self._rows: list[np.ndarray] = []
        self._outside = np.zeros((2, *volume_shape), np.float64)
        self._levels = np.zeros((2, len(LEVELS)), np.float64)

    def add(self, batch: Mapping[str, np.ndarray]) -> None:
        """Takes the real examples of a batch with distances and mri."""
        real = np.asarray(batch["example_mask"]) > 0
        for distances, mri in zip(batch["distances"][real], batch["mri"][real], strict=True):
            self._rows.append(np.asarray(distances).astype(np.float16).ravel())
            if len(self._rows) > _PAINTED:
                continue
            fine = surfaces.resized(np.asarray(distances), mri.shape[:3])
            self._paint(dict(zip(NAMES, fine, strict=True)), mri[..., 0])

    def _paint(self, fine: Mapping[str, np.ndarray], mri: np.ndarray) -> None:
        outside = np.min(list(fine.values()), axis=0) > 0.5 * _EDGE_MM
        self._outside += np.stack([mri * outside, outside])
        bones = np.min([fine[n] for n in ("femur", "tibia", "patella", "fibula")], axis=0)
        outer = np.min([fine[name] for _, name in _BONES], axis=0)
        menisci = np.minimum(fine["medial_meniscus"], fine["lateral_meniscus"])
        parts = (
            (bones > -0.9) & (bones < -0.3),
            bones < -2.5,
            (outer < -0.5) & (bones > 0.5),
            (menisci < -0.6) & (outer > 0.5),
        )
        for index, part in enumerate(parts):
            self._levels[:, index] += mri[part].sum(), part.sum()

    def params(self, coefficients: int) -> dict[str, jax.Array]:
        """The fixed parameters: mean, components times their standard deviations, template, levels.

        Raises:
          InputError: fewer examples than coefficients.
        """
        if len(self._rows) <= coefficients:
            raise InputError(
                f"generator.coefficients: found {coefficients} for {len(self._rows)} training "
                "knees, expected fewer than the knees"
            )
        rows = np.stack(self._rows).astype(np.float32)
        mean, _, basis = principal_components(rows, self._shape, coefficients)
        count = np.maximum(self._outside[1], 1e-9)
        usual = self._outside[0].sum() / max(self._outside[1].sum(), 1.0)
        template = np.where(self._outside[1] > 0, self._outside[0] / count, usual)
        levels = self._levels[0] / np.maximum(self._levels[1], 1.0)
        made = {
            "mean": mean,
            "basis": basis,
            "template": template,
            "levels": levels,
        }
        return {name: jnp.asarray(value, jnp.float32) for name, value in made.items()}


def principal_components(
    rows: np.ndarray, shape: tuple[int, ...], count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The principal components of signed distances.

    A surface weighs less than in proportion to its variance, so that small ones have a say.

    Args:
      rows: f32[n, m] in mm, one knee each; the mean is subtracted in place.
      shape: (k, d, h, w) of a knee, m voxels.
      count: number of components, fewer than n.

    Returns:
      The mean f32[k, d, h, w] in mm; scores f32[n, count] of unit variance; the components times
      their standard deviations, f32[count, k, d, h, w] in mm.
    """
    mean = rows.mean(axis=0)
    rows -= mean
    parts = rows.reshape(len(rows), shape[0], -1)
    energy = np.maximum((parts**2).sum(axis=(0, 2)), 1e-6)
    weight = np.repeat(energy**-0.25, parts.shape[2]).astype(np.float32)
    weighted = rows * weight
    values, vectors = np.linalg.eigh(weighted @ weighted.T)
    order = np.argsort(values)[::-1][:count]
    # Unit variance over the knees: a component is the mean of knees, so weighted.
    scores = (vectors[:, order] * np.sqrt(len(rows))).astype(np.float32)
    basis = scores.T @ rows / len(rows)
    return mean.reshape(shape), scores, basis.reshape(count, *shape)
