"""Probability calibration: temperature, offsets, reliability, expected calibration error."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import optimize, special

COLDEST, HOTTEST = 0.05, 20.0


@dataclasses.dataclass(frozen=True)
class Scaling:
    """How logits become probabilities: softmax(logits / temperature + offsets).

    Attributes:
      temperature: above 0.
      offsets: one per class; None: none.
      prevalence: the class shares that the offsets adjust to, sum 1; None: none.
    """

    temperature: float = 1.0
    offsets: tuple[float, ...] | None = None
    prevalence: tuple[float, ...] | None = None

    def probabilities(self, logits: Any) -> np.ndarray:
        """Converts logits f[n, k] to probabilities f64[n, k] whose rows sum to 1."""
        return special.softmax(self.scaled(logits), axis=1)

    def scaled(self, logits: Any) -> np.ndarray:
        """The logarithms f64[n, k] of the probabilities, each row up to a constant."""
        scaled = np.asarray(logits, np.float64) / self.temperature
        return scaled if self.offsets is None else scaled + self.offsets


# The network's uncalibrated probabilities.
AS_IS = Scaling()


def fit_temperature(logits: Any, label: Any) -> float:
    """Fits the temperature with the highest likelihood of softmax(logits / temperature).

    Guo et al. 2017, arXiv 1706.04599, section 4.2: one number, fitted on examples outside the
    training set. It does not change the order of the classes.

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


def fit(logits: Any, label: Any, prevalence: Sequence[float] = ()) -> Scaling:
    """Fits the maximum-likelihood scaling, adjusted to a population if its prevalence is given.

    Without a prevalence only a temperature is fitted, see `fit_temperature`. Otherwise temperature
    and offsets are fitted together (bias-corrected temperature scaling: Alexandari et al. 2020,
    arXiv 1901.06852). Then the log ratio of the class shares is added (Saerens et al. 2002, doi
    10.1162/089976602753284446, equation 2.4).

    Args:
      logits: f[n, k].
      label: i[n] in 0..k-1; with a prevalence, every class must occur.
      prevalence: k numbers above 0, proportional to the class shares; empty: none.

    Raises:
      ValueError: if shapes do not match or a class is missing.
    """
    temperature = fit_temperature(logits, label)
    if not prevalence:
        return Scaling(temperature)
    logits, label = np.asarray(logits, np.float64), np.asarray(label, np.int64)
    counts = np.bincount(label, minlength=logits.shape[1])
    if len(prevalence) != len(counts) or not counts.all():
        raise ValueError(f"{len(prevalence)} shares, {counts.tolist()} examples of the classes")

    def loss(free: np.ndarray) -> float:
        scaled = logits / np.exp(free[0]) + np.append(0.0, free[1:])
        return -float(special.log_softmax(scaled, axis=1)[np.arange(len(label)), label].mean())

    start = np.append(np.log(temperature), np.zeros(len(counts) - 1))
    bounds = [(np.log(COLDEST), np.log(HOTTEST)), *[(None, None)] * (len(counts) - 1)]
    found = optimize.minimize(loss, start, bounds=bounds).x
    shares = np.asarray(prevalence, np.float64) / sum(prevalence)
    moved = np.append(0.0, found[1:]) + np.log(shares / counts)
    offsets = tuple((moved - moved[0]).tolist())
    return Scaling(float(np.exp(found[0])), offsets, tuple(shares.tolist()))


def reliability(probability: Any, label: Any, bins: int = 10) -> dict[str, np.ndarray]:
    """Reliability diagram: frequency of class 1 by predicted probability, in bins of equal width.

    Args:
      probability: f[n] of class 1, in [0, 1].
      label: i[n], 0 or 1.
      bins: number of bins.

    Returns:
      f64[bins] each: "count", "probability" (the bin's mean) and "frequency" (share of class 1);
      both are 0 in an empty bin.

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
    """Expected calibration error of class 1: mean |probability - frequency|, weighted by count.

    Naeini et al. 2015 (AAAI, "Obtaining well calibrated probabilities using Bayesian binning"), on
    the probability of class 1; arguments as for `reliability`.
    """
    found = reliability(probability, label, bins)
    gap = np.abs(found["probability"] - found["frequency"])
    return float((found["count"] * gap).sum() / max(found["count"].sum(), 1.0))
