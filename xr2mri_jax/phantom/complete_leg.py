"""Completes the leg around a labelled knee with parts of the phantom.

Labelled bones and soft parts keep their position. Bones that the field cuts off are extended along
the leg. A missing patella or fibula, muscles, fat, skin, tendons and vessels come from the phantom,
scaled to the width of the tibia and kept outside labelled parts. Coordinates are as in `bones`:
canonical right knee, x lateral to medial, y anterior to posterior, z superior to inferior, mm from
the joint centre.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import ndimage

from xr2mri_jax.geometry import BOX_MM
from xr2mri_jax.phantom import anatomy, bones, fibres, joint, sdf, soft_tissue
from xr2mri_jax.phantom.mri import signal_table
from xr2mri_jax.phantom.parameters import Parameters
from xr2mri_jax.phantom.tissues import CODES, attenuation_table

Array = jax.Array

_FAR = 1e3
# Labelled parts other than bones, which need no model.
_SOFT_CODES = tuple(CODES[name] for name in CODES if name not in ("background", *anatomy.BONES))
_COVER_MM = 3.0  # minimum soft tissue over a bone, except for fat
_JOINT_MM = 7.0  # voxels within this distance of both femur and tibia belong to the joint


class Noise(NamedTuple):
    """Textures of the leg, f32[d, h, w] each: `anatomy.textures`, then `fibres.fields`."""

    rough: Array
    grain: Array
    bend: Array
    bundles: Array


class LabelMeasurements(NamedTuple):
    """Measurements of the label map on the working grid.

    Attributes:
      bones: f32[4, d, h, w] in the order of `anatomy.BONES`, distances in mm, negative inside and
        at most half a voxel outside.
      soft: f32[3, d, h, w]: share of a voxel in labelled soft parts, and the contribution of that
        share to MRI signal and attenuation.
      near: f32[3, d, h, w]: distance to the nearest bone, to the femur's and to the tibia's side of
        the joint, mm, 0 inside.
    """

    bones: np.ndarray
    soft: np.ndarray
    near: np.ndarray


def measure_labels(
    labels: np.ndarray, voxel_mm: float, rough_voxels: np.ndarray
) -> LabelMeasurements:
    """Measures a label map.

    Args:
      labels: u8[d, h, w], codes of `tissues.TISSUES`, on the cubic working grid.
      voxel_mm: its voxel size.
      rough_voxels: f64[3], voxel size of the original map, in working voxels; steps from thick
        slices are smoothed away.
    """
    sigma = np.maximum(0.5, 0.45 * rough_voxels)
    distances = np.full((len(anatomy.BONES), *labels.shape), _FAR, np.float32)
    for row, name in enumerate(anatomy.BONES):
        _bone_distance(labels == CODES[name], voxel_mm, sigma, distances[row])
    soft = np.zeros((3, *labels.shape), np.float32)
    mask = np.isin(labels, _SOFT_CODES)
    box = _bounds(mask, 4)
    if box is not None:
        part = labels[box]
        chosen = mask[box]
        for row, table in enumerate((np.ones(256), signal_table(), attenuation_table())):
            values = np.where(chosen, np.asarray(table, np.float32)[np.where(chosen, part, 0)], 0)
            soft[row][box] = ndimage.gaussian_filter(values.astype(np.float32), sigma)
    return LabelMeasurements(distances, soft, _near(labels, voxel_mm))


def _bone_distance(mask: np.ndarray, voxel_mm: float, sigma: np.ndarray, out: np.ndarray) -> None:
    box = _bounds(mask, 4)
    if box is None:
        return
    share = ndimage.gaussian_filter(mask[box].astype(np.float32), sigma, mode="nearest")
    depth = ndimage.distance_transform_edt(share > 0.5).astype(np.float32)
    out[box] = voxel_mm * np.minimum(0.5 - share, 0.5 - depth)
    # The distance transform has voxel resolution; at the surface the filled fraction refines it.
    out[box][depth <= 1.0] = voxel_mm * (0.5 - share[depth <= 1.0])


def _bounds(mask: np.ndarray, margin: int) -> tuple[slice, ...] | None:
    """The bounding box of the mask, or None."""
    found = ndimage.find_objects(mask.astype(np.uint8))
    if not found:
        return None
    return tuple(
        slice(max(0, s.start - margin), min(n, s.stop + margin))
        for s, n in zip(found[0], mask.shape, strict=True)
    )


def _near(labels: np.ndarray, voxel_mm: float) -> np.ndarray:
    """Distances on voxels about 2.4 mm apart, enough for smooth outlines, interpolated to all."""
    step = max(1, round(2.4 / voxel_mm))
    small = labels[::step, ::step, ::step]
    femoral = [CODES["femur"], CODES["femoral_cartilage"]]
    tibial = [CODES[n] for n in ("tibia", "medial_tibial_cartilage", "lateral_tibial_cartilage")]
    hard = [CODES[name] for name in anatomy.BONES]
    near = np.empty((3, *labels.shape), np.float32)
    for row, codes in enumerate((hard, femoral, tibial)):
        distance = ndimage.distance_transform_edt(~np.isin(small, codes)).astype(np.float32)
        near[row] = _spread(distance * (step * voxel_mm), labels.shape, step)
    return near


def _spread(small: np.ndarray, shape: tuple[int, ...], step: int) -> np.ndarray:
    """Linear interpolation of every `step`-th voxel to all voxels, by one product per axis."""
    for n in shape:
        place = np.minimum(np.arange(n) / step, small.shape[0] - 1.0)
        weights = np.maximum(1 - np.abs(place[:, None] - np.arange(small.shape[0])), 0)
        small = np.tensordot(small, weights.astype(np.float32), axes=(0, 1))
    return small


def complete(
    p: Parameters,
    known: LabelMeasurements,
    axes: tuple[np.ndarray, np.ndarray, np.ndarray],
    voxel_mm: float,
    missing: tuple[str, ...],
    key: Array,
) -> tuple[Array, Array]:
    """MRI signal and attenuation of the leg on the working grid.

    Args:
      p: from `parameters.sample`, with the rows of `bones.with_rows` and "size" of the map.
      known: from `measure_labels`.
      axes: y[d], z[h], x[w] of the grid, mm from the joint's centre.
      voxel_mm: voxel size of the grid.
      missing: names of the parts to take from the phantom: "patella", "fibula", "menisci",
        and "leg", all other soft tissue.
      key: typed key of the textures.

    Returns:
      f32[d, h, w] relative to cartilage = 1, and f32[d, h, w] in 1/mm.
    """
    missing = tuple(sorted(missing))
    scaled = tuple(np.asarray(a / p["size"], np.float32) for a in axes)
    patella = _patella_centre(p, known, axes, "patella" in missing)
    return _compiled(missing)(dict(p), known, scaled, voxel_mm / p["size"], patella, key)


def _patella_centre(
    p: Parameters, known: LabelMeasurements, axes: tuple[np.ndarray, ...], missing: bool
) -> np.ndarray:
    """(x, y, z) in units of the size: of the labelled patella, or in front of the trochlea."""
    y, z, _ = axes
    if not missing:
        index = np.argwhere(known.bones[anatomy.BONES.index("patella")] < 0).mean(axis=0)
        place = [np.interp(i, range(len(a)), a) for i, a in zip(index, axes, strict=True)]
        return np.array([place[2], place[0], place[1]], np.float32) / p["size"]
    level = p["patella_level"] * p["size"]
    rows = np.abs(z - level) < 12.0
    front = (known.bones[anatomy.BONES.index("femur")][:, rows] < 0).any(axis=(1, 2))
    first = y[np.argmax(front)] if front.any() else -28.0 * p["size"]
    # The patella's ridge, six tenths of the thickness behind the centre, leaves room for both
    # cartilages. The trochlea's groove lies some millimetres behind the femur's foremost point.
    away = 0.62 * p["patella_thickness"] + p["patellar_cartilage"] + p["femoral_cartilage"] - 4.0
    return np.array([p["patella_offset"], first / p["size"] - away, p["patella_level"]], np.float32)


@functools.lru_cache(maxsize=4)
def _compiled(missing: tuple[str, ...]) -> Callable:
    def run(
        p: dict, known: LabelMeasurements, axes: tuple, voxel: Array, patella: Array, key: Array
    ) -> tuple[Array, Array]:
        y, z, x = axes
        relative = [
            axis * p["size"] / extent + 0.5 for axis, extent in zip(axes, BOX_MM, strict=True)
        ]
        noise = Noise(
            *anatomy.textures(key, relative),
            *fibres.fields(jax.random.fold_in(key, 1), relative),
        )
        x, z = jnp.broadcast_arrays(x[None, :], z[:, None])

        def slab(inputs: tuple) -> tuple[Array, Array]:
            depth, hard, soft, near, noise = inputs
            point = (x, jnp.full_like(x, depth), z)
            size = p["size"]
            return _slab(p, point, voxel, hard / size, soft, near / size, noise, patella, missing)

        moved = [jnp.moveaxis(a, 1, 0) for a in known]
        return jax.lax.map(slab, (y, *moved, noise))

    return jax.jit(run, compiler_options={"xla_backend_optimization_level": 1})


def _slab(
    p: dict,
    point: tuple[Array, Array, Array],
    voxel: Array,
    hard: Array,
    soft: Array,
    near: Array,
    noise: Noise,
    patella: Array,
    missing: tuple[str, ...],
) -> tuple[Array, Array]:
    """Signal and attenuation of one coronal slab; lengths are in units of the size."""
    x, _, z = point
    hard = _with_missing_bones(p, point, hard, patella, missing)
    cover, signal, mu = anatomy.bone_layers(
        p, hard, jnp.zeros_like(hard), jnp.abs(z), noise.grain, voxel
    )
    layers = [(cover, signal, mu), _labelled(soft)]
    parts, fascia = _soft_parts(p, point, near, hard[0], patella, missing, noise.rough)
    distances = jnp.stack([parts[name] for name in anatomy.SOFT])
    cover, signal, mu = anatomy.soft_layers(distances, noise.rough, noise.grain, voxel)
    if fascia is not None:
        signal = fibres.add(signal, parts["skin"], fascia, (noise.bend, noise.bundles, noise.grain))
    layers.append((cover, signal, mu))
    left, total_signal, total_mu = jnp.ones_like(x), jnp.zeros_like(x), jnp.zeros_like(x)
    cover, signal, mu = (jnp.concatenate(column) for column in zip(*layers, strict=True))

    def add(state: tuple, layer: tuple) -> tuple[tuple, None]:
        left, total_signal, total_mu = state
        share = layer[0] * left
        return (left - share, total_signal + share * layer[1], total_mu + share * layer[2]), None

    (_, total_signal, total_mu), _ = jax.lax.scan(
        add, (left, total_signal, total_mu), (cover, signal, mu)
    )
    return total_signal, total_mu


def _with_missing_bones(
    p: dict, point: tuple, hard: Array, patella: Array, missing: tuple[str, ...]
) -> Array:
    x, y, z = point
    rows = list(hard)
    if "patella" in missing:
        rows[0] = bones.patella(p, x - patella[0], y - patella[1], z - patella[2])
    if "fibula" in missing:
        rows[3] = bones.fibula(p, x, y, z - 2.0)
    return jnp.stack(rows)


def _labelled(soft: Array) -> tuple[Array, Array, Array]:
    """The labelled soft parts as one layer."""
    share = jnp.maximum(soft[0], 1e-3)
    return soft[:1], (soft[1] / share)[None], (soft[2] / share)[None]


def _soft_parts(
    p: dict,
    point: tuple,
    near: Array,
    patella_bone: Array,
    patella: Array,
    missing: tuple[str, ...],
    rough: Array,
) -> tuple[dict[str, Array], Array | None]:
    """Distances of the tissues of `anatomy.SOFT` that the map lacks, and to the fascia.

    The fascia is None for a map that has the leg.
    """
    x, y, z = point
    bone, femoral, tibial = near
    nowhere = jnp.full_like(x, _FAR)
    if "leg" not in missing:
        return dict.fromkeys(anatomy.SOFT, nowhere), None
    centre = (patella[0], patella[1], patella[2])
    # Voxels close to both bones are inside the joint: menisci at the rim, fluid further inside.
    both = jnp.maximum(femoral, tibial)
    rim = jnp.abs(jnp.hypot((jnp.abs(x) - 18.5) / 17.0, y / 24.0) - 0.8) - 0.3
    meniscus = jnp.maximum(both - _JOINT_MM, 17.0 * rim) if "menisci" in missing else nowhere
    # A labelled patella is among the bones that the skin covers.
    bulge = patella_bone if "patella" in missing else nowhere
    skin = soft_tissue.skin(p, x, y, z, bulge)
    skin = sdf.smooth_union(skin, bone - _COVER_MM - 0.2 * p["fat"], 14.0)
    parts = dict.fromkeys(anatomy.SOFT, nowhere) | {
        "ligament": jnp.minimum(
            soft_tissue.tendons(p, x, y, z, patella=centre),
            jnp.maximum(joint.cruciates(x, y, z - 2.0), -jnp.minimum(femoral, tibial)),
        ),
        "medial_meniscus": jnp.where(x > 0, meniscus, _FAR),
        "lateral_meniscus": jnp.where(x > 0, _FAR, meniscus),
        "fluid": both - 2.2,
        "vessel": jnp.minimum(soft_tissue.vessels(x, y, z), soft_tissue.branches(x, y, z)),
        "skin": skin,
        "fat": skin + 1.6,
    }
    fascia = soft_tissue.fascia(p, x, y, skin)
    muscle = soft_tissue.muscles(p, x, y, z, fascia=fascia)
    muscle = jnp.minimum(muscle, soft_tissue.calf(p, x, y, z, fascia)) + 0.7 * rough
    # Fat separates the muscles from the ends of the bones, where the capsule lies.
    capsule = sdf.smooth_step(45.0, 20.0, jnp.abs(z)) * 4.0 + 0.5
    parts["muscle"] = jnp.maximum(muscle, capsule - bone)
    return parts, fascia
