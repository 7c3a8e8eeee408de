"""The radiograph of a knee: line integrals of its bones in their standing pose, developed."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import ndimage

from xr2mri_jax.phantom.tissues import CODES, attenuation_table
from xr2mri_jax.simulation import film, osteophytes
from xr2mri_jax.simulation.atlas import SIZE, VOXEL_MM, near_surface
from xr2mri_jax.simulation.framing import Frame
from xr2mri_jax.simulation.poses import STILL, Pose, RadiographPose, compose
from xr2mri_jax.simulation.signs import Signs

BONES = ("femur", "patella", "tibia", "fibula")

# Depth of a slab, and number of slabs: 144 mm along the beam.
_SLAB_MM, _SLABS = 3.0, 48
_SOFT_MM = 0.5  # width of a surface's blur
# Density of spongy bone relative to the phantom's; thickness of cortical bone near the joint;
# visible share of the patella. These and the next were set by the films of measured knees, see
# "Simulated films beside real ones" in docs/results.md.
_DENSITY, _CORTEX_MM, _PATELLA = (0.8, 1.5), (0.05, 0.4), (0.1, 0.6)
# Bone is denser under the joint: density that the plate and the spongy bone gain, over the usual
# one, and the depths where the gain falls to 1/e, mm.
_PLATE, _PLATE_MM, _DENSER, _DENSER_MM = (0.5, 4.0), 1.5, (0.2, 2.0), (2.5, 5.0)
# Scar of the growth plate: share of bones with one, its density over the spongy bone's, its
# thickness, mm; by bone its height in the bone's frame, mean and standard deviation in mm.
_SCARRED, _SCAR, _SCAR_MM = 0.7, (0.0, 0.2), 0.8
_SCAR_HEIGHT_MM = {"femur": (-29.0, 3.0), "tibia": (18.0, 2.5)}
# Attenuation of the soft tissue relative to the atlas' legs; logarithm of the leg's relative width,
# and its offset to the medial side, mm: mean and standard deviation.
_FLESH, _GIRTH, _MEDIAL_MM = (0.55, 0.95), (0.05, 0.07), (2.5, 2.0)
# Strength of the trabeculae, median and deviation of the logarithm: matches the finest wavelengths
# of real radiographs.
_TRABECULAE = 0.0045, 0.3


@dataclasses.dataclass(frozen=True, eq=False)
class Standing:
    """A knee standing in front of the beam.

    Attributes:
      bones: by name of BONES f32[SIZE, SIZE, SIZE], signed distances in mm, each in its own frame.
      seen: the poses of its bones.
      zoom: mm of a knee whose plateau is PLATEAU_MM wide -> mm of this one.
      signs: of osteoarthritis at its margins; None: the bones stay as they are.
    """

    bones: Mapping[str, np.ndarray]
    seen: RadiographPose
    zoom: float
    signs: Signs | None = None


def radiograph(
    knee: Standing,
    backward: Pose,
    frame: Frame,
    soft: np.ndarray,
    pixels: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """The developed `path`, f32[pixels, pixels] in [0, 1], bone bright; the same arguments."""
    integrals = path(knee, backward, frame, soft, pixels, rng)
    return film.develop(integrals, frame.wide_mm / pixels, rng)


def path(
    knee: Standing,
    backward: Pose,
    frame: Frame,
    soft: np.ndarray,
    pixels: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Line integrals f32[pixels, pixels] of a frame, dimensionless.

    Args:
      knee: the knee.
      backward: maps mm of the frame's film, (d, h, w), to mm of the knee.
      frame: its section of the film.
      soft: f32[SIZE, SIZE] of an `Atlas`: the leg with muscle in place of bone.
      pixels: of the frame, each way.
      rng: of densities, margins and texture.
    """
    matrix, offset = backward
    beam, shift = knee.seen.beam @ matrix, knee.seen.beam @ offset
    pixel = frame.wide_mm / pixels
    shape, extent = (_SLABS, pixels, pixels), (_SLABS * _SLAB_MM, frame.wide_mm, frame.wide_mm)
    shaft = _shaft_share(_places(pixels, pixel) + frame.middle_mm[0])
    density, cortex = rng.uniform(*_DENSITY), rng.uniform(*_CORTEX_MM)
    plate, spongy_layer = rng.uniform(*_PLATE), (rng.uniform(*_DENSER), rng.uniform(*_DENSER_MM))
    total, spongy = np.zeros(shape[1:], np.float32), np.zeros(shape[1:], np.float32)
    poses = {
        "femur": knee.seen.femur,
        "patella": knee.seen.patella,
        "tibia": STILL,
        "fibula": STILL,
    }
    for name in BONES:
        first, second = compose(poses[name], (beam, shift))
        distance = near_surface(knee.bones[name], first, second, shape, 8.0, extent) / knee.zoom
        shell = _shell(cortex, shaft)
        added = None
        if name in ("femur", "tibia"):
            plates: float | np.ndarray = plate
            if knee.signs is not None:
                lengths = knee.signs.osteophytes[name]
                osteophytes.grow(distance, name, lengths, (_SLAB_MM, pixel), rng)
                if name == "tibia":
                    osteophytes.raise_spines(distance, knee.signs.spines, pixel, rng)
                plates = plate + _across(knee.signs.sclerosis, pixel, pixels)
            layers = (plates, _PLATE_MM), spongy_layer
            added = _under_joint(distance, name, pixel, layers)
            if rng.random() < _SCARRED:
                added = added + rng.uniform(*_SCAR) * _scar(name, first, second, shape, extent, rng)
        bone, marrow = _integrals(distance, density, shell, shaft, added)
        share = rng.uniform(*_PATELLA) if name == "patella" else 1.0
        total += share * bone
        spongy += share * marrow
    flesh = _soft_path(soft, backward, pixel, pixels, rng)
    return total + flesh + _texture(spongy, density, rng)


