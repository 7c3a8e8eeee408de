"""The atlas of a knee family: a few labelled knees as signed distances in one frame.

The frame: canonical right knee, (d, h, w) in mm from the joint's centre, scaled so that the tibial
plateau is PLATEAU_MM wide. Femur, tibia and patella of every knee, each with its cartilages, are
registered to those of the first knee by a similarity, so that distances can be mixed.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from scipy import ndimage, optimize
from scipy.spatial.transform import Rotation
from skimage.measure import marching_cubes

from xr2mri_jax.errors import InputError
from xr2mri_jax.files import atomic_path
from xr2mri_jax.geometry import BOX_MM, PLATEAU_MM, Volume, checked_side
from xr2mri_jax.phantom import label_map
from xr2mri_jax.phantom.landmarks import PLATEAU_WIDTH_MM, find_landmarks
from xr2mri_jax.phantom.surfaces import SURFACES
from xr2mri_jax.phantom.tissues import BONE_CODES, CODES

# The grid of the distances: larger than the canonical box, because parts are rotated and moved.
SIZE, VOXEL_MM = 96, 1.5
FINE = 2  # distances are computed on voxels finer by this factor
LIMIT_MM = 12.0
GROUPS = {
    "femur": ("femur", "femoral_outer"),
    "tibia": ("tibia", "tibial_outer", "fibula", "medial_meniscus", "lateral_meniscus"),
    "patella": ("patella", "patellar_outer"),
}


@dataclasses.dataclass(frozen=True, eq=False)
class Atlas:
    """Labelled knees in the frame of the first.

    Attributes:
      distances: by name of SURFACES f32[knees, SIZE, SIZE, SIZE], mm, negative inside, within
        LIMIT_MM; parts that a knee lacks are copied from the first knee.
      signal: f32[legs, SIZE, SIZE, SIZE], MRI signal of the soft tissue relative to cartilage.
      path: f32[legs, SIZE, SIZE], line integrals of the attenuation of legs with muscle as bone.
    """

    distances: dict[str, np.ndarray]
    signal: np.ndarray
    path: np.ndarray


def build(maps: Sequence[Volume], sides: Sequence[str], legs: int = 4) -> Atlas:
    """Measures label maps and adds soft tissue to the first.

    Args:
      maps: codes of `tissues.TISSUES`; the first must have all of SURFACES.
      sides: "left" or "right" of each.
      legs: number of different legs drawn around the first knee.

    Raises:
      InputError: no map, a map that `landmarks.find_landmarks` refuses, or one that lacks a part.
    """
    if not maps or len(maps) != len(sides):
        raise InputError(f"{len(maps)} label maps, {len(sides)} sides: expected one side per map")
    knees = [measured(labels, side) for labels, side in zip(maps, sides, strict=True)]
    missing = [name for name in SURFACES if name not in knees[0]]
    if missing:
        raise InputError(f"the first label map lacks {', '.join(missing)}: expected all parts")
    mixed = [knees[0], *(_registered(knee, knees[0]) for knee in knees[1:])]
    distances = {name: np.stack([knee[name] for knee in mixed]) for name in SURFACES}
    signal, path = _legs(maps[0], sides[0], legs)
    return Atlas(distances, signal, path)


def sampled(volume: np.ndarray, matrix: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Linear interpolation on the atlas' grid at matrix @ (mm of a voxel) + offset; f32."""
    middle = (SIZE - 1) / 2
    shift = np.asarray(offset) / VOXEL_MM + middle - matrix @ np.full(3, middle)
    return ndimage.affine_transform(volume, matrix, shift, order=1, mode="nearest")


def save(atlas: Atlas, path: Path) -> None:
    """Writes an atlas to a file that `load` reads."""
    arrays = {f"distances/{name}": value for name, value in atlas.distances.items()}
    with atomic_path(path) as partial, partial.open("wb") as file:
        np.savez(file, allow_pickle=False, signal=atlas.signal, path=atlas.path, **arrays)


