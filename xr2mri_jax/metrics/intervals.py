"""Quantiles for prediction intervals, and the coverage of intervals."""

import numpy as np

LEVEL = 0.9


def grouped_quantile(
    values: np.ndarray, group: np.ndarray, groups: int, level: float = LEVEL, weight: float = 30.0
) -> np.ndarray:
    """The quantile within each group, shrunk towards the quantile of all values.

    Args:
      values: f[n].
      group: i[n] in 0..groups-1.
      groups: number of groups.
      level: quantile level, in (0, 1).
      weight: group size at which its own quantile and the overall quantile have equal weight.

    Returns:
      f64[groups]; an empty group gets the quantile of all values.

    Raises:
      ValueError: if lengths differ or there are no values.
    """
    if values.shape != group.shape or values.ndim != 1 or not len(values):
        raise ValueError(f"values {values.shape} of groups {group.shape}")
    whole = float(np.quantile(values, level))
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(groups + 1))
    found = np.full(groups, whole)
    for i in np.flatnonzero(np.diff(starts)):
        own = values[order[starts[i] : starts[i + 1]]]
        found[i] = (np.quantile(own, level) * len(own) + weight * whole) / (len(own) + weight)
    return found


def conformal_offsets(residuals: np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """Conformal offsets: the interval of (truth - prediction) with the required coverage.

    Split conformal prediction (Lei et al., JASA 113:1094-1111, 2018) for each tail separately: the
    k-th smallest and the k-th largest residual, where k is (1 - level) / 2 of n + 1, rounded down.

    Args:
      residuals: f[n], true minus predicted, of cases outside the training set.
      level: required coverage of the interval.

    Returns:
      (low, high); the extreme residuals if n is too small for the level.

    Raises:
      ValueError: there are no residuals, or one is not finite.
    """
    ordered = np.sort(np.asarray(residuals, np.float64))
    if ordered.ndim != 1 or not len(ordered) or not np.isfinite(ordered).all():
        raise ValueError(f"residuals of shape {ordered.shape}, expected finite numbers")
    k = max(int((1 - level) / 2 * (len(ordered) + 1) + 1e-9), 1)
    return float(ordered[k - 1]), float(ordered[-k])
