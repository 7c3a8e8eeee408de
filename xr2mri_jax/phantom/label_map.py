"""Simulates a paired MRI and radiograph from a label map of a knee, with the phantom's physics."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from nibabel import orientations
from scipy import ndimage

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import Radiograph, Volume, checked_side, mirror_volume
from xr2mri_jax.phantom import anatomy
from xr2mri_jax.phantom.bones import with_rows
from xr2mri_jax.phantom.complete_leg import LabelMeasurements, complete, measure_labels
from xr2mri_jax.phantom.landmarks import Landmarks, find_landmarks
from xr2mri_jax.phantom.mri import acquire, signal_table
from xr2mri_jax.phantom.parameters import Parameters, sample
from xr2mri_jax.phantom.radiograph import expose
from xr2mri_jax.phantom.tissues import BONE_CODES, CODES

# Voxel size of the cubic working grid: the map's, within these limits.
WORK_MM = (0.8, 1.6)
VIEW_MM = 144.0  # width of the radiograph: the canonical box and a margin
PIXEL_MM = 0.4
_REACH_MM = 100.0  # the leg extends at most this far from the joint's centre
_BLOCK = 16
_TAPER_MM = 4.0
_SOFTEN_VOXELS = 0.45  # partial volume at the edges of labels
# Directions in which depth, height and width of a canonical right knee increase.
_CANONICAL = "PIL"
_MENISCI = ("medial_meniscus", "lateral_meniscus")


@dataclasses.dataclass(frozen=True, eq=False)
class SimulatedPair:
    """A radiograph and an MRI of the same knee.

    Attributes:
      radiograph: f32[h, w] in [0, 1], bone bright, as displayed: the patient's right at the left;
        the joint's centre is in the middle of the image.
      mri: f32 in [0, 1] on the label map's own grid.
      centre: f64[3], RAS mm of the joint's centre in the MRI.
      record: JSON-able account of the labels found and the parts added.
      doubts: bones whose few voxels vanish on the working grid and that were added instead.
    """

    radiograph: Radiograph
    mri: Volume
    centre: np.ndarray
    record: dict[str, Any]
    doubts: tuple[str, ...] = ()


def simulate_pair(labels: Volume, side: str, seed: int = 0) -> SimulatedPair:
    """Simulates DESS MRI and anterior-posterior radiograph of a labelled knee.

    The MRI has the map's grid, so that the map is its voxel-wise ground truth. The radiograph is
    the projection of the same leg, completed by `complete_leg`, along the patient's
    anterior-posterior axis.

    Args:
      labels: integers, codes of `tissues.TISSUES`; any orientation and voxel size.
      side: "left" or "right".
      seed: of textures, noise, exposure, and of the soft tissue that the map lacks; 0 or more.

    Raises:
      InputError: an unknown code, an invalid side, or a map that shows no such knee, see
        `landmarks.find_landmarks`.
    """
    _check_codes(labels.array)
    found = find_landmarks(labels, checked_side(side))
    knee, right = oriented(labels, side, found)
    texture, scan, exposure, subject = jax.random.split(jax.random.key(seed), 4)
    p = _parameters(subject, found)
    signal, attenuation, grid, missing = _leg(knee, found, p, texture)
    mri = _scan(knee, signal, grid, scan)
    back = orientations.ornt_transform(
        orientations.axcodes2ornt(_CANONICAL), orientations.io_orientation(right.affine)
    )
    image = _expose(attenuation, grid, found.centre, exposure)
    if side == "left":
        image = image[:, ::-1]
    return SimulatedPair(
        Radiograph(np.ascontiguousarray(image), (PIXEL_MM, PIXEL_MM), side),
        Volume(np.ascontiguousarray(orientations.apply_orientation(mri, back)), labels.affine),
        found.centre,
        _record(labels, side, seed, found, missing),
        tuple(
            f"the {name} has so few voxels that it is taken from the phantom"
            for name in missing
            if name in found.present
        ),
    )


class CompletedLeg(NamedTuple):
    """A complete leg around a labelled knee, as a right knee.

    Attributes:
      signal, attenuation: f32[d, h, w], MRI signal relative to cartilage, and 1/mm.
      affine: f64[4, 4] of their grid, RAS mm; a left knee is mirrored about its joint's centre.
    """

    signal: np.ndarray
    attenuation: np.ndarray
    affine: np.ndarray


def completed(labels: Volume, side: str, key: jax.Array, work_mm: float) -> CompletedLeg:
    """The leg that `simulate_pair` completes around a labelled knee, before imaging.

    Args:
      labels: codes of `tissues.TISSUES`.
      side: "left" or "right".
      key: typed key of the soft tissue and its textures.
      work_mm: voxel size of the cubic grid.

    Raises:
      InputError: as `simulate_pair`.
    """
    _check_codes(labels.array)
    found = find_landmarks(labels, checked_side(side))
    texture, subject = jax.random.split(key)
    knee, _ = oriented(labels, side, found)
    p = _parameters(subject, found)
    signal, attenuation, grid, _ = _leg(knee, found, p, texture, work_mm)
    return CompletedLeg(signal, attenuation, grid.affine)


def oriented(labels: Volume, side: str, found: Landmarks) -> tuple[Volume, Volume]:
    """The map as a right knee: with axes along depth, height and width, and as stored."""
    right = labels if side == "right" else mirror_volume(labels, float(found.centre[0]))
    turn = orientations.ornt_transform(
        orientations.io_orientation(right.affine), orientations.axcodes2ornt(_CANONICAL)
    )
    knee = Volume(
        orientations.apply_orientation(labels.array, turn),
        right.affine @ orientations.inv_ornt_aff(turn, labels.shape),
    )
    return knee, right


def _check_codes(labels: np.ndarray) -> None:
    if not np.issubdtype(labels.dtype, np.integer):
        raise InputError(f"labels: found {labels.dtype}, expected integers")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high > max(CODES.values()):
        code = low if low < 0 else high
        raise InputError(f"labels: found code {code}, expected 0 to {max(CODES.values())}")


def _missing(found: Landmarks, known: LabelMeasurements) -> tuple[str, ...]:
    """The parts to add: see `complete_leg.complete`. A bone without a voxel inside is missing."""
    missing = [
        name
        for name in ("patella", "fibula")
        if not (known.bones[anatomy.BONES.index(name)] < 0).any()
    ]
    if not set(_MENISCI) & set(found.present):
        missing.append("menisci")
    # If the map has skin or fat, everything unlabelled is air.
    if not {"skin", "fat"} & set(found.present):
        missing.append("leg")
    return tuple(missing)


def _parameters(key: jax.Array, found: Landmarks) -> Parameters:
    """The phantom's parameters for added parts: random soft tissue, the map's size, no disease."""
    sampled = sample(*jax.random.split(key))
    return with_rows({**sampled, "size": np.float32(found.size), "osteophyte": np.float32(0)})


def _leg(
    knee: Volume,
    found: Landmarks,
    p: Parameters,
    key: jax.Array,
    work_mm: float | None = None,
) -> tuple[np.ndarray, np.ndarray, Volume, tuple[str, ...]]:
    """Signal and attenuation of the completed leg, labels on the working grid, parts added."""
    if work_mm is None:
        work_mm = float(np.clip(np.cbrt(np.prod(knee.spacing)), *WORK_MM))
    grid = working_grid(knee, found.centre, work_mm)
    rough = np.abs(np.linalg.solve(grid.affine[:3, :3], knee.affine[:3, :3])).max(axis=1)
    known = measure_labels(grid.array, work_mm, rough)
    # Grid and joint share their axes; only the positions along them differ.
    d, h, w = (
        grid.affine[row, 3] + grid.affine[row, axis] * np.arange(n) - found.centre[row]
        for axis, (row, n) in enumerate(zip((1, 2, 0), grid.shape, strict=True))
    )
    missing = _missing(found, known)
    signal, attenuation = complete(p, known, (-d, -h, -w), work_mm, missing, key)
    return np.asarray(signal), np.asarray(attenuation), grid, missing


def working_grid(knee: Volume, centre: np.ndarray, work_mm: float) -> Volume:
    """The labels on a cubic grid along the body's axes that contains radiograph and field.

    Above and below the field, the labels of its last slices are repeated, so that bones continue.
    Manual labels taper off at the ends, so a slice some millimetres inside is repeated.
    """
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in knee.shape])).reshape(3, -1).T
    world = knee.world(corners) - centre
    low = np.clip(world.min(axis=0), -_REACH_MM, -VIEW_MM / 2)
    high = np.clip(world.max(axis=0), VIEW_MM / 2, _REACH_MM)
    # Rounded up to blocks, so that maps of one collection share their compiled code.
    blocks = np.ceil((high - low) / (work_mm * _BLOCK)).astype(int)
    high = (low + high + blocks * _BLOCK * work_mm) / 2
    shape = (blocks * _BLOCK)[[1, 2, 0]]
    affine = np.eye(4)
    affine[:3, :3] = work_mm * np.array([[0, 0, -1], [-1, 0, 0], [0, -1, 0]])
    affine[:3, 3] = centre + high - work_mm / 2
    step = np.linalg.solve(knee.affine, affine)
    n = knee.shape[1]
    trim = min(round(_TAPER_MM / knee.spacing[1]), n // 8)
    labels = ndimage.affine_transform(
        knee.array[:, trim : n - trim],
        step[:3, :3],
        step[:3, 3] - (0, trim, 0),
        output_shape=tuple(shape),
        order=0,
        mode="nearest",
    )
    index = np.ogrid[tuple(slice(0, n) for n in shape)]
    for row in (0, 2):
        place = step[row, 3] + sum(step[row, axis] * index[axis] for axis in range(3))
        labels[(place < -0.5) | (place > knee.shape[row] - 0.5)] = 0
    return Volume(labels, affine)


def _scan(knee: Volume, signal: np.ndarray, grid: Volume, key: jax.Array) -> np.ndarray:
    """The MRI f32[d, h, w] on the map's grid.

    Bones and unlabelled parts come from the working grid, with their partial volume; thin labelled
    parts keep the map's own sharpness.
    """
    step = np.linalg.solve(grid.affine, knee.affine)
    values = ndimage.affine_transform(
        signal, step[:3, :3], step[:3, 3], output_shape=knee.shape, order=1, mode="nearest"
    )
    sharp = np.asarray(signal_table()[: max(CODES.values()) + 1])
    own = np.ones(len(sharp), bool)
    own[[0, *BONE_CODES]] = False
    mask = own[knee.array]
    if mask.any():
        (box,) = ndimage.find_objects(mask.astype(np.uint8))
        part = np.where(mask[box], sharp[knee.array[box]], values[box])
        values[box] = ndimage.gaussian_filter(part, _SOFTEN_VOXELS)
    return np.asarray(_acquire(jnp.asarray(values), key))


_acquire = jax.jit(acquire)


def _expose(
    attenuation: np.ndarray, grid: Volume, centre: np.ndarray, key: jax.Array
) -> np.ndarray:
    """The radiograph f32[h, w] around the joint's centre, displayed as a right knee."""
    n = round(VIEW_MM / PIXEL_MM)
    first = np.array([centre[2], centre[0]]) + (n - 1) / 2 * PIXEL_MM
    work_mm = grid.spacing[0]
    offset = (grid.affine[[2, 0], 3] - first) / work_mm
    rows, columns = (
        _weights(n, size, start, PIXEL_MM / work_mm)
        for size, start in zip(grid.shape[1:], offset, strict=True)
    )
    image = _project(jnp.asarray(attenuation), work_mm, rows, columns, key)
    return np.asarray(image)[..., 0]


