"""Errors of real pairs in bone shape, joint space and cartilage, and the resulting verdict."""

from collections.abc import Sequence

import numpy as np

from xr2mri_jax.datasets.data_origin import REAL, SIMULATED, UNKNOWN, origin_of_file
from xr2mri_jax.evaluation import verdict
from xr2mri_jax.evaluation.real_pairs.joint import Both, space_key
from xr2mri_jax.evaluation.real_pairs.measure import MEAN, SHUFFLED, Measured
from xr2mri_jax.evaluation.real_pairs.protocol import BONES, OPEN
from xr2mri_jax.evaluation.real_pairs.retrieval import PRIMARY
from xr2mri_jax.evaluation.real_pairs.table import Pair
from xr2mri_jax.metrics.joint import COMPARTMENTS, PLATES
from xr2mri_jax.presentation.model_and_controls import MODEL

CONVENTION = {
    "bone shape": f"ASSD of femur and tibia, mean of both, {OPEN}, after {PRIMARY} alignment; size "
    "does not count, because a radiograph without spacing does not determine it",
    "joint space": "absolute error in mm, mean of both compartments",
    "cartilage": "absolute error of the thickness in standard deviations of the true knees, mean "
    "over the plates that the true map has",
    "texture": "not measured: label maps have no texture",
    "mean": "bone shape: the mean shape of all other subjects; joint space and cartilage: the mean "
    "of all other subjects' true values",
    "other_radiograph": "the mean error of the predictions from all other subjects' radiographs",
}


def judge_pairs(found: Measured, seed: int) -> dict[str, object]:
    """The verdict on the predictions for pairs, see `verdict.judge`."""
    subjects = [pair.subject for pair in found.pairs]
    spaces = [found.joint[space_key(name)] for name in COMPARTMENTS]
    plates = [found.joint[f"{plate}_thickness_mm"] for plate in PLATES]
    properties = {
        "bone shape": {
            verdict_name: np.mean(
                [found.values[OPEN][source][bone][PRIMARY]["assd"] for bone in BONES], axis=0
            )
            for verdict_name, source in (
                (MODEL, MODEL),
                (verdict.MEAN, MEAN),
                (verdict.OTHER, SHUFFLED),
            )
        },
        "joint space": quantity_errors(spaces, subjects),
        "cartilage": quantity_errors(plates, subjects, scaled=True),
        "texture": None,
    }
    return verdict.judge(properties, subjects, _origin(found.pairs), "the mean knee", seed)


def quantity_errors(
    quantities: Sequence[Both], subjects: Sequence[str], scaled: bool = False
) -> dict[str, np.ndarray] | None:
    """Mean absolute errors over several quantities, for `verdict.judge`.

    Args:
      quantities: true and predicted values, f64[n] each, NaN where the true map lacks them.
      subjects: n names; the controls use only other subjects.
      scaled: whether errors are in standard deviations of the true values.

    Returns:
      f64[n] by source, NaN for a knee without any of the quantities; None if no knee has one.
    """
    columns: dict[str, list[np.ndarray]] = {MODEL: [], verdict.MEAN: [], verdict.OTHER: []}
    names = np.asarray(subjects)
    others = names[:, None] != names[None, :]
    for true, predicted in quantities:
        usable = others & np.isfinite(true)[None, :]
        if not usable.any(axis=1).all():
            continue
        spread = float(np.nanstd(true)) if scaled else 1.0
        if spread == 0:
            continue
        count = usable.sum(axis=1)
        mean = np.where(usable, np.nan_to_num(true)[None, :], 0).sum(axis=1) / count
        exchanged = np.where(usable, np.abs(true[:, None] - predicted[None, :]), 0)
        columns[MODEL].append(np.abs(true - predicted) / spread)
        columns[verdict.MEAN].append(np.abs(true - mean) / spread)
        columns[verdict.OTHER].append(exchanged.sum(axis=1) / count / spread)
    if not columns[MODEL]:
        return None
    return {name: _mean(np.stack(values)) for name, values in columns.items()}


def _mean(values: np.ndarray) -> np.ndarray:
    """The mean of the finite values over the first axis; NaN where none is finite."""
    known = np.isfinite(values)
    count = known.sum(axis=0)
    total = np.where(known, values, 0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _origin(pairs: Sequence[Pair]) -> str:
    """The common origin of all radiographs, or "unknown" if it differs."""
    found = {origin_of_file(pair.xray) for pair in pairs if pair.xray is not None}
    for one in (REAL, SIMULATED):
        if found == {one}:
            return one
    return UNKNOWN
