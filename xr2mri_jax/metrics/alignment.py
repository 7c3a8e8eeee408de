"""Rigid and similarity alignment of two surfaces: symmetric iterative closest points.

Each surface's points are matched to the other surface. Gauss-Newton steps with Huber weights
minimise all distances along the normals together (point to plane: Chen and Medioni, Image Vis
Comput 10:145-155, 1992). Points outside the common field of view are ignored, so that shafts of
different lengths do not bias the alignment.
"""

import dataclasses
import math

import numpy as np
from scipy.spatial.transform import Rotation

from xr2mri_jax.errors import InputError
from xr2mri_jax.metrics.surfaces import Inside, Surface, area_sample

SCALES = (0.6, 1.6)
POINTS = 400  # per surface
_STEPS = 50
_HUBER_MM = 1.5
_DAMPING = 1e-6
_SETTLED = 0.01  # mm; the search ends when a step moves the joint's surroundings less than this
# Nearest points alternate near the end: stop after _PATIENCE steps with a smaller relative gain.
_GAIN, _PATIENCE = 1e-3, 4
# Lever arm that converts rotation and scale to mm at the joint's surroundings.
_ARM_MM = 40.0
_FEWEST = 20


@dataclasses.dataclass(frozen=True, eq=False)
class Similarity:
    """x -> scale * rotation @ x + translation, RAS mm.

    Attributes:
      rotation: f64[3, 3], proper.
      scale: above 0; 1 for a rigid transform.
      translation: f64[3], mm.
    """

    rotation: np.ndarray = dataclasses.field(default_factory=lambda: np.eye(3))
    scale: float = 1.0
    translation: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(3))

    def points(self, points: np.ndarray) -> np.ndarray:
        """Transforms points f64[n, 3]."""
        return self.scale * points @ self.rotation.T + self.translation

    def inverse_points(self, points: np.ndarray) -> np.ndarray:
        """Applies the inverse transform to points f64[n, 3]."""
        return (points - self.translation) @ self.rotation / self.scale

    def directions(self, vectors: np.ndarray) -> np.ndarray:
        """Rotates unit vectors f64[n, 3]."""
        return vectors @ self.rotation.T

    def matrix(self) -> np.ndarray:
        """The transform as a homogeneous matrix f64[4, 4]."""
        matrix = np.eye(4)
        matrix[:3, :3] = self.scale * self.rotation
        matrix[:3, 3] = self.translation
        return matrix

    def angle_deg(self) -> float:
        """Rotation angle in degrees, 0 to 180."""
        return math.degrees(Rotation.from_matrix(self.rotation).magnitude())


def align(
    moving: Surface,
    fixed: Surface,
    field: Inside,
    covered: Inside,
    scale: bool,
    start: Similarity | None = None,
    points: int = POINTS,
) -> Similarity:
    """Finds the transform that aligns `moving` with `fixed`.

    Args:
      moving, fixed: surfaces in RAS mm, with the joint's centre near the origin.
      field: maps points f64[n, 3] in the fixed frame to bool[n]: inside the common field of view.
      covered: maps points f64[n, 3] in the moving frame to bool[n]: inside the field of view
        of `moving`.
      scale: True also fits the scale (similarity); False keeps it (rigid).
      start: initial transform; None: identity.
      points: sampled points per surface.

    Raises:
      InputError: the surfaces share too few points in the common field of view.
    """
    return _Pair(moving, fixed, field, covered, points).refined(start or Similarity(), scale)


class _Pair:
    """Sampled points of two surfaces that are aligned with each other."""

    def __init__(
        self, moving: Surface, fixed: Surface, field: Inside, covered: Inside, count: int
    ) -> None:
        self._moving, self._fixed, self._field, self._covered = moving, fixed, field, covered
        self._moved = area_sample(moving, np.ones(len(moving.points), bool), 2 * count)[0]
        inside = field(fixed.points)
        if inside.sum() < _FEWEST:
            raise InputError(
                f"found {inside.sum()} points of the fixed surface in the common field, expected "
                f"{_FEWEST} or more"
            )
        self._targets = area_sample(fixed, inside, count)[0]

    def refined(self, start: Similarity, scale: bool) -> Similarity:
        """Runs Gauss-Newton steps from `start` and returns the best transform seen."""
        best, lowest, waited, current = start, math.inf, 0, start
        for _ in range(_STEPS):
            residual, jacobian = self._linearised(current)
            weight = np.minimum(1.0, _HUBER_MM / np.maximum(np.abs(residual), 1e-9))
            # Huber's loss: r^2 / 2, and beyond the threshold d (|r| - d / 2).
            cost = float(np.mean(weight * residual**2 * (1 - weight / 2)))
            waited = 0 if cost < (1 - _GAIN) * lowest else waited + 1
            if cost < lowest:
                best, lowest = current, cost
            if waited == _PATIENCE:
                break
            step = _step(jacobian if scale else jacobian[:, :6], residual, weight)
            current = _moved(current, step)
            if np.abs(step).max() < _SETTLED:
                break
        return best

    def _linearised(self, at: Similarity) -> tuple[np.ndarray, np.ndarray]:
        """Residual distances f64[n] in mm, both directions, and their Jacobian f64[n, 7]."""
        moved = at.points(self._moved)
        moved = moved[self._field(moved)]
        index = self._fixed.tree.query(moved)[1]
        normals, targets = self._fixed.normals[index], self._fixed.points[index]
        back = at.inverse_points(self._targets)
        known = self._covered(back)
        other = self._moving.tree.query(back[known])[1]
        if len(moved) < _FEWEST or known.sum() < _FEWEST:
            raise InputError(
                f"found {len(moved)} and {known.sum()} points in the common field, expected "
                f"{_FEWEST} or more of each surface"
            )
        normals = np.concatenate([normals, at.directions(self._moving.normals[other])])
        positions = np.concatenate([moved, at.points(self._moving.points[other])])
        targets = np.concatenate([targets, self._targets[known]])
        residual = np.einsum("ij,ij->i", normals, positions - targets)
        scale_part = np.einsum("ij,ij->i", normals, positions)
        rotation_part = np.cross(positions, normals)
        return residual, np.column_stack([rotation_part / _ARM_MM, normals, scale_part / _ARM_MM])


def _step(jacobian: np.ndarray, residual: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """One damped, weighted Gauss-Newton step f64[6 or 7] in mm."""
    normal = jacobian.T @ (weight[:, None] * jacobian)
    normal[np.diag_indices_from(normal)] += _DAMPING * np.trace(normal)
    return np.linalg.solve(normal, -jacobian.T @ (weight * residual))


def _moved(at: Similarity, step: np.ndarray) -> Similarity:
    """`at` followed by a small step: rotation (rad x arm), translation (mm), scale (x arm)."""
    turn = Rotation.from_rotvec(step[:3] / _ARM_MM).as_matrix()
    growth = 1.0 if len(step) < 7 else 1.0 + step[6] / _ARM_MM
    scale = float(np.clip(at.scale * growth, *SCALES))
    growth = scale / at.scale
    return Similarity(turn @ at.rotation, scale, growth * turn @ at.translation + step[3:6])
