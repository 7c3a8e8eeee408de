"""Frames of bones: each bone is aligned to a reference bone, whose axes then measure it.

In each frame x increases medially, y posteriorly and z inferiorly (right knee), in mm. A shaft in a
field of 140 mm is too short to give an axis of its own; the whole bone gives one.
"""

from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from xr2mri_jax.errors import InputError

_ROUNDS = 24
_SAMPLES = 2500
_FAR_MM = 12.0  # a point farther from the reference has no counterpart
_ENOUGH = 0.3  # minimum share of the points with a counterpart


class Similarity(NamedTuple):
    """A similarity: local = rotation @ (outer - origin) / scale.

    Attributes:
      rotation: f64[3, 3].
      origin: f64[3], mm.
      scale: size of the outer bone relative to the reference, > 0.
    """

    rotation: np.ndarray
    origin: np.ndarray
    scale: float = 1.0

    def local(self, points: np.ndarray) -> np.ndarray:
        """Maps points f64[n, 3] of the outer frame to this frame."""
        return (points - self.origin) @ self.rotation.T / self.scale

    def outer(self, points: np.ndarray) -> np.ndarray:
        """The inverse of `local`."""
        return self.scale * points @ self.rotation + self.origin

    def rigid(self) -> "Similarity":
        """The same axes and origin in mm of the outer bone."""
        return Similarity(self.rotation, self.origin)


class Reference(NamedTuple):
    """A reference bone in its own frame.

    Attributes:
      points: f64[n, 3], mm, densely on the surface.
      normals: f64[n, 3], unit vectors out of the bone.
      ends: lowest and highest z of the bone's surface; the bone was cut off beyond them.
    """

    points: np.ndarray
    normals: np.ndarray
    ends: tuple[float, float]


def align(points: np.ndarray, reference: Reference, start: np.ndarray | None = None) -> Similarity:
    """Aligns a bone to the reference by rotation, shift and size, by iterated closest points.

    Every round takes the least-squares step for the points' distances from the reference's tangent
    planes (Chen and Medioni, Image Vision Comput 10:145-155, 1992).

    Args:
      points: f64[n, 3] on the bone's surface, axes within about 30 degrees of the reference's.
      reference: in its own frame.
      start: f64[3], initial position of the reference's origin; None matches the points' boxes.

    Raises:
      InputError: the bones have too little in common.
    """
    chosen = points[:: max(1, len(points) // _SAMPLES)]
    tree = cKDTree(reference.points)
    place = Similarity(np.eye(3), _start(points, reference) if start is None else start)
    for round_ in range(_ROUNDS):
        local = place.local(chosen)
        distance, index = tree.query(local)
        near, normal = reference.points[index], reference.normals[index]
        low, high = reference.ends
        limit = _FAR_MM * max(0.35, 1.0 - round_ / 12)
        used = (distance < limit) & (near[:, 2] > low) & (near[:, 2] < high)
        if used.mean() < _ENOUGH:
            raise InputError(
                f"found {used.mean():.0%} of a bone's surface near the reference bone, expected at "
                f"least {_ENOUGH:.0%}"
            )
        local, near, normal = local[used], near[used], normal[used]
        place = _improved(place, local, near, normal)
    return place


def _start(points: np.ndarray, reference: Reference) -> np.ndarray:
    """Matches the middles across the leg, and along the leg the end that was not cut off."""
    low, high = points.min(axis=0), points.max(axis=0)
    first, last = reference.points.min(axis=0), reference.points.max(axis=0)
    shift = (low + high) / 2 - (first + last) / 2
    open_above = reference.ends[0] > first[2] + 0.5
    open_below = reference.ends[1] < last[2] - 0.5
    if open_above != open_below:
        shift[2] = high[2] - last[2] if open_above else low[2] - first[2]
    return shift


def _improved(
    place: Similarity, local: np.ndarray, near: np.ndarray, normal: np.ndarray
) -> Similarity:
    rows = np.concatenate(
        [np.cross(local, normal), normal, np.sum(local * normal, axis=1, keepdims=True)], axis=1
    )
    residual = np.sum((near - local) * normal, axis=1)
    weight = 1.0 / np.maximum(np.abs(residual), 1.0)
    step = np.linalg.lstsq(rows * np.sqrt(weight)[:, None], residual * np.sqrt(weight), rcond=None)[
        0
    ]
    turn, shift, growth = step[:3], step[3:6], step[6]
    rotation = _exponential(turn)
    # new local = (1 + growth) rotation @ local + shift
    scale = place.scale / (1.0 + growth)
    turned = rotation @ place.rotation
    origin = place.origin - scale * (turned.T @ shift)
    return Similarity(turned, origin, scale)


def _exponential(vector: np.ndarray) -> np.ndarray:
    angle = np.linalg.norm(vector)
    if angle < 1e-12:
        return np.eye(3)
    x, y, z = vector / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def angles(rotation: np.ndarray) -> np.ndarray:
    """f64[3], degrees: x, y and z angles of a rotation that is the product of these turns."""
    return np.degrees(
        [
            np.arctan2(rotation[1, 2], rotation[2, 2]),
            np.arcsin(np.clip(rotation[0, 2], -1.0, 1.0)),
            np.arctan2(rotation[0, 1], rotation[0, 0]),
        ]
    )
