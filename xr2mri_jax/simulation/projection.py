"""The radiograph of a drawn knee: line integrals of its bones in their standing pose."""

from typing import Any

import numpy as np
from scipy import ndimage

from xr2mri_jax.geometry import BOX_MM
from xr2mri_jax.phantom.tissues import CODES, attenuation_table
from xr2mri_jax.simulation.atlas import SIZE, VOXEL_MM, near_surface

# Depth of a slab, and how many: 144 mm along the beam.
_SLAB_MM, _SLABS = 2.0, 72
_SOFT_MM = 1.2  # over which a surface is blurred


def path(
    knee: Any, jitter: Any, soft: np.ndarray, rng: np.random.Generator, shape: tuple[int, ...]
) -> np.ndarray:
    """Line integrals f32[h, w] over the canonical box, without unit.

    Args:
      knee: a `family.Knee`.
      jitter: a `framing.Jitter`.
      soft: f32[SIZE, SIZE] of an `Atlas`: the leg with muscle in place of bone.
      rng: of densities and texture.
      shape: (h, w) in pixels.
    """
    matrix, offset = jitter.backward(knee.zoom)
    beam, shift = knee.beam @ matrix, knee.beam @ offset
    density, cortex = rng.uniform(0.7, 1.3), rng.uniform(0.35, 1.15)
    total, spongy = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    poses = {"femur": knee.flexed, "patella": knee.standing, "tibia": None, "fibula": None}
    for name, pose in poses.items():
        first, second = beam, shift
        if pose is not None:
            first, second = pose[0] @ beam, pose[0] @ shift + pose[1]
        distance = near_surface(
            knee.distances[name], first, second, (_SLABS, *shape), 2.0, _extent_mm()
        )
        bone, marrow = _integrals(distance, density, cortex, shape)
        share = rng.uniform(0.3, 1.0) if name == "patella" else 1.0
        total += share * bone
        spongy += share * marrow
    flesh = soft_path(soft, (matrix, offset), np.divide(BOX_MM[1:], shape), shape)
    thickness = rng.uniform(0.75, 1.25)
    return total + thickness * flesh + texture(spongy, density, rng)


def _extent_mm() -> tuple[float, float, float]:
    return _SLABS * _SLAB_MM, BOX_MM[1], BOX_MM[2]


def _integrals(
    distance: np.ndarray, density: float, cortex: float, shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Attenuation a bone adds to muscle along the beam, and its path length in spongy bone, mm."""
    away = np.abs((np.arange(shape[0]) + 0.5) * BOX_MM[1] / shape[0] - BOX_MM[1] / 2)
    shaft = shaft_share(away)
    cover = np.clip(0.5 - distance / _SOFT_MM, 0, 1)
    inside = np.clip(0.5 - (distance + shell(cortex, shaft)) / _SOFT_MM, 0, 1)
    return absorbed(cover.sum(axis=0), inside.sum(axis=0), density, shaft, _SLAB_MM)


def shaft_share(away: np.ndarray) -> np.ndarray:
    """f64[h, 1]: 0 near the joint to 1 in the shafts, of rows `away` mm from the joint, f64[h]."""
    return np.clip((away - 24.0) / 34.0, 0, 1)[:, None]


def shell(cortex: float, shaft: np.ndarray) -> np.ndarray:
    """Thickness of cortical bone, f32[h, 1] in mm: `cortex` near the joint, more in the shafts."""
    return (cortex * (0.9 + 2.4 * shaft)).astype(np.float32)


def absorbed(
    cover: np.ndarray, inside: np.ndarray, density: float, shaft: np.ndarray, slab_mm: float
) -> tuple[np.ndarray, np.ndarray]:
    """Attenuation a bone adds to muscle along the beam, and its path length in spongy bone, mm.

    Args:
      cover, inside: f[h, w], slabs that the bone, and what its shell encloses, cover.
      density: of spongy bone, 1 is usual.
      shaft: of `shaft_share`.
      slab_mm: depth of a slab.
    """
    mus = attenuation_table()
    fat, hard, muscle = (mus[CODES[name]] for name in ("fat", "cortical_bone", "muscle"))
    marrow = fat + (mus[CODES["femur"]] - fat) * density * (1 - 0.6 * shaft)
    bone = (cover - inside) * hard + inside * marrow - cover * muscle
    return (bone * slab_mm).astype(np.float32), inside * (1 - 0.7 * shaft) * slab_mm


def soft_path(
    soft: np.ndarray,
    backward: tuple[np.ndarray, np.ndarray],
    step: np.ndarray,
    shape: tuple[int, ...],
) -> np.ndarray:
    """Line integrals f32[h, w] of an atlas' soft tissue.

    Args:
      soft: f32[SIZE, SIZE] of an `Atlas`.
      backward: matrix and offset from mm of the image, (d, h, w), to mm of the knee.
      step: f64[2], size of a pixel, mm.
      shape: (h, w) in pixels.
    """
    matrix, offset = backward
    flat = matrix[1:, 1:] * step / VOXEL_MM
    start = (offset[1:] - matrix[1:, 1:] @ (step * (np.array(shape) - 1) / 2)) / VOXEL_MM
    return ndimage.affine_transform(
        soft, flat, start + (SIZE - 1) / 2, output_shape=shape, order=1, mode="nearest"
    )


def texture(
    spongy: np.ndarray, density: float, rng: np.random.Generator, usual: float = 0.006
) -> np.ndarray:
    """Trabeculae: streaks along the leg and grains, stronger where spongy bone is thick.

    Args:
      spongy: f32[h, w], path lengths in spongy bone, mm.
      density: of the bone, 1 is usual.
      rng: of the texture and its strength.
      usual: median of the strength.

    Returns:
      f32[h, w]: line integrals to be added.
    """
    total = np.zeros(spongy.shape, np.float32)
    for sigma, weight in (((1.6, 0.4), 1.0), ((0.5, 0.5), 0.8), ((0.4, 1.6), 0.4)):
        noise = ndimage.gaussian_filter(rng.standard_normal(spongy.shape), sigma, mode="wrap")
        total += weight * rng.uniform(0.3, 1.0) * (noise / noise.std()).astype(np.float32)
    strength = usual * np.exp(rng.normal(0, 0.6)) * density
    return strength * np.sqrt(np.maximum(spongy, 0)) * total
