"""Bone surfaces of simulated knees, and the reference bones whose frames all measures use."""

import numpy as np
from scipy import ndimage
from skimage.measure import marching_cubes

from xr2mri_jax.phantom.surfaces import resized
from xr2mri_jax.simulation.atlas import SIZE, VOXEL_MM, Atlas
from xr2mri_jax.simulation.family import Knee
from xr2mri_jax.simulation.population import BONES
from xr2mri_jax.simulation.poses import STILL
from xr2mri_jax.tools.anatomy.frames import Reference
from xr2mri_jax.tools.anatomy.population import (
    ENDS,
    TO_DHW,
    TO_XYZ,
    interpolate,
    mean_bone,
)
from xr2mri_jax.tools.anatomy.surfaces import Surface

# Rotations about y and z in degrees from the atlas' axes to those of each bone: the epicondyles,
# the rims of the plateau and the patella's width lie along x.
_TURNS = {"femur": (2.3, 6.2), "tibia": (0.0, 9.2), "patella": (0.0, 6.2)}
_OUTERS = {"femur": "femoral_outer", "tibia": "tibial_outer", "patella": "patellar_outer"}
_END_MM = 3.0  # points nearer to the cut end of a bone are not its surface
_STEP_MM = 0.25


def reference_bones(atlas: Atlas) -> dict[str, Reference]:
    """The atlas' mean bones, each in its measuring frame."""
    found = {}
    for bone in BONES:
        whole = mean_bone(atlas, bone)
        turn = _turn(*np.deg2rad(_TURNS[bone]))
        points = whole.points @ turn.T
        low, high = ENDS[bone]
        kept = (whole.points[:, 2] > low) & (whole.points[:, 2] < high)
        points, normals = points[kept], (whole.normals @ turn.T)[kept]
        points = points - _origin(points, bone)
        ends = {
            "femur": (points[:, 2].min() + _END_MM, 1e3),
            "tibia": (-1e3, points[:, 2].max() - _END_MM),
            "patella": (-1e3, 1e3),
        }
        found[bone] = Reference(points, normals, ends[bone])
    return found


def drawn_surfaces(knee: Knee) -> dict[str, Surface]:
    """The bones of a drawn knee in the pose of its scan, at the usual width of the plateau."""
    found = {}
    for bone, pose in (("femur", knee.femur), ("tibia", STILL), ("patella", knee.patella)):
        points, normals = fine_points(knee.distances[bone])
        thickness = _thickness(knee.distances[_OUTERS[bone]], points, normals)
        # The pose maps the scan to the bone's own frame; it is a rotation and a shift.
        places = (points[:, TO_DHW] - pose[1]) @ pose[0]
        found[bone] = Surface(
            places[:, TO_XYZ] / knee.zoom,
            (normals[:, TO_DHW] @ pose[0])[:, TO_XYZ],
            thickness / knee.zoom,
        )
    return found


def fine_points(distance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`surface_points` on voxels of half the size: extremes need as many points as a map has."""
    (box,) = ndimage.find_objects((distance < 0).astype(np.uint8))
    box = tuple(slice(max(s.start - 4, 0), min(s.stop + 4, SIZE)) for s in box)
    part = distance[box]
    fine = resized(part[None], tuple(2 * n for n in part.shape), order=3)[0]
    vertices, _, normals, _ = marching_cubes(fine, 0.0, gradient_direction="ascent")
    places = vertices / 2 - 0.25 + [s.start for s in box]
    inner = ((places > 1) & (places < SIZE - 2)).all(axis=1)
    points = (places[inner] - (SIZE - 1) / 2) * VOXEL_MM
    return points[:, TO_XYZ], -normals[inner][:, TO_XYZ]


def _thickness(outer: np.ndarray, points: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """Length of the normals inside the outer surface, mm."""
    return np.maximum(-interpolate(outer, points), 0.0)


def _turn(y: float, z: float) -> np.ndarray:
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_z = np.array([[np.cos(z), np.sin(z), 0], [-np.sin(z), np.cos(z), 0], [0, 0, 1]])
    return about_y @ about_z


def _origin(points: np.ndarray, bone: str) -> np.ndarray:
    """Femur: middle of the condyles, their back and their lowest point; tibia: middle of the rims
    at the height of the plateau; patella: its middle."""
    x, y, z = points.T
    if bone == "femur":
        low = x[z > z.max() - 45.0]
        return np.array([(low.min() + low.max()) / 2, y[z > z.max() - 30.0].max(), z.max()])
    if bone == "patella":
        return (points.min(axis=0) + points.max(axis=0)) / 2
    rim = points[(z > z.min() + 9.0) & (z < z.min() + 20.0)]
    middle = (rim.min(axis=0) + rim.max(axis=0)) / 2
    heights = [
        np.median(z[(np.hypot(x - middle[0] - side, y - middle[1]) < 5.0) & (z < z.min() + 25.0)])
        for side in (20.0, -20.0)
    ]
    return np.array([middle[0], middle[1], np.mean(heights)])