@jax.jit
def _project(
    attenuation: jax.Array, depth_mm: float, rows: jax.Array, columns: jax.Array, key: jax.Array
) -> jax.Array:
    """Line integrals are interpolated to the pixels before the exponential, as one slab of 1 mm."""
    path = depth_mm * attenuation.sum(axis=0)
    path = jnp.einsum("hi,ij,wj->hw", rows, path, columns, precision="highest")
    return expose(path[None], 1.0, (PIXEL_MM, PIXEL_MM), key)


def _weights(pixels: int, size: int, offset: float, step: float) -> np.ndarray:
    """Linear interpolation from working voxels to pixels along one axis: f32[pixels, size]."""
    place = np.clip(np.arange(pixels) * step + offset, 0, size - 1)
    return np.maximum(1 - np.abs(place[:, None] - np.arange(size)), 0).astype(np.float32)


def _record(
    labels: Volume, side: str, seed: int, found: Landmarks, missing: tuple[str, ...]
) -> dict[str, Any]:
    added = [name for name in missing if name != "leg"]
    if "leg" in missing:
        added += ["ligaments", "fluid", "vessels", "muscle", "fat", "skin"]
    return {
        "statement": "simulated from a label map - research only, not for diagnosis",
        "side": side,
        "seed": seed,
        "labels": {
            "shape": list(labels.shape),
            "affine": labels.affine.tolist(),
            "found": list(found.present),
        },
        "added_from_phantom": added,
        "joint_centre_mm": found.centre.tolist(),
        "size": found.size,
        "beam": "parallel, along the patient's anterior-posterior axis",
    }
