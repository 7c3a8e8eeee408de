"""Cartilage plates and joint space of a knee whose joint centre is at the origin.

The frame is RAS mm of a right knee, so lateral is at positive x.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import Volume
from xr2mri_jax.metrics.surfaces import Surface

# Range along a bone's outward normal in which thickness is integrated, mm from its surface. It
# starts inside because the smoothed surface may lie slightly outside the label's.
_RAY_MM = (-2.0, 7.0)
_RAY_STEP_MM = 0.25
_BEGUN, _ENDED = 0.25, 0.05  # a layer begins above the first occupancy and ends below the second
_BEGINS_MM = 1.5
# Bone with less cartilage than this along its normal counts as uncovered.
_COVERED_MM = 0.3
_CUBIC_MM = 1000.0  # mm^3 in a millilitre
_SQUARE_MM = 100.0  # mm^2 in a square centimetre

# The weight-bearing part of each plateau, in widths of the tibial plateau from the joint's centre:
# mediolateral (about the fixed locations for joint space width in radiographs, Neumann et al.,
# Osteoarthr Cartil 17:761-765, 2009) and anteroposterior.
ACROSS = (0.15, 0.35)
DEEP = 0.16
# The plateau: surface whose normal's upward component exceeds UPWARDS, near the joint.
UPWARDS = 0.6
_BELOW_MM = 25.0
COMPARTMENTS = ("medial", "lateral")


class Plate(NamedTuple):
    """A cartilage plate: volume in ml, mean thickness over covered bone in mm, covered area."""

    volume_ml: float
    thickness_mm: float
    area_cm2: float


PLATES: dict[str, tuple[str, str, float]] = {
    # plate: cartilage, bone, sign of x (0: both sides)
    "femoral_medial": ("femoral_cartilage", "femur", -1.0),
    "femoral_lateral": ("femoral_cartilage", "femur", 1.0),
    "tibial_medial": ("tibial_cartilage", "tibia", -1.0),
    "tibial_lateral": ("tibial_cartilage", "tibia", 1.0),
    "patellar": ("patellar_cartilage", "patella", 0.0),
}


def cartilage_plates(
    cartilages: Mapping[str, Volume], bones: Mapping[str, Surface], field: Volume
) -> dict[str, Plate]:
    """Volume, thickness and covered area of every plate whose bone and cartilage are given.

    The thickness at a point of the bone's surface is the integral of the cartilage's occupancy
    along the bone's normal, so partial voxels count in proportion. A plate's thickness is the mean
    over the area of bone with cartilage. Medial and lateral plates are divided at the joint's
    centre.

    Args:
      cartilages: occupancies f32 in [0, 1] of the available cartilages by the names in PLATES, on
        one grid.
      bones: surfaces of the available bones by the names in PLATES.
      field: bool on the same grid: the voxels to include.

    Returns:
      The values by plate; zeros if there is no cartilage on that side of the bone.
    """
    found = {}
    voxel_ml = abs(np.linalg.det(field.affine[:3, :3])) / _CUBIC_MM
    x = field.affine[0, 3] + sum(
        step * index for step, index in zip(field.affine[0], np.ogrid[_whole(field)], strict=False)
    )
    for plate, (cartilage, bone, sign) in PLATES.items():
        if bone not in bones or cartilage not in cartilages:
            continue
        occupancy, surface = cartilages[cartilage], bones[bone]
        counted = field.array & (sign * x >= 0)
        millilitres = voxel_ml * occupancy.array.sum(where=counted, dtype=np.float64)
        chosen = (sign * surface.points[:, 0] >= 0) & _in_field(surface.points, field)
        thickness = thicknesses(surface.points[chosen], surface.normals[chosen], occupancy)
        covered = thickness > _COVERED_MM
        weights = surface.areas[chosen][covered]
        mean = float(np.average(thickness[covered], weights=weights)) if covered.any() else 0.0
        found[plate] = Plate(float(millilitres), mean, float(weights.sum()) / _SQUARE_MM)
    return found


def thicknesses(points: np.ndarray, normals: np.ndarray, occupancy: Volume) -> np.ndarray:
    """Thickness in mm of the layer on a surface, along the surface normals: f64[n].

    Only the first layer that begins within 1.5 mm of the surface is measured.

    Args:
      points, normals: f64[n, 3], RAS mm.
      occupancy: f32 in [0, 1], the layer's occupancy.
    """
    total = np.zeros(len(points))
    begun = np.zeros(len(points), bool)
    going = np.ones(len(points), bool)
    for step in np.arange(*_RAY_MM, _RAY_STEP_MM):
        index = occupancy.index(points + step * normals)
        filled = ndimage.map_coordinates(occupancy.array, index.T, order=1, output=np.float32)
        begun |= filled > _BEGUN
        going &= ~(begun & (filled < _ENDED)) & (begun | (step < _BEGINS_MM))
        total += filled * going
    return total * _RAY_STEP_MM


def joint_space(femur: Surface, tibia: Surface, width_mm: float) -> dict[str, float]:
    """Minimum distance in mm from the weight-bearing part of each plateau to the femur.

    Args:
      femur, tibia: surfaces of the bones.
      width_mm: width of the tibial plateau.

    Returns:
      The distance by compartment, medial and lateral.

    Raises:
      InputError: a compartment has no plateau.
    """
    points, found = tibia.points, {}
    level = (
        (tibia.normals[:, 2] > UPWARDS)
        & (np.abs(points[:, 1]) < DEEP * width_mm)
        & (points[:, 2] > -_BELOW_MM)
    )
    for name, sign in zip(COMPARTMENTS, (-1.0, 1.0), strict=True):
        outwards = sign * points[:, 0] / width_mm
        chosen = level & (outwards > ACROSS[0]) & (outwards < ACROSS[1])
        if not chosen.any():
            raise InputError(f"found no {name} plateau of the tibia, expected one near the joint")
        found[name] = float(femur.distance(points[chosen]).min())
    return found


def _whole(volume: Volume) -> tuple[slice, ...]:
    return tuple(slice(0, size) for size in volume.shape)


def _in_field(points: np.ndarray, field: Volume) -> np.ndarray:
    index = np.rint(field.index(points)).astype(int)
    inside = ((index >= 0) & (index < field.shape)).all(axis=1)
    found = np.zeros(len(points), bool)
    found[inside] = field.array[tuple(index[inside].T)]
    return found
