"""Two bones compared: centred on the joint, after rigid and after similarity alignment."""

import dataclasses

import numpy as np

from xr2mri_jax.errors import InputError
from xr2mri_jax.evaluation.real_pairs.knee import FULL, REACH_MM, Bone, Extent
from xr2mri_jax.geometry import Volume
from xr2mri_jax.metrics.alignment import POINTS, Similarity, align
from xr2mri_jax.metrics.occupancy import dice, resampled
from xr2mri_jax.metrics.surfaces import Surface, SurfaceScores, scores, spread, surface_of

ALIGNMENTS = ("centred", "rigid", "similarity")
METRICS = ("dice", "assd", "hd95", "hd", "nsd")
# The volumes as they are, cut where the field ends: how SSR-KD compares.
CUT_METRICS = ("dsc", "hd", "assd")
Fits = dict[str, Similarity]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One predicted bone against the true one, by alignment.

    Attributes:
      scores: METRICS; mm, and shares in [0, 1].
      cut: CUT_METRICS, see `_cut`; empty unless they were asked for.
      fits: the transforms, from the prediction to the truth.
    """

    scores: dict[str, dict[str, float]]
    cut: dict[str, dict[str, float]]
    fits: Fits


def fit(predicted: Bone, true: Bone, field: Extent, points: int = POINTS) -> Fits:
    """The transforms of the three alignments.

    Args:
      predicted, true: the same bone of two knees.
      field: in the frame of the truth.
      points: of each surface that are laid on the other.
    """
    surfaces = predicted.surface, true.surface, field, predicted.extent
    rigid = align(*surfaces, scale=False, points=points)
    similarity = align(*surfaces, scale=True, start=rigid, points=points)
    return {"centred": Similarity(), "rigid": rigid, "similarity": similarity}


def compare(predicted: Bone, true: Bone, field: Extent, cut: bool = False) -> Comparison:
    """All scores of a bone within the common field.

    The common field is what both maps show of the cube of 2 REACH_MM around the true joint's
    centre. Distances run from each surface's points in it to the whole of the other surface, so
    that where the field ends neither bone has a surface.

    Args:
      predicted, true: the same bone of two knees.
      field: of the truth.
      cut: whether the scores of the cut volumes are wanted too.

    Raises:
      InputError: the bones share too little of the field.
    """
    fits = fit(predicted, true, field)
    found: dict[str, dict[str, float]] = {}
    cut_found: dict[str, dict[str, float]] = {}
    grid = _cube(true.occupied)
    own_field = field.mask(grid)
    for name, transform in fits.items():
        matrix = transform.matrix()
        moved = resampled(_as_shares(predicted.occupied), grid, matrix)
        common = own_field & predicted.extent.moved(matrix).mask(grid)
        occupied = grid.array >= FULL / 2
        surfaces = dataclasses.asdict(surface_scores(predicted, true, field, transform))
        found[name] = {"dice": dice(moved, occupied, common), **surfaces}
        if cut:
            cut_found[name] = _cut(moved & common, occupied & common, grid, found[name]["dice"])
    return Comparison(found, cut_found, fits)


def surface_scores(
    predicted: Bone, true: Bone, field: Extent, transform: Similarity, points: int | None = None
) -> SurfaceScores:
    """Surface distances of a moved bone in the common field.

    Args:
      predicted, true: the same bone of two knees.
      field: in the frame of the truth.
      transform: moves the prediction.
      points: of each surface; None: all.
    """
    moved, fixed = predicted.surface, true.surface
    inside = field(fixed.points) & predicted.extent(transform.back(fixed.points))
    arrived = field(transform.points(moved.points)) & predicted.extent(moved.points)
    if not inside.any() or not arrived.any():
        raise InputError("the surfaces share no part of the field")
    targets, target_areas = _chosen(fixed, inside, points)
    others, other_areas = _chosen(moved, arrived, points)
    return scores(
        transform.scale * moved.distance(transform.back(targets)),
        target_areas,
        fixed.distance(transform.points(others)),
        transform.scale**2 * other_areas,
    )


def _chosen(
    surface: Surface, inside: np.ndarray, points: int | None
) -> tuple[np.ndarray, np.ndarray]:
    if points is None:
        return surface.points[inside], surface.areas[inside]
    return spread(surface, inside, points)


def _cube(occupied: Volume) -> Volume:
    """The part of a grid that lies within REACH_MM of the origin along each axis."""
    middle = occupied.index(np.zeros(3))
    reach = np.abs(np.linalg.solve(occupied.affine[:3, :3], np.eye(3))).max(axis=1) * REACH_MM
    low = np.maximum(np.ceil(middle - reach), 0).astype(int)
    high = np.minimum(np.floor(middle + reach) + 1, occupied.shape).astype(int)
    affine = occupied.affine.copy()
    affine[:3, 3] = occupied.world(low)
    return Volume(occupied.array[tuple(map(slice, low, high))], affine)


def _as_shares(occupied: Volume) -> Volume:
    return Volume(occupied.array.astype(np.float32) / FULL, occupied.affine)


def _cut(predicted: np.ndarray, true: np.ndarray, grid: Volume, overlap: float) -> dict[str, float]:
    """Scores of two masks with the faces where the field cuts them, as one compares whole maps."""
    first, second = (
        surface_of(Volume(np.pad(mask, 1).astype(np.float32), grid.affine))
        for mask in (predicted, true)
    )
    found = scores(
        second.distance(first.points), first.areas, first.distance(second.points), second.areas
    )
    return {"dsc": overlap, "hd": found.hd, "assd": found.assd}
