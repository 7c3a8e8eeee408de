"""Evaluates a radiograph classifier: accuracy, confidence intervals, calibration."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from xr2mri_jax.data import passes, selection
from xr2mri_jax.evaluation import grades as ordered
from xr2mri_jax.evaluation import statistics, verdict
from xr2mri_jax.evaluation.result import Result
from xr2mri_jax.metrics import calibration, classification
from xr2mri_jax.metrics.calibration import AS_IS, Scaling
from xr2mri_jax.presentation.model_and_controls import MODEL

Logits = Callable[[np.ndarray], Any]

SENSITIVITY = 0.9
CHOSEN = "chosen_threshold"
CONVENTION = {
    "positive": "the upper half of the grades; with two grades the higher one",
    "decision": "positive if its probability is at least 0.5; in `chosen_threshold`, at least the "
    "threshold with the best balanced accuracy on the held-out patients (Youden's index)",
    "auc": "share of pairs of a positive and a negative knee ranked correctly, ties count half",
    "quadratic_kappa": "agreement of the most likely grade with the true one, weights (i - j)^2",
    "calibration": "temperature, and offsets if config.data.prevalence is given, fitted on the "
    "held-out patients of the training split; calibration error in 10 bins",
    "ci95": f"percentile bootstrap, {statistics.WHOLE_SAMPLES} samples, subjects resampled",
}


def evaluate(
    logits: Logits,
    builder: Any,
    data: Mapping[str, Any],
    *,
    split: str,
    batch_size: int = 32,
    seed: int = 0,
) -> Result:
    """Evaluates a classifier on the examples of a split that have the config's grades.

    Args:
      logits: maps f32[b, h, w, 1] in [0, 1] to f32[b, classes]; called with b = batch_size.
      builder: a prepared TFDS builder, or a sequence of decoded examples.
      data: config.data: grades, held_out, held_out_seed, train_split. If `split` is the training
        split, only its held-out patients are evaluated.
      split: the split to evaluate.
      batch_size: radiographs per batch.
      seed: seed of the bootstrap.

    Returns:
      metrics with the keys n, subjects, verdict, convention, model (accuracy, balanced_accuracy,
      sensitivity, specificity, auc, quadratic_kappa, each with interval), per_grade, calibration,
      threshold, chosen_threshold; with more than two grades also grades, see `grades.evaluate`.
      Cases have the logits and the calibrated probability of each grade.

    Raises:
      InputError: if the split or a field is missing.
    """
    grades = tuple(data["grades"])
    found, about, xrays = apply(logits, builder, data, split, batch_size)
    label = np.array([grades.index(int(kl)) for kl in about["kl"]])
    held_out = data["held_out"] > 0 and split != data["train_split"]
    known = _known(logits, builder, data, batch_size) if held_out else None
    scaling, threshold, youden = AS_IS, None, None
    if known is not None:
        scaling = ordered.scaling(known, data)
        scored = _score(known.logits, scaling), _positive(known.label, grades)
        threshold = classification.threshold_for_sensitivity(*scored, SENSITIVITY)
        youden = classification.threshold_by_youden(*scored)
    metrics: dict[str, Any] = {
        "n": len(label),
        "subjects": len(set(about["subject"])),
        "convention": CONVENTION,
        MODEL: statistics.estimates_of_whole(
            lambda chosen: measured(found[chosen], label[chosen], grades, scaling),
            about["subject"],
            seed,
        ),
        "per_grade": {str(g): int((label == i).sum()) for i, g in enumerate(grades)},
        "calibration": {
            "fitted": known is not None,
            **_calibration(found, label, grades, scaling),
        },
    }
    half = len(grades) // 2
    metrics["verdict"] = verdict.judge_grading(
        metrics[MODEL]["auc"], grades[half:], grades[:half], metrics["subjects"]
    )
    if threshold is not None:
        metrics["threshold"] = {
            "wanted_sensitivity": SENSITIVITY,
            "probability": threshold,
            **classification.accuracies(
                _score(found, scaling), _positive(label, grades), threshold
            ),
        }
    if youden is not None:
        metrics[CHOSEN] = {
            "probability": youden,
            **statistics.estimates_of_whole(
                lambda chosen: _accuracies(
                    _score(found[chosen], scaling), _positive(label[chosen], grades), youden
                ),
                about["subject"],
                seed,
            ),
        }
    probability = scaling.probabilities(found)
    columns = {
        **about,
        **{f"logit_kl{g}": np.round(found[:, i], 5).tolist() for i, g in enumerate(grades)},
        **{f"probability_kl{g}": probability[:, i].round(5).tolist() for i, g in enumerate(grades)},
    }
    if len(grades) > 2:
        metrics["grades"], of_cases = ordered.evaluate(
            found, label, grades, about["subject"], scaling=scaling, known=known, seed=seed
        )
        columns |= of_cases
    correct = (probability.argmax(axis=1) == label).astype(np.float64)
    return Result(metrics, columns, {MODEL: {"accuracy": correct}}, xrays)


def measured(
    logits: np.ndarray, label: np.ndarray, grades: Sequence[int], scaling: Scaling = AS_IS
) -> dict[str, float] | None:
    """The metrics of one set, or None if only one of the two classes occurs.

    Args:
      logits: f[n, k].
      label: i[n] in 0..k-1.
      grades: k grades.
      scaling: how the logits become probabilities.
    """
    probability = scaling.probabilities(logits)
    positive, score = _positive(label, grades), _upper(probability)
    decided = _accuracies(score, positive, 0.5)
    if decided is None:
        return None
    return {
        **decided,
        "auc": classification.auc(score, positive),
        "quadratic_kappa": classification.quadratic_kappa(
            probability.argmax(axis=1), label, len(grades)
        ),
    }


def _calibrated(found: Mapping[str, Any]) -> str:
    if not found["fitted"]:
        return f"Calibration error {found['before']:.3f}; no temperature was fitted."
    return (
        "Calibration error {before:.3f}, after temperature {temperature:.2f}: {after:.3f}.".format(
            **found
        )
    )


def findings(metrics: Mapping[str, Any]) -> list[str]:
    """The main results in sentences."""

    def estimate(name: str, part: str = MODEL) -> str:
        entry = metrics[part][name]
        ends = entry["ci95"]
        return f"{entry['mean']:.3f}" + (f" ({ends[0]:.3f} to {ends[1]:.3f})" if ends else "")

    sizes = ", ".join(f"{n} of grade {grade}" for grade, n in metrics["per_grade"].items())
    lines = [
        f"{metrics['n']} knees of {metrics['subjects']} subjects: {sizes}.",
        f"Balanced accuracy {estimate('balanced_accuracy')}, AUC {estimate('auc')}, "
        f"sensitivity {estimate('sensitivity')}, specificity {estimate('specificity')}.",
        _calibrated(metrics["calibration"]),
    ]
    if CHOSEN in metrics:
        lines.append(
            f"At the threshold {metrics[CHOSEN]['probability']:.3f}, which has the best balanced "
            "accuracy on held-out training patients: balanced accuracy "
            f"{estimate('balanced_accuracy', CHOSEN)}, "
            f"sensitivity {estimate('sensitivity', CHOSEN)}, "
            f"specificity {estimate('specificity', CHOSEN)}."
        )
    if "threshold" in metrics:
        at = metrics["threshold"]
        lines.append(
            f"At the threshold {at['probability']:.3f}, chosen for a sensitivity of "
            f"{at['wanted_sensitivity']:.2f} on held-out training patients: sensitivity "
            f"{at['sensitivity']:.3f}, specificity {at['specificity']:.3f}."
        )
    return lines + (ordered.findings(metrics["grades"]) if "grades" in metrics else [])


def apply(
    function: Logits,
    builder: Any,
    data: Mapping[str, Any],
    split: str,
    batch_size: int,
    training: bool = False,
) -> tuple[np.ndarray, dict[str, list[Any]], np.ndarray]:
    """Applies a function to the radiographs that a config selects from a split.

    Args:
      function: maps f32[b, h, w, 1] in [0, 1] to f32[b, k]; called with b = batch_size.
      builder: a prepared TFDS builder, or a sequence of decoded examples.
      data: as for `evaluate`.
      split: the split.
      batch_size: radiographs per batch.
      training: selects the training patients of the training split instead of the held-out ones.

    Returns:
      The function's values f64[n, k], the columns subject, side and kl, and the radiographs.

    Raises:
      InputError: if the split or a field is missing.
    """
    fields = ("xray", "kl", "side", "subject")
    source = selection.from_config(builder, data, split, fields, training=training)

    def both(xray: np.ndarray) -> tuple[Any, np.ndarray]:
        return function(xray), xray

    title = f"radiographs of {split}"
    (found, xrays), about = passes.predictions(both, source, split, batch_size, title)
    return found.astype(np.float64), about, xrays


def _known(logits: Logits, builder: Any, data: Mapping[str, Any], batch_size: int) -> ordered.Known:
    """The logits and classes of the held-out patients of the training split."""
    found, about, _ = apply(logits, builder, data, data["train_split"], batch_size)
    grades = list(data["grades"])
    return ordered.Known(found, np.array([grades.index(int(kl)) for kl in about["kl"]]))


def _positive(label: np.ndarray, grades: Sequence[int]) -> np.ndarray:
    return (label >= len(grades) // 2).astype(np.int64)


def _accuracies(
    score: np.ndarray, positive: np.ndarray, threshold: float
) -> dict[str, float] | None:
    if not 0 < positive.sum() < len(positive):
        return None
    return classification.accuracies(score, positive, threshold)


def _score(logits: np.ndarray, scaling: Scaling = AS_IS) -> np.ndarray:
    return _upper(scaling.probabilities(logits))


def _upper(probability: np.ndarray) -> np.ndarray:
    """The probability of the upper half of the grades."""
    return np.clip(probability[:, probability.shape[1] // 2 :].sum(axis=1), 0, 1)


def _calibration(
    logits: np.ndarray, label: np.ndarray, grades: Sequence[int], scaling: Scaling
) -> dict[str, Any]:
    positive = _positive(label, grades)
    bins = calibration.reliability(_score(logits, scaling), positive)
    return {
        "temperature": scaling.temperature,
        "offsets": scaling.offsets,
        "prevalence": scaling.prevalence,
        "before": calibration.calibration_error(_score(logits), positive),
        "after": calibration.calibration_error(_score(logits, scaling), positive),
        "reliability": {name: values.tolist() for name, values in bins.items()},
    }