def load(path: Path) -> Atlas:
    """Reads what `save` wrote."""
    with np.load(path) as arrays:
        distances = {name: arrays[f"distances/{name}"] for name in SURFACES}
        return Atlas(distances, arrays["signal"], arrays["path"])


def on_grid(
    volume: np.ndarray,
    matrix: np.ndarray,
    offset: np.ndarray,
    shape: tuple[int, ...],
    extent: Sequence[float] = BOX_MM,
) -> np.ndarray:
    """Linear interpolation on a grid of another box around the joint.

    Args:
      volume: f32[SIZE, SIZE, SIZE] on the atlas' grid.
      matrix, offset: mm in the other box -> mm in the atlas.
      shape: voxels (d, h, w) of the other box.
      extent: its size in mm.

    Returns:
      f32[*shape].
    """
    step = np.divide(extent, shape)
    first = np.asarray(offset) - matrix @ (step * (np.array(shape) - 1) / 2)
    return ndimage.affine_transform(
        volume,
        matrix * step / VOXEL_MM,
        first / VOXEL_MM + (SIZE - 1) / 2,
        output_shape=tuple(shape),
        order=1,
        mode="nearest",
        output=np.float32,
    )


def near_surface(
    distance: np.ndarray,
    matrix: np.ndarray,
    offset: np.ndarray,
    shape: tuple[int, ...],
    margin_mm: float,
    extent: Sequence[float] = BOX_MM,
) -> np.ndarray:
    """`on_grid` for a signed distance; LIMIT_MM farther than about `margin_mm` outside."""
    (box,) = ndimage.find_objects((distance < 0).astype(np.uint8)) or (None,)
    result = np.full(shape, LIMIT_MM, np.float32)
    if box is None:
        return result
    ends = [((s.start - 0.5, s.stop - 0.5)) for s in box]
    corners = np.stack([c.ravel() for c in np.meshgrid(*ends)]) - (SIZE - 1) / 2
    corners = np.linalg.solve(matrix, corners * VOXEL_MM - np.asarray(offset)[:, None])
    step = np.divide(extent, shape)
    middle = (np.array(shape) - 1) / 2
    low = np.floor((corners.min(axis=1) - margin_mm) / step + middle).astype(int)
    high = np.ceil((corners.max(axis=1) + margin_mm) / step + middle).astype(int) + 1
    low, high = np.maximum(low, 0), np.minimum(high, shape)
    if (low >= high).any():
        return result
    part = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    # The box of the part has another middle.
    aside = (low + high - 1) / 2 - middle
    result[part] = on_grid(
        distance, matrix, matrix @ (aside * step) + offset, tuple(high - low), (high - low) * step
    )
    return result


def measured(
    labels: Volume, side: str, names: Sequence[str] = tuple(SURFACES)
) -> dict[str, np.ndarray]:
    """The distances of a map in its own frame; see `Atlas.distances`.

    Args:
      labels: codes of `tissues.TISSUES`.
      side: "left" or "right".
      names: of SURFACES.

    Returns:
      f32[SIZE, SIZE, SIZE] by name, for those of `names` that the map has.
    """
    knee, centre, voxel = _right_knee(labels, side)
    grid = _grid(knee, centre, voxel / FINE, SIZE * FINE)
    found = {}
    for name in names:
        mask = np.isin(grid, [CODES[part] for part in SURFACES[name]])
        if mask.any():
            found[name] = _distance(mask)
    return found


def _right_knee(labels: Volume, side: str) -> tuple[Volume, np.ndarray, float]:
    """The map as a right knee, the centre of its joint, and the size of an atlas voxel in it."""
    found = find_landmarks(labels, checked_side(side))
    knee, _ = label_map.oriented(labels, side, found)
    return knee, found.centre, VOXEL_MM * found.size * PLATEAU_WIDTH_MM / PLATEAU_MM