def _places(count: int, step_mm: float) -> np.ndarray:
    """f64[count]: positions in mm from the middle."""
    return step_mm * (np.arange(count) - (count - 1) / 2)


def _shaft_share(away: np.ndarray) -> np.ndarray:
    """f64[h, 1]: 0 near the joint to 1 in the shafts, by distance `away` f64[h] in mm."""
    return np.clip((np.abs(away) - 24.0) / 34.0, 0, 1)[:, None]


def _shell(cortex: float, shaft: np.ndarray) -> np.ndarray:
    """Thickness of cortical bone, f32[h, 1] in mm: `cortex` near the joint, more in the shafts."""
    return (cortex * (0.9 + 1.2 * shaft)).astype(np.float32)


def _across(both: np.ndarray, pixel: float, pixels: int) -> np.ndarray:
    """f32[w] across the frame: from the lateral to the medial one of f64[2] (medial, lateral)."""
    share = 1 / (1 + np.exp(-_places(pixels, pixel) / 3.0))
    return (both[0] * share + both[1] * (1 - share)).astype(np.float32)


def _under_joint(
    distance: np.ndarray,
    name: str,
    pixel: float,
    layers: Sequence[tuple[float | np.ndarray, float]],
) -> np.ndarray:
    """The added density of bone under the joint: f32[d, h, w], a factor of its usual density.

    Args:
      distance: f32[d, h, w] in mm, negative inside.
      name: "femur" or "tibia".
      pixel: of a voxel along h, mm.
      layers: for each, its strength where the surface faces the joint, a number or f32[w], and the
        depth at which it falls to 1/e, mm.
    """
    faces = np.gradient(distance, pixel, axis=1) * (1 if name == "femur" else -1)
    depth = np.minimum(distance, 0)
    added = sum(strength * np.exp(depth / deep) for strength, deep in layers)
    return (np.square(np.clip(faces, 0, 1)) * added).astype(np.float32)


