"""Evaluates a classifier with more than two grades: agreement and conformal sets."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from xr2mri_jax.errors import InputError
from xr2mri_jax.evaluation import statistics
from xr2mri_jax.metrics import calibration, classification, conformal, grading
from xr2mri_jax.metrics.calibration import AS_IS, Scaling

CONVENTION = {
    "grade": "the most likely grade",
    "balanced_accuracy": "mean recall of the grades",
    "quadratic_kappa": "agreement of the predicted with the true grade, weights (i - j)^2",
    "auc_from_G": "AUC of the probability of grade G or higher",
    "coverage": "share of true grades in the conformal sets, which are fitted on the held-out "
    f"patients of the training split for a coverage of {conformal.COVERAGE:g}",
}
NAMES = {
    "quadratic_kappa": "quadratic kappa",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "mean_absolute_error": "mean absolute error, grades",
    "coverage": "coverage of the sets",
    "set_size": "grades in a set",
}


class Known(NamedTuple):
    """Examples for calibration: logits f[n, k], class i[n] in 0..k-1."""

    logits: np.ndarray
    label: np.ndarray


def scaling(known: Known, data: Mapping[str, Any]) -> Scaling:
    """Calibrates a classifier on held-out patients.

    Args:
      known: the held-out patients.
      data: config.data: grades, and prevalence, which older runs lack.

    Raises:
      InputError: a prevalence is given, but the held-out patients lack a grade.
    """
    prevalence, grades = tuple(data.get("prevalence", ())), data["grades"]
    missing = set(range(len(grades))) - set(known.label.tolist())
    if prevalence and missing:
        raise InputError(
            f"the held-out patients have no knee of grade {[grades[i] for i in sorted(missing)]}, "
            "expected knees of every grade, which config.data.prevalence needs"
        )
    return calibration.fit(known.logits, known.label, prevalence)


def evaluate(
    logits: np.ndarray,
    label: np.ndarray,
    grades: Sequence[int],
    subjects: Sequence[Any],
    *,
    scaling: Scaling = AS_IS,
    known: Known | None = None,
    seed: int = 0,
) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """Computes the metrics of a set and the columns of its cases.

    Args:
      logits: f[n, k].
      label: i[n] in 0..k-1.
      grades: k grades.
      subjects: n names.
      scaling: converts logits to probabilities.
      known: the held-out patients, for the conformal sets; None: no sets.
      seed: seed of the bootstrap.

    Returns:
      Metrics: those of `grading.from_confusion`, recall_klG and auc_from_G for the grades that
      occur, coverage and set_size, each with interval; confusion (true grades in rows); conformal
      (required coverage, limits, coverage by grade). Columns: grade, expected_grade, grade_set.
    """
    probability = scaling.probabilities(logits)
    columns = {
        "grade": [str(grades[i]) for i in probability.argmax(axis=1)],
        "expected_grade": (probability @ np.asarray(grades, float)).round(4).tolist(),
    }
    included: np.ndarray | None = None
    of_sets: dict[str, Any] = {}
    if known is not None:
        limits = conformal.fit(scaling.probabilities(known.logits), known.label)
        included = conformal.sets(probability, limits)
        columns["grade_set"] = [set_text(row, grades) for row in included]
        of_sets["conformal"] = {
            "coverage_wanted": conformal.COVERAGE,
            "limits": limits.tolist(),
            "coverage_by_grade": _coverage_by_grade(included, label, grades),
        }
    present = np.unique(label)

    def measure(chosen: np.ndarray) -> dict[str, float] | None:
        if len(np.unique(label[chosen])) < len(present):
            return None
        found = measured(probability[chosen], label[chosen], grades)
        if included is not None:
            own = included[chosen, label[chosen]]
            found |= {"coverage": float(own.mean())}
            found |= {"set_size": float(included[chosen].sum(axis=1).mean())}
        return found

    metrics: dict[str, Any] = {
        "convention": CONVENTION,
        **statistics.estimates_of_whole(measure, subjects, seed),
        "confusion": grading.confusion(probability.argmax(axis=1), label, len(grades)).tolist(),
        **of_sets,
    }
    return metrics, columns


def measured(probability: np.ndarray, label: np.ndarray, grades: Sequence[int]) -> dict[str, float]:
    """The metrics of `evaluate` without sets, from probabilities f[n, k] and classes i[n]."""
    counts = grading.confusion(probability.argmax(axis=1), label, len(grades))
    found = grading.from_confusion(counts)
    for grade, recall in zip(grades, grading.recalls(counts), strict=True):
        if np.isfinite(recall):
            found[f"recall_kl{grade}"] = float(recall)
    for place, grade in enumerate(grades[1:], 1):
        positive = (label >= place).astype(np.int64)
        if 0 < positive.sum() < len(positive):
            score = probability[:, place:].sum(axis=1)
            found[f"auc_from_{grade}"] = classification.auc(score, positive)
    return found


def _coverage_by_grade(
    included: np.ndarray, label: np.ndarray, grades: Sequence[int]
) -> dict[str, float]:
    """By grade that occurs, the share of its knees whose set contains the grade."""
    own = included[np.arange(len(label)), label]
    return {str(grades[i]): float(own[label == i].mean()) for i in np.unique(label)}


def set_text(included: np.ndarray, grades: Sequence[int]) -> str:
    """The grades of a set bool[k], separated by spaces: "1 2"."""
    return " ".join(str(grade) for grade, has in zip(grades, included, strict=True) if has)


def findings(metrics: Mapping[str, Any]) -> list[str]:
    """The main results of `evaluate` in sentences."""
    lines = [
        f"Grade: quadratic kappa {_estimate(metrics['quadratic_kappa'])}, accuracy "
        f"{_estimate(metrics['accuracy'])}, "
        f"balanced accuracy {_estimate(metrics['balanced_accuracy'])}, "
        f"mean absolute error {_estimate(metrics['mean_absolute_error'])}."
    ]
    if "coverage" in metrics:
        lines.append(
            "Conformal sets of adjacent grades, fitted for a coverage of "
            f"{metrics['conformal']['coverage_wanted']:g}: a share of "
            f"{_estimate(metrics['coverage'])} contains the true grade; the mean size is "
            f"{metrics['set_size']['mean']:.2f} grades."
        )
    return lines


def name_of(metric: str) -> str:
    """The label of a metric of `evaluate` on the page."""
    if metric.startswith("recall_kl"):
        return f"recall of grade {metric.removeprefix('recall_kl')}"
    if metric.startswith("auc_from_"):
        return f"AUC of grade {metric.removeprefix('auc_from_')} or higher"
    return NAMES[metric]


def _estimate(entry: Mapping[str, Any]) -> str:
    ends = entry["ci95"]
    return f"{entry['mean']:.3f}" + (f" ({ends[0]:.3f} to {ends[1]:.3f})" if ends else "")
