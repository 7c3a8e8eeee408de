"""Quantiles for prediction intervals, and the coverage of intervals."""

import numpy as np

LEVEL = 0.9


def grouped_quantile(
    values: np.ndarray, group: np.ndarray, groups: int, level: float = LEVEL, weight: float = 30.0
) -> np.ndarray:
    """The quantile of the values of each group, drawn towards that of all values.

    Args:
      values: f[n].
      group: i[n] in 0..groups-1.
      groups: how many.
      level: of the quantile, in (0, 1).
      weight: a group of so many values gets the mean of its own quantile and that of all.

    Returns:
      f64[groups]; the quantile of all values for a group with none.

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
    """Conformal offsets: the interval of (truth - prediction) with the wanted coverage.

    Split conformal prediction (Lei et al., JASA 113:1094-1111, 2018) with each tail on its own: the
    k-th smallest and the k-th largest residual, where k is (1 - level) / 2 of n + 1, rounded down.

    Args:
      residuals: f[n], true minus predicted, of cases that were not trained on.
      level: share that the interval is to hold.

    Returns:
      (low, high); the extreme residuals where n is too small for the level.

    Raises:
      ValueError: without residuals, or with one that is not finite.
    """
    ordered = np.sort(np.asarray(residuals, np.float64))
    if ordered.ndim != 1 or not len(ordered) or not np.isfinite(ordered).all():
        raise ValueError(f"residuals of shape {ordered.shape}, expected finite numbers")
    k = max(int((1 - level) / 2 * (len(ordered) + 1) + 1e-9), 1)
    return float(ordered[k - 1]), float(ordered[-k])
