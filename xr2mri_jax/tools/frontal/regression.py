"""Ridge regression between knees: a shape as a mixture of known knees, by what is seen of it."""

import numpy as np

# Penalties relative to the mean squared length of a known knee's features.
STRENGTHS = tuple(10.0**power for power in np.arange(-4.0, 2.01, 0.5))
# Features are no more exact than this: without it traces of the grid would tell what no view shows.
EXACT_MM = 0.05


def departures(own: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """f64[k + n, ...]: own f[k, ...] and drawn values f[n, ...], each from the mean of its kind."""
    kinds = [np.asarray(kind, np.float64) for kind in (own, drawn)]
    return np.concatenate([kind - kind.mean(axis=0) if len(kind) else kind for kind in kinds])


def mixtures(own: np.ndarray, drawn: np.ndarray, departed: np.ndarray) -> np.ndarray:
    """How to mix known knees into one of which only features are seen.

    The values of the knee are predicted as the mean of `own` plus the mixture of `departures`. This
    is ridge regression from features to values, in its dual form.

    Args:
      own: f[k, m], features in mm of knees like the one that is seen, whose mean is the start.
      drawn: f[n, m], features of other known knees, of which only the departures from their own
        mean count; n may be 0.
      departed: f[m], what is seen, from the mean of `own`.

    Returns:
      f64[strengths, k + n], a mixture for each of STRENGTHS.
    """
    known = departures(own, drawn)
    kernel = known @ known.T
    values, vectors = np.linalg.eigh(kernel)
    unit, least = float(np.trace(kernel)) / len(kernel), known.shape[1] * EXACT_MM**2
    near = vectors.T @ (known @ np.asarray(departed, np.float64))
    shrunk = near / (np.maximum(values, 0.0) + unit * np.array(STRENGTHS)[:, None] + least)
    return shrunk @ vectors.T


def strengths_of_others(errors: np.ndarray) -> np.ndarray:
    """Which of STRENGTHS each knee gets: the best of all other knees.

    Args:
      errors: f[knees, strengths], of every knee predicted without itself.

    Returns:
      i64[knees].
    """
    return np.argmin(errors.sum(axis=0) - errors, axis=1)
