"""Own knee or another: every predicted bone against every true one, by surface distance."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from xr2mri_jax.evaluation import retrieval
from xr2mri_jax.evaluation.real_pairs.compare import ALIGNMENTS, fit, surface_scores
from xr2mri_jax.evaluation.real_pairs.knee import BONES, Knee

# Size and pose are not in a radiograph without spacing: what is left is the shape.
PRIMARY = "similarity"
_POINTS = 600  # of each surface


def distances(predicted: Sequence[Knee], true: Sequence[Knee]) -> dict[str, np.ndarray]:
    """Average symmetric surface distances, the mean of femur and tibia, by alignment.

    All pairs are measured alike, with fewer points than `compare.compare` takes.

    Args:
      predicted, true: n knees each.

    Returns:
      f64[n, n] mm: entry [i, j] compares prediction i with the true knee j.
    """
    found = {name: np.zeros((len(predicted), len(true))) for name in ALIGNMENTS}
    places = list(np.ndindex(len(predicted), len(true)))
    for i, j in tqdm(places, desc="retrieval", unit="pair", mininterval=1):
        for bone in BONES:
            first, second, field = predicted[i].bones[bone], true[j].bones[bone], true[j].field
            for name, transform in fit(first, second, field, points=_POINTS).items():
                scored = surface_scores(first, second, field, transform, 2 * _POINTS)
                found[name][i, j] += scored.assd / len(BONES)
    return found


def summary(distance: dict[str, np.ndarray]) -> dict[str, Any]:
    """Rank of the own knee among all true knees; ties count against the prediction."""
    by_alignment = {name: retrieval.summary(retrieval.ranks(d)) for name, d in distance.items()}
    return {
        **by_alignment[PRIMARY],
        "alignment": PRIMARY,
        "by_alignment": by_alignment,
        "assd_own": float(np.diagonal(distance[PRIMARY]).mean()),
        "assd_others": _others(distance[PRIMARY]),
    }


def _others(distance: np.ndarray) -> float:
    return float(distance[~np.eye(len(distance), dtype=bool)].mean())
