"""Compares predicted bones with true ones, by the protocol of the real pairs."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from xr2mri_jax.evaluation import statistics
from xr2mri_jax.evaluation.real_pairs import retrieval
from xr2mri_jax.evaluation.real_pairs.compare import Target, compare, surface_scores
from xr2mri_jax.evaluation.real_pairs.knee import Bone, Knee
from xr2mri_jax.evaluation.real_pairs.knees import in_threads
from xr2mri_jax.evaluation.real_pairs.protocol import BONES, OPEN, PROTOCOLS, SURFACE_POINTS
from xr2mri_jax.metrics.alignment import Similarity, align
from xr2mri_jax.tools.frontal.ceiling import Predicted

ALIGNMENT = "similarity"  # neither size nor position is predicted
_LAID = SURFACE_POINTS // 8

# ASSD f64[n] in mm by protocol and bone.
Distances = dict[str, dict[str, np.ndarray]]


def targets(knees: Sequence[Knee]) -> list[dict[str, Target]]:
    """The true bones, prepared."""

    def one(knee: Knee) -> dict[str, Target]:
        return {bone: Target(knee.bones[bone], knee.field) for bone in BONES}

    return in_threads(one, knees, "true bones", "knee")


def distances(found: Predicted, true: Sequence[dict[str, Target]]) -> Distances:
    """ASSD of every prediction to its truth, by the functions of `evaluate --pairs`."""

    def one(i: int) -> dict[str, dict[str, float]]:
        made = {
            b: compare(found.bone(i, b), true[i][b], SURFACE_POINTS, (ALIGNMENT,)) for b in BONES
        }
        return {p: {b: made[b].scores[p][ALIGNMENT]["assd"] for b in BONES} for p in PROTOCOLS}

    made = in_threads(one, range(len(true)), "predictions against truths", "knee")
    return {
        protocol: {bone: np.array([m[protocol][bone] for m in made]) for bone in BONES}
        for protocol in PROTOCOLS
    }


def retrieved(
    found: Predicted, true: Sequence[dict[str, Target]], subjects: list[str]
) -> dict[str, Any]:
    """Rank of the own knee among all, for open surfaces; see `real_pairs.retrieval`."""

    count = len(true)
    bones = [{bone: found.bone(i, bone) for bone in BONES} for i in range(count)]

    def one(place: tuple[int, ...]) -> float:
        i, j = place
        return float(np.mean([_open(bones[i][bone], true[j][bone]) for bone in BONES]))

    made = in_threads(one, np.ndindex(count, count), "predictions against all truths", "pair")
    table = {OPEN: {ALIGNMENT: np.array(made).reshape(count, count)}}
    return retrieval.summary(table, subjects, statistics.SEED)[OPEN][ALIGNMENT]


def _open(bone: Bone, target: Target) -> float:
    """The ASSD alone, as in `compare`."""
    fixed, field = target.bone.surface, target.field
    laid = Similarity()
    for scale in (False, True):
        laid = align(bone.surface, fixed, field, bone.known, scale, laid, _LAID)
    return surface_scores(bone.surface, fixed, field, bone.known, laid, SURFACE_POINTS).assd


def summary(found: Distances, mean: Distances, subjects: Sequence[str]) -> dict[str, Any]:
    """By protocol and bone: assd, and better: the reduction against that of the mean knee."""
    return {
        protocol: {
            bone: {
                "assd": statistics.estimate(values, subjects),
                "better": statistics.estimate(mean[protocol][bone] - values, subjects),
            }
            for bone, values in by_bone.items()
        }
        for protocol, by_bone in found.items()
    }
