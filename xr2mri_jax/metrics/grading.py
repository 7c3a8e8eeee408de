"""Metrics of ordered grades: confusion matrix, kappa, recalls, distances; mergeable or complete."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def confusion(called: Any, label: Any, classes: int) -> np.ndarray:
    """The confusion matrix.

    Args:
      called: i[n] in 0..classes-1, the predicted classes.
      label: i[n], the true classes.
      classes: 2 or more.

    Returns:
      i64[classes, classes]: true classes in rows, predicted classes in columns.

    Raises:
      ValueError: if shapes differ or a class is out of range.
    """
    pair = np.stack([np.asarray(label, np.int64), np.asarray(called, np.int64)])
    if pair.ndim != 2 or (pair.size and not (pair.min() >= 0 and pair.max() < classes)):
        raise ValueError(f"classes {pair.shape}, expected two rows in 0..{classes - 1}")
    counts = np.bincount(pair[0] * classes + pair[1], minlength=classes**2)
    return counts.reshape(classes, classes)


def confusion_of_each(called: jax.Array, label: jax.Array, classes: int) -> jax.Array:
    """The flattened confusion matrix of each example, for summing; works inside jit.

    Args:
      called, label: i32[b], as for `confusion`.
      classes: 2 or more.

    Returns:
      f32[b, classes**2].
    """
    return jax.nn.one_hot(label * classes + called, classes**2, dtype=jnp.float32)


def from_confusion(counts: Any) -> dict[str, float]:
    """Computes metrics from a confusion matrix.

    Args:
      counts: f[k, k] from `confusion`, not all 0.

    Returns:
      "accuracy"; "balanced_accuracy", the mean recall of the classes that are present;
      "mean_absolute_error" in classes; "quadratic_kappa" (Cohen 1968, doi 10.1037/h0026256), 1 if
      the expected disagreement is 0.

    Raises:
      ValueError: if it is not a square matrix or is empty.
    """
    counts = np.asarray(counts, np.float64)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or not counts.sum() > 0:
        raise ValueError(f"counts {counts.shape} of {counts.sum():g}, expected a square matrix")
    share = counts / counts.sum()
    apart = np.abs(np.subtract.outer(np.arange(len(counts)), np.arange(len(counts))))
    by_chance = (apart**2 * np.outer(share.sum(axis=1), share.sum(axis=0))).sum()
    known = recalls(counts)
    return {
        "accuracy": float(np.trace(share)),
        "balanced_accuracy": float(np.nanmean(known)),
        "mean_absolute_error": float((apart * share).sum()),
        "quadratic_kappa": float(1 - (apart**2 * share).sum() / by_chance) if by_chance else 1.0,
    }


def recalls(counts: Any) -> np.ndarray:
    """Recall of each class: f64[k], NaN for a class without examples."""
    counts = np.asarray(counts, np.float64)
    of_class = counts.sum(axis=1)
    return np.where(of_class > 0, np.diag(counts) / np.maximum(of_class, 1), np.nan)
