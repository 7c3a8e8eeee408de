"""Agreement of predicted with true joint space and cartilage: correlation and error."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xr2mri_jax.evaluation import statistics
from xr2mri_jax.evaluation.real_pairs.knee import Knee
from xr2mri_jax.metrics.joint import COMPARTMENTS, PLATES, Plate

PLATE_QUANTITIES = Plate._fields
_FEWEST = 3  # knees for a correlation
# True and predicted values, f64[n] each.
Both = tuple[np.ndarray, np.ndarray]


def space_key(compartment: str) -> str:
    """The column of a compartment's joint space."""
    return f"joint_space_{compartment}_mm"


def joint_values(true: Sequence[Knee], predicted: Sequence[Knee]) -> dict[str, Both]:
    """Joint space by compartment; volume, thickness and area of cartilage by plate.

    A plate that the true map lacks is NaN in both; a plate that only the prediction lacks is 0.
    """

    found = {
        space_key(name): (_space(true, name), _space(predicted, name)) for name in COMPARTMENTS
    }
    for plate in PLATES:
        known = np.array([plate in knee.plates for knee in true])
        for quantity in PLATE_QUANTITIES:
            seen, made = (_plate(knees, plate, quantity) for knees in (true, predicted))
            found[f"{plate}_{quantity}"] = (
                np.where(known, seen, np.nan),
                np.where(known, made, np.nan),
            )
    return found


def _space(knees: Sequence[Knee], compartment: str) -> np.ndarray:
    return np.array([knee.space_mm[compartment] for knee in knees])


def _plate(knees: Sequence[Knee], plate: str, quantity: str) -> np.ndarray:
    return np.array(
        [getattr(k.plates[plate], quantity) if plate in k.plates else 0.0 for k in knees]
    )


def agreement(true: np.ndarray, predicted: np.ndarray, subjects: Sequence[str], seed: int) -> Any:
    """Agreement of the predicted with the true values of one quantity.

    Args:
      true, predicted: f64[n]; NaN where unknown.
      subjects: n names; subjects are resampled for the intervals.
      seed: seed of the bootstrap.

    Returns:
      n, r (Pearson; None if undefined: fewer than three knees, or no variation), mae, bias
      (predicted - true), mae_of_mean (error of the mean of the other subjects' true values, a
      control without radiograph; None with one subject), true_mean, true_sd, and the intervals of
      r, mae and bias; None if no true map has the quantity.
    """
    known = np.isfinite(true)
    if not known.any():
        return None
    a, b = true[known], predicted[known]
    names = [name for name, good in zip(subjects, known, strict=True) if good]
    mae = statistics.estimate(np.abs(b - a), names, seed=seed)
    bias = statistics.estimate(b - a, names, seed=seed)
    r: Mapping[str, Any] = {"mean": None, "ci95": None}
    if _correlation(a, b) is not None:
        found = statistics.estimates_of_whole(lambda i: _correlation(a[i], b[i]), names, seed)
        r = found["r"]
    return {
        "n": len(a),
        "r": r["mean"],
        "mae": mae["mean"],
        "bias": bias["mean"],
        "mae_of_mean": _error_of_mean(a, names),
        "true_mean": float(a.mean()),
        "true_sd": float(a.std()),
        "intervals": {"r": r["ci95"], "mae": mae["ci95"], "bias": bias["ci95"]},
    }


def _correlation(a: np.ndarray, b: np.ndarray) -> dict[str, float] | None:
    if len(a) < _FEWEST or min(np.ptp(a), np.ptp(b)) < 1e-9:
        return None
    return {"r": float(np.corrcoef(a, b)[0, 1])}


def _error_of_mean(true: np.ndarray, subjects: Sequence[str]) -> float | None:
    names = np.asarray(subjects)
    if len(set(subjects)) < 2:
        return None
    others = [true[names != name].mean() for name in names]
    return float(np.abs(true - others).mean())


def summary(joint: Mapping[str, Both], subjects: Sequence[str], seed: int) -> dict[str, Any]:
    """`agreement` of all quantities: joint_space (by compartment, mm) and cartilage (by plate)."""
    spaces, plates = {}, {}
    for name in COMPARTMENTS:
        found = agreement(*joint[space_key(name)], subjects, seed)
        spaces[name] = {
            {"mae": "mae_mm", "bias": "bias_mm", "mae_of_mean": "mae_of_mean_mm"}.get(key, key): v
            for key, v in found.items()
        }
    for plate in PLATES:
        plates[plate] = {
            quantity: agreement(*joint[f"{plate}_{quantity}"], subjects, seed)
            for quantity in PLATE_QUANTITIES
        }
    return {"joint_space": spaces, "cartilage": plates}
