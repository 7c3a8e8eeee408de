"""Ridge regression between knees: predicts a shape as a mixture of known knees from its features.

Known knees are of several kinds, such as measured, drawn and deformed ones. Each kind is centred on
its own mean and has a fixed share, however many knees it has.
"""

from collections.abc import Sequence

import numpy as np

# Penalties relative to the sum of all variances.
STRENGTHS = tuple(10.0**power for power in np.arange(-6.0, 1.01, 0.5))
# Features are at most this exact: otherwise traces of the grid would carry invisible information.
EXACT_MM = 0.01


def departures(kinds: Sequence[np.ndarray]) -> np.ndarray:
    """f64[n, ...]: values f[k, ...] of every kind minus the kind's mean, concatenated."""
    known = [np.asarray(kind, np.float64) for kind in kinds]
    return np.concatenate([kind - kind.mean(axis=0) for kind in known])


def mixtures(
    kinds: Sequence[np.ndarray], shares: Sequence[Sequence[float]], departed: np.ndarray
) -> np.ndarray:
    """Computes how to mix known knees into one of which only features are known.

    Values of that knee are predicted as a mean plus the mixture of `departures`. This is ridge
    regression from features to values, in its dual form.

    Args:
      kinds: f[k, m] of every kind, features in mm, k 1 or more.
      shares: one or more choices of the kinds' shares, 0 or more.
      departed: f[m], the known features minus their mean.

    Returns:
      f64[candidates, n]: a mixture for each choice of shares with each of STRENGTHS.
    """
    known, seen = departures(kinds), np.asarray(departed, np.float64)
    products, towards = known @ known.T, known @ seen
    found = []
    for choice in shares:
        factor = np.concatenate(
            [
                np.full(len(kind), np.sqrt(s / len(kind)))
                for kind, s in zip(kinds, choice, strict=True)
            ]
        )
        kernel = factor[:, None] * products * factor
        values, vectors = np.linalg.eigh(kernel)
        penalties = np.trace(kernel) * np.array(STRENGTHS) + known.shape[1] * EXACT_MM**2
        near = vectors.T @ (factor * towards)
        found.append(factor * ((near / (np.maximum(values, 0.0) + penalties[:, None])) @ vectors.T))
    return np.concatenate(found)


def best_of_others(errors: np.ndarray) -> np.ndarray:
    """The candidate for each knee: the best one for all other knees.

    Args:
      errors: f[knees, candidates], of every knee predicted without itself.

    Returns:
      i64[knees].
    """
    return np.argmin(errors.sum(axis=0) - errors, axis=1)
