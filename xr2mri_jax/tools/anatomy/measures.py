"""All measures of one knee from the surfaces of its bones."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.spatial import cKDTree

from xr2mri_jax.tools.anatomy import shape
from xr2mri_jax.tools.anatomy.femur_measures import measure_femur
from xr2mri_jax.tools.anatomy.frames import Reference, Similarity, align, angles
from xr2mri_jax.tools.anatomy.surfaces import Surface
from xr2mri_jax.tools.anatomy.tibia_measures import (
    COMPARTMENT,
    measure_patella,
    measure_tibia,
    plateau_width,
)

WIDTH = "tibia_plateau_width"


def measure_knee(
    surfaces: Mapping[str, Surface], references: Mapping[str, Reference]
) -> dict[str, float]:
    """Measures a knee; mm and degrees, nan for parts outside its field.

    Args:
      surfaces: from `surfaces.find_surfaces`.
      references: bones that define the frames, with the same names.
    """
    frames = {name: align(s.points, references[name]).rigid() for name, s in surfaces.items()}
    local = {name: frames[name].local(s.points) for name, s in surfaces.items()}
    found = measure_femur(local["femur"]) | measure_tibia(local["tibia"])
    found |= _pose(frames) | _joint(surfaces, frames)
    found |= _tibial_cartilage(local["tibia"], surfaces["tibia"].cartilage)
    found |= _femoral_cartilage(local["femur"], surfaces["femur"].cartilage)
    if "patella" in local:
        found |= measure_patella(local["patella"])
        found |= _patellar_cartilage(local["patella"], surfaces["patella"].cartilage)
    return {name: float(value) for name, value in found.items()}


def _pose(frames: Mapping[str, Similarity]) -> dict[str, float]:
    """The pose of the bones relative to each other, and of the tibia relative to the map's axes."""
    femur, tibia = frames["femur"], frames["tibia"]
    turn = angles(femur.rotation @ tibia.rotation.T)
    place = tibia.local(femur.origin[None])[0]
    lying = angles(tibia.rotation)
    found = {
        "pose_flexion": turn[0],
        "pose_frontal": turn[1],
        "pose_axial": turn[2],
        "pose_x": place[0],
        "pose_y": place[1],
        "pose_z": place[2],
        "pose_tibia_sagittal": lying[0],
        "pose_tibia_frontal": lying[1],
        "pose_tibia_axial": lying[2],
    }
    if "patella" in frames:
        place = femur.local(frames["patella"].origin[None])[0]
        turn = angles(frames["patella"].rotation @ femur.rotation.T)
        found |= {f"patella_{axis}": value for axis, value in zip("xyz", place, strict=True)}
        found |= {"patella_flexion": turn[0], "patella_spin": turn[1], "patella_tilt": turn[2]}
    return found


def _joint(surfaces: Mapping[str, Surface], frames: Mapping[str, Similarity]) -> dict[str, float]:
    """The narrowest distance of the bones in each compartment, mm."""
    tibia = frames["tibia"].local(surfaces["tibia"].points)
    femur = frames["tibia"].local(surfaces["femur"].points)
    width = plateau_width(tibia)
    plateau = tibia[(tibia[:, 2] < 0.15 * width) & (np.abs(tibia[:, 0]) < 0.42 * width)]
    distance, _ = cKDTree(femur).query(plateau)
    found = {}
    for side, sign in (("medial", 1.0), ("lateral", -1.0)):
        part = distance[sign * plateau[:, 0] > 0.15 * width]
        found[f"joint_space_{side}"] = -shape.top(-part)
    return found


def _region(
    points: np.ndarray, centre: Sequence[float] | np.ndarray, radii: Sequence[float]
) -> np.ndarray:
    """bool[n]: inside an ellipse of the plane of x and y."""
    away = (points[:, :2] - np.asarray(centre)[:2]) / np.asarray(radii)
    return np.sum(away**2, axis=1) < 1.0


def _tibial_cartilage(points: np.ndarray, cartilage: np.ndarray) -> dict[str, float]:
    width = plateau_width(points)
    upper = points[:, 2] < 0.15 * width
    found = {}
    for side, sign in (("medial", 1.0), ("lateral", -1.0)):
        for name, y in (("anterior", -0.13), ("central", 0.0), ("posterior", 0.15)):
            centre = (sign * COMPARTMENT * width, y * width)
            part = upper & _region(points, centre, (0.09 * width, 0.08 * width))
            found[f"cartilage_{side}_tibia_{name}"] = cartilage[part].mean()
    return found


def _femoral_cartilage(points: np.ndarray, cartilage: np.ndarray) -> dict[str, float]:
    bottom = shape.top(points[:, 2])
    width = shape.extent(points[points[:, 2] > bottom - 45.0, 0])
    found = {}
    for side, sign in (("medial", 1.0), ("lateral", -1.0)):
        half = sign * points[:, 0] > 0.08 * width
        low = shape.mean_of_last(points[half], 2)
        near = half & (points[:, 2] > bottom - 0.35 * width)
        behind = shape.mean_of_last(points[near], 1)
        central = half & _region(points, low[:2], (0.08 * width, 0.09 * width))
        found[f"cartilage_{side}_femur_central"] = cartilage[
            central & (points[:, 2] > low[2] - 0.08 * width)
        ].mean()
        back = half & (np.abs(points[:, 0] - behind[0]) < 0.08 * width)
        back &= (np.abs(points[:, 2] - behind[2]) < 0.08 * width) & (points[:, 1] > behind[1] - 6)
        found[f"cartilage_{side}_femur_posterior"] = cartilage[back].mean()
    front = points[:, 1] < np.median(points[:, 1])
    front &= np.abs(points[:, 2] - bottom + 0.33 * width) < 0.08 * width
    for name, x in (("lateral", -0.18), ("central", -0.02), ("medial", 0.12)):
        part = front & (np.abs(points[:, 0] - x * width) < 0.05 * width)
        found[f"cartilage_trochlea_{name}"] = cartilage[part].mean()
    return found


def _patellar_cartilage(points: np.ndarray, cartilage: np.ndarray) -> dict[str, float]:
    width = shape.extent(points[:, 0])
    back = (points[:, 1] > 0.0) & (np.abs(points[:, 2]) < 0.15 * width)
    found = {}
    for name, x in (("lateral", -0.22), ("central", 0.05), ("medial", 0.27)):
        part = back & (np.abs(points[:, 0] - x * width) < 0.07 * width)
        found[f"cartilage_patella_{name}"] = cartilage[part].mean()
    return found
