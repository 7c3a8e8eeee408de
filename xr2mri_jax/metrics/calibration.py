"""Calibration of probabilities: temperature scaling, reliability, expected calibration error."""

from typing import Any

import numpy as np
from scipy import optimize, special

COLDEST, HOTTEST = 0.05, 20.0


def fit_temperature(logits: Any, label: Any) -> float:
    """The temperature that makes softmax(logits / temperature) most likely.

    Guo et al. 2017, arXiv 1706.04599, section 4.2: one number, fitted on examples that were not
    trained on; it changes no order and no decision at equal probabilities.

    Args:
      logits: f[n, k].
      label: i[n] in 0..k-1.

    Returns:
      A temperature in [COLDEST, HOTTEST].

    Raises:
      ValueError: if shapes do not match.
    """
    logits, label = np.asarray(logits, np.float64), np.asarray(label, np.int64)
    if logits.ndim != 2 or label.shape != logits.shape[:1] or not len(label):
        raise ValueError(f"logits {logits.shape} for labels {label.shape}")

    def loss(log_temperature: float) -> float:
        scaled = special.log_softmax(logits / np.exp(log_temperature), axis=1)
        return -float(scaled[np.arange(len(label)), label].mean())

    limits = (np.log(COLDEST), np.log(HOTTEST))
    found = optimize.minimize_scalar(loss, bounds=limits, method="bounded")
    return float(np.exp(found.x))


def reliability(probability: Any, label: Any, bins: int = 10) -> dict[str, np.ndarray]:
    """Reliability diagram: frequency of class 1 by predicted probability, in bins of equal width.

    Args:
      probability: f[n] of class 1, in [0, 1].
      label: i[n], 0 or 1.
      bins: how many.

    Returns:
      f64[bins]: "count", "probability" (mean of the bin) and "frequency" (share of class 1); both 0
      in an empty bin.

    Raises:
      ValueError: if shapes differ or a probability is outside [0, 1].
    """
    probability, label = np.asarray(probability, np.float64), np.asarray(label)
    if probability.ndim != 1 or probability.shape != label.shape:
        raise ValueError(f"probabilities {probability.shape} for labels {label.shape}")
    if len(probability) and not (probability.min() >= 0 and probability.max() <= 1):
        raise ValueError("probabilities outside [0, 1]")
    place = np.minimum((probability * bins).astype(np.int64), bins - 1)
    count = np.bincount(place, minlength=bins).astype(np.float64)
    known = np.maximum(count, 1)
    return {
        "count": count,
        "probability": np.bincount(place, weights=probability, minlength=bins) / known,
        "frequency": np.bincount(place, weights=label == 1, minlength=bins) / known,
    }


def calibration_error(probability: Any, label: Any, bins: int = 10) -> float:
    """Expected calibration error of class 1: mean of |probability - frequency|, by bin counts.

    Naeini et al. 2015 (AAAI, "Obtaining well calibrated probabilities using Bayesian binning"), on
    the probability of class 1; arguments as for `reliability`.
    """
    found = reliability(probability, label, bins)
    gap = np.abs(found["probability"] - found["frequency"])
    return float((found["count"] * gap).sum() / max(found["count"].sum(), 1.0))