def _grid(knee: Volume, centre: np.ndarray, voxel: float, size: int) -> np.ndarray:
    """The labels on a cube around the joint; bones are continued beyond the map's field."""
    work = label_map.working_grid(knee, centre, voxel)
    affine = np.array(work.affine)
    affine[:3, 3] = centre - affine[:3, :3] @ np.full(3, (size - 1) / 2)
    step = np.linalg.solve(work.affine, affine)
    return ndimage.affine_transform(
        work.array, step[:3, :3], step[:3, 3], output_shape=(size,) * 3, order=0, mode="nearest"
    )


def _distance(mask: np.ndarray) -> np.ndarray:
    outside = ndimage.distance_transform_edt(~mask) - 0.5
    inside = ndimage.distance_transform_edt(mask) - 0.5
    fine = np.where(mask, -inside, outside).astype(np.float32)
    fine = ndimage.gaussian_filter(fine, 1.0) * (VOXEL_MM / FINE)
    small = fine.reshape(SIZE, FINE, SIZE, FINE, SIZE, FINE).mean(axis=(1, 3, 5))
    return np.clip(small, -LIMIT_MM, LIMIT_MM).astype(np.float32)


def _registered(knee: dict[str, np.ndarray], first: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A knee's groups registered to those of the first; missing parts come from the first."""
    result = dict(first)
    for leader, names in GROUPS.items():
        if leader not in knee:
            continue
        matrix, offset, scale = _similarity(first[leader], knee[leader])
        for name in names:
            if name in knee:
                result[name] = sampled(knee[name], matrix, offset) / scale
    return result


def _similarity(fixed: np.ndarray, moving: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Matrix and offset from the fixed knee's mm to the moving one's, and their scale."""
    points = marching_cubes(fixed, 0.0)[0] - (SIZE - 1) / 2
    points = points[np.linalg.norm(points, axis=1) < 50 / VOXEL_MM][::7] * VOXEL_MM

    def parts(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        scale = float(np.exp(x[6]))
        return scale * Rotation.from_rotvec(x[:3]).as_matrix(), x[3:6], scale

    def error(x: np.ndarray) -> np.ndarray:
        matrix, offset, scale = parts(x)
        place = (points @ matrix.T + offset) / VOXEL_MM + (SIZE - 1) / 2
        return ndimage.map_coordinates(moving, place.T, order=1, mode="nearest") / scale

    start = [0.02, 0.02, 0.02, 1.0, 1.0, 1.0, 0.02]
    found = optimize.least_squares(error, np.zeros(7), x_scale=start, loss="soft_l1")
    return parts(found.x)


def _legs(labels: Volume, side: str, legs: int) -> tuple[np.ndarray, np.ndarray]:
    """Soft tissue around the first knee: its MRI signal and its line integrals along d."""
    knee, centre, voxel = _right_knee(labels, side)
    hard = (*BONE_CODES, *(CODES[n] for n in CODES if "cartilage" in n or "meniscus" in n))
    covered = ndimage.binary_dilation(np.isin(_grid(knee, centre, voxel, SIZE), hard))
    nearest = ndimage.distance_transform_edt(covered, return_distances=False, return_indices=True)
    signals, paths = [], []
    for seed in range(legs):
        leg = label_map.completed(labels, side, jax.random.key(seed), voxel)
        cut = [_cube(part, leg.affine, centre, voxel) for part in (leg.signal, leg.attenuation)]
        soft = [part[tuple(nearest)] for part in cut]
        signals.append(soft[0])
        paths.append(soft[1].sum(axis=0) * VOXEL_MM)
    return np.stack(signals).astype(np.float32), np.stack(paths).astype(np.float32)


def _cube(array: np.ndarray, affine: np.ndarray, centre: np.ndarray, voxel: float) -> np.ndarray:
    target = np.array(affine)
    target[:3, :3] *= voxel / np.linalg.norm(affine[:3, 0])
    target[:3, 3] = centre - target[:3, :3] @ np.full(3, (SIZE - 1) / 2)
    step = np.linalg.solve(affine, target)
    return ndimage.affine_transform(
        array, step[:3, :3], step[:3, 3], output_shape=(SIZE,) * 3, order=1, mode="nearest"
    )
