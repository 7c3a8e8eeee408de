"""Relative poses of the bones of a simulated knee: measured poses, joint spaces, flexion.

A pose is the matrix f64[3, 3] and the offset f64[3] that map the mm of a bone's surroundings to the
mm of its own frame, (d, h, w).
"""

from typing import NamedTuple

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from xr2mri_jax.simulation.atlas import SIZE, VOXEL_MM

Pose = tuple[np.ndarray, np.ndarray]
STILL: Pose = (np.eye(3), np.zeros(3))
# Where medial and lateral gaps are measured, mm from the joint's centre along d and |w|.
_GAP_D, _GAP_W = np.linspace(-14, 16, 11), np.linspace(12, 30, 8)
_ARM_MM = 22.0
# Difference between the third percentile of the plateau's distances and the least one, mm.
SPACE_MM = 0.15
_LEFT = (1.0, 0.95, 0.8, 0.5, 0.12)  # remaining fraction of the narrower gap, by grade
# The radiograph: flexion of the femur against the lying knee and the beam's angle to the plateau,
# degrees. In fixed flexion the thigh touches the detector and the beam comes 10 degrees from above,
# so that the femur appears nearly as it lies in the MRI: segmentations aligned to the films of the
# same knees are flexed by 9 degrees, standard deviation 6.
FLEXION_DEG, _TILT_DEG = (-4.0, 18.0), (2.0, 4.0)


def compose(last: Pose, first: Pose) -> Pose:
    """The affine map that applies `first`, then `last`, as matrix and offset."""
    return last[0] @ first[0], last[0] @ first[1] + last[1]


def measured_pose(values: np.ndarray, pivot: np.ndarray) -> Pose:
    """Matrix and offset that map the neighbour's mm to a bone's.

    Args:
      values: f64[6]: a rotation vector in degrees and a shift in mm, along d, h, w.
      pivot: f64[3], mm in the bone's frame.
    """
    matrix = Rotation.from_rotvec(np.deg2rad(values[:3])).as_matrix()
    return matrix, pivot - matrix @ (pivot + values[3:])


def plateau_points(tibia: np.ndarray) -> np.ndarray:
    """Points of the tibial plateau, f64[n, 3] mm, the lateral ones (w < 0) first."""
    width = np.concatenate([-_GAP_W[::-1], _GAP_W])
    d, w = (a.ravel() for a in np.meshgrid(_GAP_D, width, indexing="ij"))
    heights = np.arange(-12, 14, 0.5)
    grid = np.stack(np.broadcast_arrays(d[:, None], heights[None], w[:, None]))
    values = _interpolate(tibia, grid)
    inside = values < 0
    first = np.argmax(inside, axis=1)
    good = inside.any(axis=1) & (first > 0)
    rows = np.flatnonzero(good)
    upper, lower = values[rows, first[rows] - 1], values[rows, first[rows]]
    top = heights[first[rows]] - 0.5 * lower / np.minimum(lower - upper, -1e-6)
    points = np.stack([d[rows], top, w[rows]], axis=1)
    return points[np.argsort(points[:, 2])]


def _interpolate(volume: np.ndarray, mm: np.ndarray) -> np.ndarray:
    where = mm / VOXEL_MM + (SIZE - 1) / 2
    return ndimage.map_coordinates(volume, where, order=1, mode="nearest")


def gaps(femur: np.ndarray, points: np.ndarray, pose: Pose) -> np.ndarray:
    """(medial, lateral): least distance of the plateau's points from the femur, mm."""
    matrix, offset = pose
    away = _interpolate(femur, (points @ matrix.T + offset).T)
    medial = points[:, 2] > 0
    return np.array([np.percentile(away[side], 3) for side in (medial, ~medial)])


def narrowed_spaces(usual: np.ndarray, grade: int, rng: np.random.Generator) -> np.ndarray:
    """Joint spaces (medial, lateral) in mm, narrowed as in a Kellgren-Lawrence grade."""
    left = _LEFT[grade] * np.exp(rng.normal(0, 0.08))
    other = 1 - 0.3 * (1 - left) + rng.normal(0, 0.05)
    shares = np.array([left, other] if rng.random() < 0.8 else [other, left])
    return np.clip(usual * shares, 0.3, 8.0)