def _scar(
    name: str,
    matrix: np.ndarray,
    offset: np.ndarray,
    shape: tuple[int, int, int],
    extent: tuple[float, float, float],
    rng: np.random.Generator,
) -> np.ndarray:
    """The scar of a growth plate, f32[d, h, w], 1 in its middle; arguments as `near_surface`."""
    axes = (_places(n, mm / n).astype(np.float32) for n, mm in zip(shape, extent, strict=True))
    d, h, w = np.meshgrid(*axes, indexing="ij", sparse=True)
    height, across = (
        matrix[i, 0] * d + matrix[i, 1] * h + matrix[i, 2] * w + offset[i] for i in (1, 2)
    )
    middle, spread = _SCAR_HEIGHT_MM[name]
    lower = rng.normal(3.0, 2.0) * (1 if name == "tibia" else -1)
    away = height - rng.normal(middle, spread) - lower * np.square(across / 30)
    return np.exp(-0.5 * np.square(away / _SCAR_MM)).astype(np.float32)


def _integrals(
    distance: np.ndarray,
    density: float,
    shell: np.ndarray,
    shaft: np.ndarray,
    added: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Attenuation that a bone adds to muscle along the beam, and its path in spongy bone, mm.

    Args:
      distance: f32[d, h, w] in mm, negative inside.
      density: of spongy bone, 1 is usual in the phantom.
      shell: thickness of cortical bone, f32[h, w] or [h, 1] in mm.
      shaft: of `_shaft_share`.
      added: f32[d, h, w], added density of spongy bone as a factor of it; None: none.
    """
    # The distance is linear between slabs: a surface that the beam crosses covers a part of a slab.
    middle = 0.5 * (distance[1:] + distance[:-1])
    per_mm = 1 / np.maximum(np.abs(distance[1:] - distance[:-1]), np.float32(_SOFT_MM))
    cover = np.clip(0.5 - middle * per_mm, 0, 1).sum(axis=0)
    filled = np.clip(0.5 - (middle + shell) * per_mm, 0, 1)
    inside = filled.sum(axis=0)
    more = 0.0 if added is None else (filled * 0.5 * (added[1:] + added[:-1])).sum(axis=0)
    mus = attenuation_table()
    fat, hard, muscle = (mus[CODES[name]] for name in ("fat", "cortical_bone", "muscle"))
    spongy = (mus[CODES["femur"]] - fat) * density * (1 - 0.6 * shaft)
    bone = (cover - inside) * hard + inside * (fat + spongy) + more * spongy - cover * muscle
    return (bone * _SLAB_MM).astype(np.float32), inside * (1 - 0.7 * shaft) * _SLAB_MM


def _soft_path(
    soft: np.ndarray, backward: Pose, pixel: float, pixels: int, rng: np.random.Generator
) -> np.ndarray:
    """Line integrals f32[pixels, pixels] of a leg's soft tissue, with a girth of its own."""
    matrix, offset = backward
    across = np.array([1.0, float(np.exp(-rng.normal(*_GIRTH)))])
    flat = across[:, None] * matrix[1:, 1:] * pixel / VOXEL_MM
    middle = across * (offset[1:] - [0.0, rng.normal(*_MEDIAL_MM)]) / VOXEL_MM
    start = middle - flat @ np.full(2, (pixels - 1) / 2)
    leg = ndimage.affine_transform(
        soft, flat, start + (SIZE - 1) / 2, output_shape=(pixels, pixels), order=1, mode="nearest"
    )
    return rng.uniform(*_FLESH) * leg


def _texture(spongy: np.ndarray, density: float, rng: np.random.Generator) -> np.ndarray:
    """Trabeculae: streaks along the leg and grains, stronger where spongy bone is thick.

    Args:
      spongy: f32[h, w], path lengths in spongy bone, mm.
      density: of the bone, 1 is usual.
      rng: of the texture and its strength.

    Returns:
      f32[h, w]: line integrals to be added.
    """
    total = np.zeros(spongy.shape, np.float32)
    for sigma, weight in (((1.6, 0.4), 1.0), ((0.5, 0.5), 0.8), ((0.4, 1.6), 0.4)):
        noise = ndimage.gaussian_filter(rng.standard_normal(spongy.shape), sigma, mode="wrap")
        total += weight * rng.uniform(0.3, 1.0) * (noise / noise.std()).astype(np.float32)
    median, deviation = _TRABECULAE
    strength = median * np.exp(rng.normal(0, deviation)) * density
    return strength * np.sqrt(np.maximum(spongy, 0)) * total
