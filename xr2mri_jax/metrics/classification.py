"""Classification metrics: accuracy, sensitivity, AUC, kappa; on complete sets, and mergeable.

Positive means class 1 (Kellgren-Lawrence grade 2 against 0). Functions of complete sets use numpy
in float64. `histogram` gives counts per example that are summed over batches, devices and hosts.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

BINS = 1024


def accuracies(score: Any, label: Any, threshold: float = 0.5) -> dict[str, float]:
    """Accuracy, balanced accuracy, sensitivity and specificity at a threshold.

    Args:
      score: f[n]; a higher score indicates class 1.
      label: i[n], 0 or 1, both present.
      threshold: a score of at least this predicts class 1.

    Returns:
      "accuracy", "balanced_accuracy" (mean of the next two), "sensitivity" (correct share of class
      1), "specificity" (correct share of class 0).

    Raises:
      ValueError: if shapes differ or a class is absent.
    """
    score, positive = _checked(score, label)
    called = score >= threshold
    sensitivity = float(called[positive].mean())
    specificity = float(1 - called[~positive].mean())
    return {
        "accuracy": float((called == positive).mean()),
        "balanced_accuracy": (sensitivity + specificity) / 2,
        "sensitivity": sensitivity,
        "specificity": specificity,
    }


def auc(score: Any, label: Any) -> float:
    """Area under the ROC curve: share of positive-negative pairs ranked correctly, ties count half.

    Computed from mean ranks (Mann and Whitney 1947): (R - p (p + 1) / 2) / (p n), where R is the
    rank sum of the p positive examples among all, and n is the number of negative examples.

    Args:
      score: f[n]; a higher score indicates class 1.
      label: i[n], 0 or 1, both present.

    Raises:
      ValueError: if shapes differ or a class is absent.
    """
    score, positive = _checked(score, label)
    _, place, count = np.unique(score, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    rank = (last - (count - 1) / 2)[place]
    positives = int(positive.sum())
    negatives = len(score) - positives
    above = rank[positive].sum() - positives * (positives + 1) / 2
    return float(above / (positives * negatives))


def quadratic_kappa(first: Any, second: Any, classes: int) -> float:
    """Cohen's kappa with quadratic weights (Cohen 1968, doi 10.1037/h0026256).

    Args:
      first: i[n] in 0..classes-1, for example the predicted grades.
      second: i[n], for example the true grades.
      classes: 2 or more.

    Returns:
      1 for full agreement, 0 for chance agreement; 1 if the expected disagreement is 0.

    Raises:
      ValueError: if shapes differ, the arrays are empty or a class is out of range.
    """
    pair = np.stack([np.asarray(first, np.int64), np.asarray(second, np.int64)])
    if pair.ndim != 2 or pair.shape[1] == 0 or pair.min() < 0 or pair.max() >= classes:
        raise ValueError(
            f"classes {pair.shape}, expected two rows of equal length in 0..{classes - 1}"
        )
    seen = np.bincount(pair[0] * classes + pair[1], minlength=classes**2)
    seen = seen.reshape(classes, classes) / pair.shape[1]
    weight = np.square(np.subtract.outer(np.arange(classes), np.arange(classes)))
    expected = (weight * np.outer(seen.sum(axis=1), seen.sum(axis=0))).sum()
    return float(1 - (weight * seen).sum() / expected) if expected else 1.0


def threshold_for_sensitivity(score: Any, label: Any, sensitivity: float) -> float:
    """The highest threshold that reaches at least the given sensitivity.

    Args:
      score: f[n]; a higher score indicates class 1.
      label: i[n], 0 or 1, both present.
      sensitivity: required sensitivity, in (0, 1].

    Raises:
      ValueError: if shapes differ, a class is absent or `sensitivity` is outside (0, 1].
    """
    score, positive = _checked(score, label)
    if not 0 < sensitivity <= 1:
        raise ValueError(f"sensitivity {sensitivity}, expected it in (0, 1]")
    ordered = np.sort(score[positive])[::-1]
    # Subtract a small tolerance, because 0.9 * 10 can exceed 9 by rounding.
    return float(ordered[int(np.ceil(sensitivity * len(ordered) - 1e-9)) - 1])


def threshold_by_youden(score: Any, label: Any) -> float:
    """The threshold with the best balanced accuracy (Youden's index, doi 10.1002/cncr.2820030106).

    It lies half-way between two scores. Among equally good thresholds it is the middle one.

    Args:
      score: f[n]; a higher score indicates class 1.
      label: i[n], 0 or 1, both present.

    Raises:
      ValueError: if shapes differ or a class is absent.
    """
    score, positive = _checked(score, label)
    known, place = np.unique(score, return_inverse=True)
    # Entry i: counts when scores below known[i] are predicted as class 0.
    missed = np.cumsum(np.bincount(place, positive)) - np.bincount(place, positive)
    spared = np.cumsum(np.bincount(place, ~positive)) - np.bincount(place, ~positive)
    index = spared / (~positive).sum() - missed / positive.sum()
    best = np.flatnonzero(index >= index.max() - 1e-12)
    chosen = int(best[(len(best) - 1) // 2])
    return float(known[max(chosen - 1, 0) : chosen + 1].mean())


def histogram(probability: jax.Array, positive: jax.Array) -> dict[str, jax.Array]:
    """Per-example histograms, which `Mean` sums to compute a split's AUC; works inside jit.

    Args:
      probability: f32[b] in [0, 1].
      positive: bool or f32[b], 1 for class 1.

    Returns:
      "positives" and "negatives", f32[b, BINS], 1 in the bin of the example's probability.
    """
    place = jnp.clip((probability * BINS).astype(jnp.int32), 0, BINS - 1)
    one = jax.nn.one_hot(place, BINS, dtype=jnp.float32)
    positive = jnp.asarray(positive, jnp.float32)[:, None]
    return {"positives": one * positive, "negatives": one * (1 - positive)}


def from_histogram(positives: Any, negatives: Any) -> dict[str, float]:
    """AUC and balanced accuracy at 0.5 from summed histograms.

    Args:
      positives: f[BINS], number of class 1 examples by bin of probability.
      negatives: f[BINS], the same for class 0.

    Returns:
      "auc" (pairs within one bin count half, an error of at most half their share) and
      "balanced_accuracy"; empty if a class is absent.
    """
    positives, negatives = np.asarray(positives, np.float64), np.asarray(negatives, np.float64)
    p, n = positives.sum(), negatives.sum()
    if not p or not n:
        return {}
    below = np.cumsum(negatives) - negatives / 2
    half = len(positives) // 2
    return {
        "auc": float((positives * below).sum() / (p * n)),
        "balanced_accuracy": float((positives[half:].sum() / p + negatives[:half].sum() / n) / 2),
    }


def _checked(score: Any, label: Any) -> tuple[np.ndarray, np.ndarray]:
    score, label = np.asarray(score, np.float64), np.asarray(label)
    if score.ndim != 1 or score.shape != label.shape:
        raise ValueError(f"scores {score.shape} for labels {label.shape}, expected one each")
    if not np.isin(label, (0, 1)).all() or len(np.unique(label)) != 2:
        raise ValueError(f"labels {np.unique(label)}, expected 0 and 1, both present")
    return score, label == 1
