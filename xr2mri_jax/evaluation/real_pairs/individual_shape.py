"""How much of a bone's individual shape a prediction contains: departures from the mean bone.

Surface distances consist mostly of what all knees have in common. Here the true and the predicted
bones are aligned with the mean bone, size included, and the mean over the knees is subtracted. The
correlation of what remains is 1 for a perfect model, near 0 for predictions of other knees, and not
defined for a model that predicts the same bone for everybody.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xr2mri_jax.evaluation import statistics
from xr2mri_jax.evaluation.real_pairs.knee import Bone, Knee
from xr2mri_jax.evaluation.real_pairs.knees import in_threads
from xr2mri_jax.evaluation.real_pairs.protocol import BONES, MARGIN_MM, REACH_MM
from xr2mri_jax.metrics.alignment import Similarity, align
from xr2mri_jax.metrics.box import Box
from xr2mri_jax.metrics.surfaces import area_sample

POINTS = 1500
# The mean bone without its cut ends, where a small turn looks like shape.
_FIELD = Box.around(REACH_MM - MARGIN_MM)
# A larger distance is not along the normal: the surface ends or another part is nearest.
_LARGEST_MM = 6.0
_LEAST_MM = 1e-3  # departures below this are rounding


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

    def of_knee(i: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        own, knee = true[i].bones[name], true[i]
        fit = align(own.surface, mean.surface, _FIELD, own.known, scale=True)

        def reached(places: np.ndarray) -> np.ndarray:
            """Where the true map shows the field, in the frame of the mean bone."""
            back = fit.inverse_points(places)
            return _FIELD(places) & own.known(back) & knee.field(back)

        other = predicted[i].bones[name]
        other_fit = align(other.surface, mean.surface, reached, other.known, scale=True)
        return _offsets(own, fit, points), _offsets(other, other_fit, points), reached(points)

    rows = in_threads(of_knee, range(len(true)), f"individual shape, {name}", "knee")
    known = np.array([reached for _, _, reached in rows])
    centred = []
    for number in range(2):
        offsets = np.where(known, np.array([row[number] for row in rows]), 0.0)
        mean_offset = offsets.sum(axis=0) / np.maximum(known.sum(axis=0), 1)
        centred.append(np.where(known, offsets - mean_offset, 0.0))
    return Departures(centred[0], centred[1], known)


def _offsets(bone: Bone, fit: Similarity, points: np.ndarray) -> np.ndarray:
    """Distance f64[p] in mm from points of the mean bone outwards to an aligned bone."""
    outwards = -fit.scale * bone.surface.signed_distance(fit.inverse_points(points))
    return np.clip(outwards, -_LARGEST_MM, _LARGEST_MM)


def summary(found: Mapping[str, Departures], subjects: Sequence[str], seed: int) -> dict[str, Any]:
    """Correlation of true and predicted departures over all points, every knee with equal weight.

    Args:
      found: from `departures`.
      subjects: n names, resampled for the intervals.
      seed: seed of the bootstrap and of the permutations.

    Returns:
      By bone: r and its interval ci95; chance95, which r exceeds in 5 % of the permutations of the
      predictions among the subjects, see `permuted`; all None where the departures are below
      0.001 mm; true_mm and predicted_mm, the root mean square departures.
    """
    return {bone: _summary(one, subjects, seed) for bone, one in found.items()}


def _summary(found: Departures, subjects: Sequence[str], seed: int) -> dict[str, Any]:
    count = np.maximum(found.known.sum(axis=1), 1)
    products = found.true @ found.predicted.T / count[:, None]
    squares = found.known @ (found.predicted**2).T / count[:, None]
    true = (found.true**2).sum(axis=1) / count
    sizes = {
        "true_mm": float(np.sqrt(true.mean())),
        "predicted_mm": float(np.sqrt(np.diagonal(squares).mean())),
    }
    if min(sizes.values()) < _LEAST_MM:
        return {"r": None, "ci95": None, "chance95": None, **sizes}
    knees = np.arange(len(subjects))

    def correlation(chosen: np.ndarray, shown: np.ndarray) -> dict[str, float] | None:
        """r of true knees with the predictions of other positions; None without variance."""
        variance = squares[chosen, shown].sum() * true[chosen].sum()
        product = products[chosen, shown].sum()
        return {"r": float(product / np.sqrt(variance))} if variance > 0 else None

    whole = statistics.estimates_of_whole(lambda c: correlation(c, c), subjects, seed)["r"]
    rng = np.random.default_rng(seed)
    drawn = [correlation(knees, permuted(subjects, rng)) for _ in range(statistics.WHOLE_SAMPLES)]
    chance = np.percentile([one["r"] for one in drawn if one is not None], 95)
    return {"r": whole["mean"], "ci95": whole["ci95"], "chance95": float(chance), **sizes}


def permuted(subjects: Sequence[str], rng: np.random.Generator) -> np.ndarray:
    """Positions i[n] of the knees whose predictions each knee is given instead of its own.

    Knees of one subject are alike, so whole subjects are exchanged, and only with subjects of as
    many knees; the order of a subject's knees is kept.
    """
    names = np.asarray(subjects)
    own = [np.flatnonzero(names == name) for name in dict.fromkeys(subjects)]
    given = np.empty(len(names), int)
    for size in sorted({len(knees) for knees in own}):
        alike = [knees for knees in own if len(knees) == size]
        for knees, i in zip(alike, rng.permutation(len(alike)), strict=True):
            given[knees] = alike[i]
    return given
