"""One knee on the voxel grid: tissues composited by priority, with partial volume."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from xr2mri_jax.geometry import BOX_MM
from xr2mri_jax.phantom import bones, joint, sdf, soft_tissue
from xr2mri_jax.phantom.mri import signal_table
from xr2mri_jax.phantom.parameters import Parameters
from xr2mri_jax.phantom.pose import Point, Pose
from xr2mri_jax.phantom.surfaces import SURFACES
from xr2mri_jax.phantom.tissues import CODES, attenuation_table

Array = jax.Array

BONES = ("patella", "femur", "tibia", "fibula")
# The layers after the bones, highest priority first, with the weights of the fine and of the coarse
# noise in their MRI signal: muscle has streaks, fat has strands of connective tissue.
SOFT: dict[str, tuple[float, float]] = {
    "patellar_cartilage": (0.05, 0.0),
    "medial_tibial_cartilage": (0.05, 0.0),
    "lateral_tibial_cartilage": (0.05, 0.0),
    "femoral_cartilage": (0.05, 0.0),
    "ligament": (0.1, 0.0),
    "medial_meniscus": (0.05, 0.0),
    "lateral_meniscus": (0.05, 0.0),
    "fluid": (0.0, 0.0),
    "vessel": (0.1, 0.0),
    "muscle": (0.07, 0.05),
    "fat": (0.18, 0.15),
    "skin": (0.0, 0.0),
}


class Voxels(NamedTuple):
    """The phantom's outputs for every voxel of [d, h, w].

    Attributes:
      labels: u8, the tissue with the largest share (codes of `tissues.TISSUES`).
      signal: f32, DESS signal weighted by the shares of the tissues, relative to cartilage = 1.
      attenuation: f32, linear attenuation in 1/mm, weighted likewise.
      distances: f32[k, d / 2, h / 4, w / 4], means of the signed distances of `surfaces.NAMES` over
        blocks of voxels, mm, negative inside; None if not requested.
    """

    labels: Array
    signal: Array
    attenuation: Array
    distances: Array | None = None


def voxelise(
    p: Parameters, pose: Pose, key: Array, shape: tuple[int, int, int], distances: bool = False
) -> Voxels:
    """Evaluates one knee on the canonical grid, one coronal slab after the other.

    Args:
      p: from `parameters.sample`, with the rows of `bones.with_rows`.
      pose: from `pose.place`.
      key: typed key of the textures and of the roughness of surfaces.
      shape: (d, h, w) in voxels over the canonical box.
      distances: whether to add the signed distances; d must be even, h and w multiples of 4.
    """
    spacing = [extent / n for extent, n in zip(BOX_MM, shape, strict=True)]
    y, z, x = (
        ((jnp.arange(n) + 0.5) * step - 0.5 * extent) / p["size"]
        for n, step, extent in zip(shape, spacing, BOX_MM, strict=True)
    )
    voxel = float(np.mean(spacing)) / p["size"]
    relative = [(jnp.arange(n) + 0.5) / n for n in shape]
    rough, grain = textures(key, relative)
    x, z = jnp.broadcast_arrays(x[None, :], z[:, None])

    def slab(inputs: tuple[Array, Array, Array]) -> Voxels:
        depth, rough_slab, grain_slab = inputs
        box = jnp.stack([x, jnp.full_like(x, depth), z])
        return _slab(p, pose, box, rough_slab, grain_slab, voxel, distances=distances)

    voxels = jax.lax.map(slab, (y, rough, grain))
    if voxels.distances is None:
        return voxels
    pairs = voxels.distances.reshape(shape[0] // 2, 2, *voxels.distances.shape[1:])
    return voxels._replace(distances=jnp.moveaxis(pairs.mean(1), 1, 0) * p["size"])


def attenuation_path(
    p: Parameters,
    pose: Pose,
    key: Array,
    grid: tuple[Array, Array, Array],
    voxel_mm: float,
    soft: Callable[[Point], Point],
) -> Array:
    """Sums the attenuation along d on a grid that may reach beyond the canonical box.

    Inside the box the anatomy and its textures are those of `voxelise`.

    Args:
      p, pose, key: as for `voxelise`.
      grid: positions along d, h and w (posterior, inferior, medial; the box's centre is 0), f32[n]
        each, in mm; those along d are evenly spaced.
      voxel_mm: width over which surfaces are blurred.
      soft: maps a point of the leg's frame to the point where its soft tissue is evaluated, because
        `muscles` and `skin` are defined for the box only.

    Returns:
      f32[h, w]: line integrals of the attenuation, dimensionless.
    """
    relative = [axis / extent + 0.5 for axis, extent in zip(grid, BOX_MM, strict=True)]
    rough, grain = textures(key, relative)
    y, z, x = (axis / p["size"] for axis in grid)
    step = grid[0][1] - grid[0][0]
    x, z = jnp.broadcast_arrays(x[None, :], z[:, None])

    def add(path: Array, inputs: tuple[Array, Array, Array]) -> tuple[Array, None]:
        depth, rough_slab, grain_slab = inputs
        box = jnp.stack([x, jnp.full_like(x, depth), z])
        voxels = _slab(p, pose, box, rough_slab, grain_slab, voxel_mm / p["size"], soft)
        return path + step * voxels.attenuation, None

    return jax.lax.scan(add, jnp.zeros_like(x), (y, rough, grain))[0]


def _slab(
    p: Parameters,
    pose: Pose,
    box: Array,
    rough: Array,
    grain: Array,
    voxel: Array,
    soft: Callable[[Point], Point] | None = None,
    distances: bool = False,
) -> Voxels:
    """Tissues of one coronal slab.

    Args:
      box: f32[3, h, w], coordinates (x, y, z) in the box over the overall size.
      rough, grain: f32[h, w], smooth noise of about 10 mm and of about 2 mm, deviation about 1.
      voxel: width over which surfaces are blurred, in the same unit.
      soft: as in `attenuation_path`; None: the point itself.
      distances: whether to add the slab's signed distances, f32[k, h / 4, w / 4], in that unit.
    """
    leg, in_femur, in_tibia, in_patella = pose.locals(box)
    femur, notch = bones.femur(p, *in_femur)
    tibia, depth = bones.tibia(p, *in_tibia)
    fibula, patella = bones.fibula(p, *in_tibia), bones.patella(p, *in_patella)
    medial = sdf.smooth_step(-4.0, 4.0, in_tibia[0])
    centre = tuple(pose.patella.origin)
    flesh = leg if soft is None else soft(leg)
    parts = joint.cartilages(
        p, (femur, notch, depth, patella), in_femur, in_tibia, in_patella, medial
    )
    parts |= {
        "ligament": jnp.minimum(
            soft_tissue.tendons(p, *leg, patella=centre), joint.cruciates(*in_tibia)
        ),
        "medial_meniscus": joint.meniscus(p, in_tibia[0], in_tibia[1], depth, True) + 0.2 * rough,
        "lateral_meniscus": joint.meniscus(p, in_tibia[0], in_tibia[1], depth, False) + 0.2 * rough,
        "fluid": joint.fluid(p, leg, in_femur, femur, notch, centre) + 0.3 * rough,
        "vessel": soft_tissue.vessels(*leg),
        "skin": soft_tissue.skin(p, *flesh, patella=patella),
    }
    parts["fat"] = parts["skin"] + 1.6
    fascia = soft_tissue.fascia(p, flesh[0], flesh[1], parts["skin"])
    parts["muscle"] = soft_tissue.muscles(p, *flesh, fascia=fascia) + 0.7 * rough
    layers = jnp.stack([parts[name] for name in SOFT])
    hard = jnp.stack([patella, femur, tibia, fibula]) + 0.22 * rough
    sclerosis = _sclerosis(p, medial, depth, femur, in_femur[2])
    voxels = _composite(
        tuple(
            jnp.concatenate(pair)
            for pair in zip(
                bone_layers(p, hard, sclerosis, jnp.abs(leg[2]), grain, voxel),
                soft_layers(layers, rough, grain, voxel),
                strict=True,
            )
        )
    )
    if not distances:
        return voxels
    near = _enclosing(parts | dict(zip(BONES, hard, strict=True)))
    blocks = near.reshape(len(near), near.shape[1] // 4, 4, near.shape[2] // 4, 4)
    return voxels._replace(distances=blocks.mean((2, 4)))


def _enclosing(parts: dict[str, Array]) -> Array:
    """Signed distances of the unions of tissues that `surfaces.SURFACES` names: f32[k, h, w]."""
    unions = ([parts[name] for name in names] for names in SURFACES.values())
    return jnp.stack([functools.reduce(jnp.minimum, union) for union in unions])


def _cover(distance: Array, voxel: Array) -> Array:
    """Share of a voxel inside the surface at `distance` (partial volume)."""
    return jnp.clip(0.5 - distance / voxel, 0.0, 1.0)


def _column(values: list[float] | np.ndarray) -> Array:
    return jnp.asarray(np.asarray(values, np.float32))[:, None, None]


def _sclerosis(p: Parameters, medial: Array, depth: Array, femur: Array, z: Array) -> Array:
    """Share of sclerotic marrow under the joint's surface: f32[4, h, w] by bone."""
    left = p["lateral_left"] + (p["medial_left"] - p["lateral_left"]) * medial
    amount = p["sclerosis"] * (1.0 - left)
    none = jnp.zeros_like(amount)
    in_femur = amount * sdf.smooth_step(9.0, 2.0, -femur) * sdf.smooth_step(6.0, 12.0, z)
    return jnp.stack([none, in_femur, amount * sdf.smooth_step(11.0, 2.0, depth), none])


def bone_layers(
    p: Parameters, distance: Array, sclerosis: Array, away: Array, grain: Array, voxel: Array
) -> tuple[Array, Array, Array]:
    """Bones: a cortical shell, thick at the shaft, around textured spongy bone.

    Args:
      distance, sclerosis: f32[4, h, w] in the order of BONES.
      away: f32[h, w], distance from the joint along the leg; marrow opens and the shell thickens.

    Returns:
      Cover, MRI signal and attenuation, each f32[4, h, w].
    """
    signals, mus = signal_table(), attenuation_table()
    code, cortical, fat = CODES["femur"], CODES["cortical_bone"], CODES["fat"]
    shaft = sdf.smooth_step(24.0, 58.0, away) * _column([0.0, 1.0, 1.0, 0.6])
    cover = _cover(distance, voxel)
    shell = p["cortex"] * (0.9 + 3.2 * shaft)
    inside = _cover(distance + shell, voxel) / jnp.maximum(cover, 1e-3)
    spongy = jnp.maximum(p["density"] * (1.0 - 0.75 * shaft) * (1.0 + 0.45 * grain), 0.0)
    marrow_mu = mus[fat] + (mus[code] - mus[fat]) * spongy
    hard = jnp.clip(1.0 - inside + 0.5 * sclerosis * inside, 0.0, 1.0)
    marrow = signals[code] * (1.0 + 0.2 * grain)
    signal = marrow + (signals[cortical] - marrow) * hard
    return cover, signal, marrow_mu + (mus[cortical] - marrow_mu) * hard


def soft_layers(
    distance: Array, rough: Array, grain: Array, voxel: Array
) -> tuple[Array, Array, Array]:
    """Cover, MRI signal and attenuation of the tissues of SOFT, each f32[n, h, w]."""
    codes = [CODES[name] for name in SOFT]
    fine, coarse = (_column([weights[i] for weights in SOFT.values()]) for i in range(2))
    texture = jnp.clip(1.0 + fine * grain + coarse * rough, 0.3, 3.0)
    signal = _column(signal_table()[codes]) * texture
    mu = jnp.broadcast_to(_column(attenuation_table()[codes]), distance.shape)
    return _cover(distance, voxel), signal, mu


def _composite(layers: tuple[Array, ...]) -> Voxels:
    """Composites layers front to back: each covers what earlier layers left of a voxel."""
    cover, signal, attenuation = layers
    codes = jnp.array([CODES[name] for name in (*BONES, *SOFT)], jnp.uint8)

    def add(state: tuple, layer: tuple) -> tuple[tuple, None]:
        left, total, mu, best, label = state
        cover, signal, attenuation, code = layer
        share = cover * left
        label = jnp.where(share > best, code, label)
        best = jnp.maximum(share, best)
        return (left - share, total + share * signal, mu + share * attenuation, best, label), None

    zero = jnp.zeros_like(cover[0])
    start = (zero + 1.0, zero, zero, zero, zero.astype(jnp.uint8))
    (left, total, mu, best, label), _ = jax.lax.scan(
        add, start, (cover, signal, attenuation, codes)
    )
    return Voxels(jnp.where(left > best, jnp.uint8(0), label), total, mu)


def textures(key: Array, relative: list[Array]) -> tuple[Array, Array]:
    """The rough and the fine noise, f32[d, h, w] each, at positions relative to the box (0..1).

    The cells fill the box; the factor 1.6 compensates the smoothing by interpolation.
    """
    cells = 1.6 * jax.random.normal(key, (32, 36, 72))
    # The coarse field is a stretched corner of the fine one: no value coincides with itself.
    return stretch(cells[:14, :14, :14], relative), stretch(cells, relative)


def stretch(field: Array, relative: list[Array]) -> Array:
    """Linear interpolation of noise f32[i, j, k] to [d, h, w], mirrored beyond the box.

    Args:
      field: cells that fill the box.
      relative: positions along d, h and w relative to the box (0..1), f32[n] each.
    """
    for n, position in zip(field.shape, relative, strict=True):
        within = 1.0 - jnp.abs(jnp.mod(position, 2.0) - 1.0)
        place = jnp.clip(within * n - 0.5, 0.0, n - 1.0)
        weights = jnp.maximum(1.0 - jnp.abs(place[:, None] - jnp.arange(n)), 0.0)
        # Contracts the first axis and puts the new one last: after three axes the order is back.
        field = jnp.tensordot(field, weights, axes=(0, 1), precision="highest")
    return field
