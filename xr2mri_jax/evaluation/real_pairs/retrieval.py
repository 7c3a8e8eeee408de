"""Own knee or another: the rank of the own true knee among all by surface distance."""

from typing import Any

import numpy as np

from xr2mri_jax.evaluation import retrieval, statistics

# Size and pose are not in a radiograph without spacing: what is left is the shape.
PRIMARY = "similarity"


def summary(
    distances: dict[str, dict[str, np.ndarray]], subjects: list[str], seed: int
) -> dict[str, Any]:
    """Rank of the own knee among all true knees; ties count against the prediction.

    Args:
      distances: f64[n, n] mm by protocol and alignment: [i, j] is of prediction i and true knee j.
      subjects: n names, resampled for the intervals.
      seed: of the bootstrap.

    Returns:
      By protocol and alignment: what `evaluation.retrieval.summary` gives, the intervals of top1
      and mean_rank, and the mean distance to the own and to the others' true knees; `relative`: the
      same ranks of distances less the mean distance of all predictions to the true knee. Without
      that a true knee near the mean is the nearest of every prediction.
    """
    return {
        protocol: {name: _one(d, subjects, seed) for name, d in by_alignment.items()}
        for protocol, by_alignment in distances.items()
    }


def _one(distance: np.ndarray, subjects: list[str], seed: int) -> dict[str, Any]:
    own = np.eye(len(distance), dtype=bool)
    return {
        **_ranked(distance, subjects, seed),
        "relative": _ranked(distance - distance.mean(axis=0), subjects, seed),
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
