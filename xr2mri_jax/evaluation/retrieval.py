"""Retrieval: the rank of a prediction's own knee among all knees by distance to the prediction."""

import math
from typing import Any

import numpy as np

from xr2mri_jax.evaluation.volume_store import VolumeStore

BLOCK = 1 << 15


def errors(store: VolumeStore) -> np.ndarray:
    """Mean squared error of every prediction against every real volume.

    Only voxels inside the masks of both cases count.

    Returns:
      f64[n, n]: entry [i, j] compares the prediction for case i with the real volume of case j;
      infinite if the masks share no voxel.
    """
    assert store.shape is not None
    total = np.zeros((store.cases, store.cases))
    shared = np.zeros_like(total)
    voxels = math.prod(store.shape)
    for first in range(0, voxels, BLOCK):
        predicted, real, mask = store.columns(first, min(first + BLOCK, voxels))
        predicted, real = predicted * mask, real * mask
        total += (predicted**2) @ mask.T - 2 * predicted @ real.T + mask @ (real**2).T
        shared += mask @ mask.T
    return np.where(shared > 0, np.maximum(total, 0) / np.maximum(shared, 1), np.inf)


def ranks(error: np.ndarray) -> np.ndarray:
    """The rank of each prediction's own volume, 1 for the nearest: i64[n].

    Another volume at the same distance counts as nearer, so a tie is never a success.
    """
    own = np.diagonal(error)[:, None]
    return np.asarray((error <= own).sum(axis=1))


def summary(rank: np.ndarray) -> dict[str, Any]:
    """top1, top5 and mean_rank among n volumes, and their values for random guessing."""
    count = len(rank)
    return {
        "n": count,
        "top1": float(np.mean(rank == 1)),
        "top5": float(np.mean(rank <= 5)),
        "mean_rank": float(np.mean(rank)),
        "chance": {"top1": 1 / count, "top5": min(5 / count, 1.0), "mean_rank": (count + 1) / 2},
    }
