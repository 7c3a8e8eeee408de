"""How much of a bone's individual shape a prediction contains: departures from the mean bone.

Surface distances consist mostly of what all knees have in common. Here both the true and the
predicted bones are aligned with the mean bone, size included, and what remains of the mean over the
knees is subtracted: the correlation is 1 for a perfect model and 0 for one that predicts the same
bone, or another patient's, for everybody.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xr2mri_jax.evaluation import statistics
from xr2mri_jax.evaluation.real_pairs.knee import Bone, Knee
from xr2mri_jax.evaluation.real_pairs.protocol import BONES, MARGIN_MM, REACH_MM
from xr2mri_jax.metrics.alignment import align
from xr2mri_jax.metrics.box import Box
from xr2mri_jax.metrics.surfaces import area_sample

POINTS = 1500
# The mean bone without its cut ends, where a small turn looks like shape.
_FIELD = Box.around(REACH_MM - MARGIN_MM)
# A larger distance is not along the normal: the surface ends or another part is nearest.
_LARGEST_MM = 6.0


@dataclasses.dataclass(frozen=True, eq=False)
class Departures:
    """Departures of n bones from their mean at p points of the mean bone, mm along its normal.

    Attributes:
      true, predicted: f64[n, p], outwards positive, less the mean over the knees; 0 where the true
        map does not reach.
      known: bool[n, p], where the true map reaches.
    """

    true: np.ndarray
    predicted: np.ndarray
    known: np.ndarray


def departures(
    true: Sequence[Knee], predicted: Sequence[Knee], mean: Mapping[str, Bone]
) -> dict[str, Departures]:
    """The departures of femur and tibia after similarity alignment with the mean bone.

    Args:
      true, predicted: n knees each.
      mean: the mean bones.

    Raises:
      InputError: a bone shares too little with the mean bone.
    """
    return {bone: _of_bone(true, predicted, mean[bone], bone) for bone in BONES}


def _of_bone(true: Sequence[Knee], predicted: Sequence[Knee], mean: Bone, name: str) -> Departures:
    points = area_sample(mean.surface, _FIELD(mean.surface.points), POINTS)[0]
    rows = [[_offsets(knee, name, mean, points) for knee in knees] for knees in (true, predicted)]
    known = np.array([reached for _, reached in rows[0]])
    centred = []
    for row in rows:
        offsets = np.where(known, np.array([values for values, _ in row]), 0.0)
        mean_offset = offsets.sum(axis=0) / np.maximum(known.sum(axis=0), 1)
        centred.append(np.where(known, offsets - mean_offset, 0.0))
    return Departures(centred[0], centred[1], known)


def _offsets(
    knee: Knee, name: str, mean: Bone, points: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Distance f64[p] in mm from the mean bone outwards to a bone, and where its map reaches."""
    bone = knee.bones[name]
    transform = align(bone.surface, mean.surface, _FIELD, bone.known, scale=True)
    own = transform.inverse_points(points)
    outwards = -transform.scale * bone.surface.signed_distance(own)
    reached = bone.known(own) & knee.field(own)
    return np.clip(outwards, -_LARGEST_MM, _LARGEST_MM), reached


def summary(found: Mapping[str, Departures], subjects: Sequence[str], seed: int) -> dict[str, Any]:
    """Correlation of true and predicted departures, pooled over knees and points, by bone.

    Args:
      found: from `departures`.
      subjects: n names, resampled for the intervals.
      seed: seed of the bootstrap.

    Returns:
      By bone: r, other_radiograph (r with the predictions for all other subjects) and their
      intervals; None where a departure has no variance; true_mm and predicted_mm, the root mean
      square departures.
    """
    return {bone: _summary(one, subjects, seed) for bone, one in found.items()}


def _summary(found: Departures, subjects: Sequence[str], seed: int) -> dict[str, Any]:
    count = np.maximum(found.known.sum(axis=1), 1)
    products = found.true @ found.predicted.T / count[:, None]
    # Another knee's prediction is compared where the own true map reaches.
    squares = found.known @ (found.predicted**2).T / count[:, None]
    true = (found.true**2).sum(axis=1) / count
    others = np.asarray(subjects)[:, None] != np.asarray(subjects)[None, :]
    alone = np.eye(len(subjects), dtype=bool)
    made: dict[str, Any] = {"intervals": {}}
    for name, chosen in (("r", alone), ("other_radiograph", others)):
        weight = chosen / np.maximum(chosen.sum(axis=1, keepdims=True), 1)
        columns = (products * weight).sum(axis=1), (squares * weight).sum(axis=1), true
        whole = _correlation(columns, subjects, seed)
        made[name] = None if whole is None else whole["mean"]
        made["intervals"][name] = None if whole is None else whole["ci95"]
    made["true_mm"] = float(np.sqrt(true.mean()))
    made["predicted_mm"] = float(np.sqrt(np.diagonal(squares).mean()))
    return made


def _correlation(
    columns: tuple[np.ndarray, ...], subjects: Sequence[str], seed: int
) -> dict[str, Any] | None:
    """r of products and squares f64[n] summed over the knees; None without variance."""

    def measure(places: np.ndarray) -> dict[str, float] | None:
        product, predicted, true = (column[places].sum() for column in columns)
        variance = predicted * true
        return {"r": float(product / np.sqrt(variance))} if variance > 0 else None

    if measure(np.arange(len(subjects))) is None:
        return None
    return statistics.estimates_of_whole(measure, subjects, seed)["r"]