def with_joint_spaces(
    femur: np.ndarray,
    points: np.ndarray,
    start: Pose,
    wanted: np.ndarray,
) -> Pose:
    """The pose `start`, shifted along h and tilted in the frontal plane to the wanted gaps."""
    down, angle = 0.0, 0.0
    pose = start
    for _ in range(6):
        back = rotation(0, angle).T
        matrix = start[0] @ back
        pose = matrix, start[1] - matrix @ np.array([0.0, down, 0.0])
        error = wanted - gaps(femur, points, pose)
        down -= 0.8 * error.mean()
        angle -= 0.8 * (error[0] - error[1]) / (2 * _ARM_MM)
    return pose


class RadiographPose(NamedTuple):
    """Poses of the bones of a standing knee in its radiograph.

    Attributes:
      beam: f64[3, 3], mm of the radiograph's frame -> mm of the tibia's.
      femur, patella: from mm of the tibia to mm of the bone's frame.
    """

    beam: np.ndarray
    femur: Pose
    patella: Pose


def draw_radiograph_pose(
    femur: np.ndarray,
    points: np.ndarray,
    lying: Pose,
    tracking: Pose,
    wanted: np.ndarray,
    rng: np.random.Generator,
    flexion_deg: tuple[float, float] = FLEXION_DEG,
) -> RadiographPose:
    """Draws the pose of a radiograph in fixed flexion.

    Args:
      femur: f32[SIZE, SIZE, SIZE], signed distances in mm.
      points: of `plateau_points`.
      lying, tracking: poses of the femur in the scan and of the patella against it.
      wanted: f64[2], medial and lateral joint space, mm.
      rng: of flexion, beam and patella.
      flexion_deg: minimum and maximum flexion of the femur against the lying knee.
    """
    slope = np.arctan(np.polyfit(points[:, 0], points[:, 1], 1)[0])
    tilt = float(np.clip(-slope + np.deg2rad(rng.normal(*_TILT_DEG)), -0.35, 0.2))
    flexion = np.deg2rad(rng.uniform(*flexion_deg))
    flexed = with_joint_spaces(femur, points, compose(lying, flexion_pose(femur, flexion)), wanted)
    # The quadriceps of a standing leg pulls the patella up.
    matrix, offset = compose(tracking, compose(lying, flexion_pose(femur, 0.7 * flexion)))
    offset = offset - matrix @ np.array([0.0, rng.normal(-5.0, 5.0), rng.normal(0, 2.0)])
    axial = rotation(1, np.deg2rad(rng.normal(0, 4.0)))
    return RadiographPose((rotation(2, tilt) @ axial).T, flexed, (matrix, offset))


def flexion_pose(femur: np.ndarray, flexion: float) -> Pose:
    """Maps mm around the flexed femur to mm of its frame: a rotation about the condyles' axis."""
    middle = femur[:, :, SIZE // 2 - 20 : SIZE // 2 + 20].min(axis=2) < 0
    depths, heights = np.nonzero(middle)
    posterior = (depths.max() - (SIZE - 1) / 2) * VOXEL_MM
    lowest = (heights.max() - (SIZE - 1) / 2) * VOXEL_MM
    axis = np.array([posterior - 20.0, lowest - 21.0, 0.0])
    matrix = rotation(2, flexion).T
    return matrix, axis - matrix @ axis


def rotation(axis: int, angle: float) -> np.ndarray:
    """Rotation about d (0), h (1) or w (2); positive turns about w flex, about d lower medial."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array(
        {
            0: [[1, 0, 0], [0, c, s], [0, -s, c]],
            1: [[c, 0, s], [0, 1, 0], [-s, 0, c]],
            2: [[c, -s, 0], [s, c, 0], [0, 0, 1]],
        }[axis]
    )
