"""Retrieval: the rank of a prediction's own true knee among all by surface distance."""

from typing import Any

import numpy as np

from xr2mri_jax.evaluation import retrieval, statistics

# A radiograph without spacing does not determine size and pose, only shape.
PRIMARY = "similarity"
_DECIMALS = 9  # of relative distances, mm


def summary(
    distances: dict[str, dict[str, np.ndarray]], subjects: list[str], seed: int
) -> dict[str, Any]:
    """Rank of the own knee among all true knees; ties count against the prediction.

    Args:
      distances: f64[n, n] mm by protocol and alignment, between prediction i and true knee j.
      subjects: n names, resampled for the intervals.
      seed: seed of the bootstrap.

    Returns:
      By protocol and alignment: the values of `evaluation.retrieval.summary`, the intervals of top1
      and mean_rank, and the mean distance to the own and to the others' true knees; `relative`: the
      same ranks after subtracting the mean distance of all predictions to the true knee. Without
      the subtraction, a true knee near the mean is nearest to every prediction.
    """
    return {
        protocol: {name: _one(d, subjects, seed) for name, d in by_alignment.items()}
        for protocol, by_alignment in distances.items()
    }


def _one(distance: np.ndarray, subjects: list[str], seed: int) -> dict[str, Any]:
    own = np.eye(len(distance), dtype=bool)
    # Rounding keeps equal distances equal after the subtraction.
    relative = np.round(distance - distance.mean(axis=0), _DECIMALS)
    return {
        **_ranked(distance, subjects, seed),
        "relative": _ranked(relative, subjects, seed),
        "assd_own": float(distance[own].mean()),
        "assd_others": float(distance[~own].mean()),
    }


def _ranked(distance: np.ndarray, subjects: list[str], seed: int) -> dict[str, Any]:
    rank = retrieval.ranks(distance)
    return {
        **retrieval.summary(rank),
        "intervals": {
            "top1": statistics.estimate(rank == 1, subjects, seed=seed)["ci95"],
            "mean_rank": statistics.estimate(rank, subjects, seed=seed)["ci95"],
        },
    }
