"""Compares two bones: centred on the joint, after rigid and after similarity alignment."""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from xr2mri_jax.errors import InputError
from xr2mri_jax.evaluation.real_pairs.knee import FULL, Bone
from xr2mri_jax.evaluation.real_pairs.protocol import (
    ALIGNMENTS,
    CLOSED,
    DICE_STEP_MM,
    OPEN,
    PROTOCOLS,
    REACH_MM,
)
from xr2mri_jax.geometry import Volume
from xr2mri_jax.metrics.alignment import POINTS, Similarity, align
from xr2mri_jax.metrics.box import Box
from xr2mri_jax.metrics.occupancy import dice, resampled
from xr2mri_jax.metrics.surfaces import Inside, Surface, SurfaceScores, area_sample, scores
from xr2mri_jax.metrics.voxels import border_scores

_BESIDE_MM = 12.0  # margin of the volume grid beyond the cube
Fits = dict[str, Similarity]
# Values of METRICS (mm, or shares in [0, 1]) by protocol and alignment.
Scores = dict[str, dict[str, dict[str, float]]]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The comparison of a predicted bone with the true one.

    Attributes:
      scores: values by protocol, alignment and metric.
      fits: transforms from the prediction to the truth by protocol and alignment.
    """

    scores: Scores
    fits: dict[str, Fits]


class Target:
    """A true bone, prepared for comparison with many others.

    Attributes:
      bone: the true bone.
      field: the box in which it is compared.
      closed: the closed surface of its part in the box, including the cut faces.
      border: the border voxels of that part.
    """

    def __init__(self, bone: Bone, field: Box) -> None:
        self.bone, self.field = bone, field
        self.closed, self.border = bone.closed(field), bone.border(field)
        self.grid, self.points = _grid()
        self.occupied = resampled(bone.occupied, self.grid, np.eye(4), FULL / 2)
        self.inside = field.mask(self.grid)


@functools.cache
def _grid() -> tuple[Volume, np.ndarray]:
    """The grid on which volumes are compared (its values are unused), and its points."""
    count = round(2 * (REACH_MM + _BESIDE_MM) / DICE_STEP_MM)
    affine = np.diag((*(DICE_STEP_MM,) * 3, 1.0))
    affine[:3, 3] = -DICE_STEP_MM * (count - 1) / 2
    grid = Volume(np.zeros((count,) * 3, bool), affine)
    return grid, grid.world(np.moveaxis(np.indices(grid.shape), 0, -1).reshape(-1, 3))


def compare(
    predicted: Bone,
    target: Target,
    points: int | None = None,
    alignments: Sequence[str] = ALIGNMENTS,
) -> Comparison:
    """Computes all scores of a bone in both protocols, see `protocol.CONVENTION`.

    Args:
      predicted: the predicted bone, or the same bone of another knee, with the joint's centre at
        the origin.
      target: the true bone.
      points: points per surface for distances, 200 or more; an eighth of them is used for the
        alignment. None: all for distances, `alignment.POINTS` for the alignment.
      alignments: those of ALIGNMENTS to score; the others only have fits.

    Raises:
      InputError: the bones share too little of the field of view.
    """
    closed, border = predicted.closed(target.field), predicted.border(target.field)
    aligned = POINTS if points is None else points // 8
    fits = {
        CLOSED: _fit(closed, target.closed, _everywhere, _everywhere, aligned),
        OPEN: _fit(predicted.surface, target.bone.surface, target.field, predicted.known, aligned),
    }
    found: Scores = {protocol: {} for protocol in PROTOCOLS}
    for name in alignments:
        transform = fits[CLOSED][name]
        scored = border_scores(border, target.border, transform, points)
        overlap = _closed_dice(predicted, target, transform)
        found[CLOSED][name] = {"dice": overlap, **dataclasses.asdict(scored)}
    for name in alignments:
        transform = fits[OPEN][name]
        scored = surface_scores(
            predicted.surface,
            target.bone.surface,
            target.field,
            predicted.known,
            transform,
            points,
        )
        overlap = _open_dice(predicted, target, transform)
        found[OPEN][name] = {"dice": overlap, **dataclasses.asdict(scored)}
    return Comparison(found, fits)


def _everywhere(points: np.ndarray) -> np.ndarray:
    return np.ones(len(points), bool)


def _fit(moving: Surface, fixed: Surface, field: Inside, known: Inside, points: int) -> Fits:
    """The transforms of the three alignments."""
    rigid = align(moving, fixed, field, known, scale=False, points=points)
    similarity = align(moving, fixed, field, known, scale=True, start=rigid, points=points)
    return {"centred": Similarity(), "rigid": rigid, "similarity": similarity}


def surface_scores(
    moved: Surface,
    fixed: Surface,
    field: Inside,
    known: Inside,
    transform: Similarity,
    points: int | None = None,
) -> SurfaceScores:
    """Surface distances between two surfaces in their common field of view.

    Args:
      moved, fixed: two surfaces.
      field: selects points in the fixed frame.
      known: selects points in the moving frame.
      transform: applied to the first surface.
      points: sampled points per surface; None: all.

    Raises:
      InputError: the surfaces share no part of the field of view.
    """
    inside = field(fixed.points) & known(transform.inverse_points(fixed.points))
    arrived = field(transform.points(moved.points)) & known(moved.points)
    if not inside.any() or not arrived.any():
        raise InputError("the surfaces share no part of the field of view")
    targets, target_areas = _chosen(fixed, inside, points)
    others, other_areas = _chosen(moved, arrived, points)
    return scores(
        transform.scale * moved.distance(transform.inverse_points(targets)),
        target_areas,
        fixed.distance(transform.points(others)),
        transform.scale**2 * other_areas,
    )


def _chosen(
    surface: Surface, inside: np.ndarray, points: int | None
) -> tuple[np.ndarray, np.ndarray]:
    if points is None:
        return surface.points[inside], surface.areas[inside]
    return area_sample(surface, inside, points)


def _closed_dice(predicted: Bone, target: Target, transform: Similarity) -> float:
    moved = resampled(predicted.occupied, target.grid, transform.matrix(), FULL / 2)
    moved &= target.field(transform.inverse_points(target.points)).reshape(moved.shape)
    return dice(moved, target.occupied & target.inside, np.ones_like(moved))


def _open_dice(predicted: Bone, target: Target, transform: Similarity) -> float:
    moved = resampled(predicted.occupied, target.grid, transform.matrix(), FULL / 2)
    known = predicted.known(transform.inverse_points(target.points)).reshape(moved.shape)
    return dice(moved, target.occupied, target.inside & known)
