"""Means with 95 % bootstrap intervals, resampled by subject."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

SAMPLES = 4000
# For metrics that are not means and must be recomputed for every sample.
WHOLE_SAMPLES = 2000
SEED = 0
BLOCK = 1 << 20


def estimate(
    values: Any, subjects: Sequence[Any], *, samples: int = SAMPLES, seed: int = SEED
) -> dict[str, Any]:
    """The mean over cases, with its percentile bootstrap interval over subjects.

    Knees of one subject are correlated, so whole subjects are resampled with replacement (cluster
    bootstrap; Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13).

    Args:
      values: f[n], one finite value per case.
      subjects: n names; cases with the same name stay together.
      samples: number of bootstrap samples.
      seed: seed of the resampling; the same seed and subjects resample the same cases.

    Returns:
      {"mean": float, "ci95": [low, high]}; `ci95` is None with only one subject.

    Raises:
      ValueError: if there are no values, lengths differ or a value is not finite.
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or len(values) == 0 or len(values) != len(subjects):
        raise ValueError(f"{values.shape} values for {len(subjects)} subjects")
    if not np.all(np.isfinite(values)):
        raise ValueError(f"{np.sum(~np.isfinite(values))} of {len(values)} values are not finite")
    names, membership = np.unique(np.asarray(subjects), return_inverse=True)
    mean = float(values.mean())
    if len(names) < 2:
        return {"mean": mean, "ci95": None}
    sums = np.bincount(membership, weights=values)
    counts = np.bincount(membership)
    rng = np.random.default_rng(seed)
    block = max(1, BLOCK // len(names))
    means = []
    for first in range(0, samples, block):
        size = (min(block, samples - first), len(names))
        drawn = rng.integers(0, len(names), size=size)
        means.append(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1))
    low, high = np.percentile(np.concatenate(means), [2.5, 97.5])
    return {"mean": mean, "ci95": [float(low), float(high)]}


def estimates(
    values: Mapping[str, Any], subjects: Sequence[Any], *, seed: int = SEED
) -> dict[str, dict[str, Any]]:
    """Applies `estimate` to every entry of a dict of f[n]."""
    return {name: estimate(value, subjects, seed=seed) for name, value in values.items()}


def estimates_of_whole(
    measure: Callable[[np.ndarray], Mapping[str, float] | None],
    subjects: Sequence[Any],
    seed: int = SEED,
    samples: int = WHOLE_SAMPLES,
) -> dict[str, dict[str, Any]]:
    """Metrics of a whole set, such as an AUC, with bootstrap intervals over subjects.

    Args:
      measure: maps case positions i[m], possibly repeated, to metrics by name, or to None if they
        are undefined (only one class in the sample); such samples are skipped.
      subjects: n names; cases with the same name stay together.
      seed: seed of the resampling.
      samples: number of bootstrap samples.

    Returns:
      {"mean": the metric of all cases, "ci95": [low, high] or None with one subject} by name.

    Raises:
      ValueError: if the metrics of the whole set are undefined.
    """
    whole = measure(np.arange(len(subjects)))
    if whole is None:
        raise ValueError(f"the {len(subjects)} cases have no metrics: they have only one class")
    names, membership = np.unique(np.asarray(subjects), return_inverse=True)
    own = [np.flatnonzero(membership == i) for i in range(len(names))]
    rng, drawn = np.random.default_rng(seed), []
    for _ in range(samples if len(names) > 1 else 0):
        found = measure(np.concatenate([own[i] for i in rng.integers(0, len(own), len(own))]))
        if found is not None:
            drawn.append(found)
    return {
        name: {
            "mean": float(value),
            "ci95": np.percentile([d[name] for d in drawn], [2.5, 97.5]).tolist()
            if drawn
            else None,
        }
        for name, value in whole.items()
    }


def differences(
    first: Mapping[str, Any],
    second: Mapping[str, Any],
    subjects: Sequence[Any],
    *,
    seed: int = SEED,
) -> dict[str, dict[str, Any]]:
    """Applies `estimate` to first - second: the paired difference with its interval."""
    return {
        name: estimate(np.asarray(first[name]) - np.asarray(second[name]), subjects, seed=seed)
        for name in first
    }


def by_group(
    values: Mapping[str, Any], subjects: Sequence[Any], groups: Sequence[str], *, seed: int = SEED
) -> dict[str, dict[str, Any]]:
    """Applies `estimates` within every group and adds its number of cases `n`, sorted by name.

    Args:
      values: f[n] by metric.
      subjects: n names.
      groups: n group names.
      seed: seed of the resampling.
    """
    names, found = np.asarray(subjects), np.asarray(groups)
    result: dict[str, dict[str, Any]] = {}
    for group in sorted(set(groups)):
        chosen = found == group
        part = {name: np.asarray(value)[chosen] for name, value in values.items()}
        result[group] = {
            "n": int(chosen.sum()),
            **estimates(part, names[chosen].tolist(), seed=seed),
        }
    return result
