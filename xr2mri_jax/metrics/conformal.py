"""Conformal sets of ordered grades: adjacent grades that contain the true one at a chosen rate.

Split conformal prediction (Vovk et al. 2005, "Algorithmic learning in a random world"). A set
starts with the most likely grade and repeatedly adds the more likely neighbour (Lu et al. 2022,
arXiv 2207.02238). A grade's score is the total probability of the grades added before it, so the
most likely grade is always in the set. Each grade has its own limit (label-conditional: Vovk 2012,
arXiv 1209.2673, section 3), so the coverage holds within each grade for any class shares.
"""

from typing import Any

import numpy as np

COVERAGE = 0.9


def scores(probability: Any) -> np.ndarray:
    """The total probability of the grades that a set adds before each grade.

    Args:
      probability: f[n, k], rows that sum to 1.

    Returns:
      f64[n, k] in [0, 1], 0 for the most likely grade. Of two equally likely neighbours the lower
      grade is added first.

    Raises:
      ValueError: if it is not a matrix or a row does not sum to 1.
    """
    p = np.asarray(probability, np.float64)
    if p.ndim != 2 or not np.allclose(p.sum(axis=1), 1, atol=1e-4):
        raise ValueError(f"probabilities {p.shape}, expected rows that sum to 1")
    rows, classes = np.arange(len(p)), p.shape[1]
    # Pad with impossible grades on both sides.
    wide = np.pad(p, ((0, 0), (1, 1)), constant_values=-1.0)
    low = high = p.argmax(axis=1)
    found = np.zeros(p.shape)
    mass = p[rows, low]
    for _ in range(classes - 1):
        down = wide[rows, low] >= wide[rows, high + 2]
        added = np.where(down, low - 1, high + 1)
        found[rows, added] = mass
        mass = mass + p[rows, added]
        low, high = np.where(down, added, low), np.where(down, high, added)
    return np.clip(found, 0, 1)


def fit(probability: Any, label: Any, coverage: float = COVERAGE) -> np.ndarray:
    """Fits the largest score that each grade in a set may have.

    Args:
      probability: f[n, k] of examples outside the training set.
      label: i[n] in 0..k-1.
      coverage: required share of true grades that the sets contain, in (0, 1).

    Returns:
      f64[k]: for each grade the ceil((m + 1) * coverage)-th smallest score among its m examples,
      or 1, the largest possible score, if there are fewer examples.

    Raises:
      ValueError: if shapes do not match or the coverage is out of range.
    """
    label = np.asarray(label, np.int64)
    if not 0 < coverage < 1 or label.shape != np.shape(probability)[:1]:
        raise ValueError(f"coverage {coverage}, {label.shape} labels of {np.shape(probability)}")
    found = scores(probability)
    limits = np.ones(found.shape[1])
    for grade in range(found.shape[1]):
        own = np.sort(found[label == grade, grade])
        rank = int(np.ceil((len(own) + 1) * coverage - 1e-9))
        if rank <= len(own):
            limits[grade] = own[rank - 1]
    return limits


def sets(probability: Any, limits: Any) -> np.ndarray:
    """Which grades are in the sets: bool[n, k], one contiguous run of grades per row.

    Args:
      probability: f[n, k], rows that sum to 1.
      limits: f[k] from `fit`. Gaps between two included grades are filled.
    """
    within = scores(probability) <= np.asarray(limits, np.float64)
    up = np.logical_or.accumulate(within, axis=1)
    down = np.logical_or.accumulate(within[:, ::-1], axis=1)[:, ::-1]
    return up & down
