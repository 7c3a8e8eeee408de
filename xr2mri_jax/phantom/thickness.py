"""Thickness of the cartilage plates from the signed distances of a knee."""

import numpy as np
from scipy import ndimage
from skimage.measure import marching_cubes

from xr2mri_jax.geometry import BOX_MM
from xr2mri_jax.phantom import surfaces
from xr2mri_jax.phantom.surfaces import NAMES

# Measuring grid, 2 mm, and the step along a bone's normals, mm.
_GRID = (64, 64, 64)
_VOXEL_MM = BOX_MM[0] / _GRID[0]
_STEPS_MM = np.arange(0.0, 7.01, 0.25)
# plate: bone, outer surface, and whether it is lateral (None: both sides).
PLATES: dict[str, tuple[str, str, bool | None]] = {
    "femoral_medial": ("femur", "femoral_outer", False),
    "femoral_lateral": ("femur", "femoral_outer", True),
    "tibial_medial": ("tibia", "tibial_outer", False),
    "tibial_lateral": ("tibia", "tibial_outer", True),
    "patellar": ("patella", "patellar_outer", None),
}


def mean_thickness(distances: np.ndarray) -> dict[str, float]:
    """Mean thickness of each cartilage plate over the bone that it covers, along its normals.

    From points of the bone's surface, its normals are followed to the outer surface. The difference
    of both distances is not used: distances that are means of several knees or predictions grow
    more slowly than the path, and the result was a fifth smaller than for the same plate of the
    label map. Medial and lateral part at the tibia's middle.

    Args:
      distances: f32[k, d, h, w] in mm over the canonical box, as `surfaces.NAMES`, a right knee.

    Returns:
      mm by plate; 0 for a plate that is missing.
    """
    wanted = [k for pair in surfaces.CARTILAGES for k in pair]
    fields = surfaces.resized(np.asarray(distances)[wanted], _GRID, order=3)
    fine = {NAMES[k]: field for k, field in zip(wanted, fields, strict=True)}
    middle = surfaces.tibial_middle(fine["tibia"])
    found = dict.fromkeys(PLATES, 0.0)
    for bone, outer in dict.fromkeys((bone, outer) for bone, outer, _ in PLATES.values()):
        if fine[bone].min() >= 0 or fine[bone].max() <= 0:
            continue
        points, _, normals, _ = marching_cubes(fine[bone], 0.0, gradient_direction="ascent")
        depth = _way_out(fine[outer], points, -normals)
        lateral = points[:, 2] < middle - 0.5
        for plate, (of_bone, _, side) in PLATES.items():
            covered = depth > surfaces.COVERED_MM
            if side is not None:
                covered &= lateral == side
            if of_bone == bone and covered.any():
                found[plate] = float(depth[covered].mean())
    return found


def _way_out(outer: np.ndarray, points: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """Path in mm f64[n] from points, in voxels, along unit vectors to a sign change of `outer`."""
    places = points[:, None] + _STEPS_MM[:, None] / _VOXEL_MM * normals[:, None]
    along = ndimage.map_coordinates(outer, np.moveaxis(places, -1, 0), order=1, mode="nearest")
    outside = along >= 0
    ended = outside.any(axis=1)
    last = np.where(ended, outside.argmax(axis=1), 1)
    before = np.maximum(last - 1, 0)
    rows = np.arange(len(points))
    inner, beyond = along[rows, before], along[rows, last]
    part = np.clip(-inner / np.maximum(beyond - inner, 1e-6), 0.0, 1.0)
    way = _STEPS_MM[before] + part * (_STEPS_MM[last] - _STEPS_MM[before])
    return np.where(outside[:, 0], 0.0, np.where(ended, way, _STEPS_MM[-1]))
