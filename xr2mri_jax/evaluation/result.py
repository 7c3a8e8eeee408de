"""The result of an evaluation: the numbers for metrics.json, a table of cases, radiographs."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from xr2mri_jax import files
from xr2mri_jax.evaluation import statistics
from xr2mri_jax.io.tables import write_table
from xr2mri_jax.presentation.model_and_controls import MODEL


@dataclasses.dataclass(frozen=True)
class Result:
    """An evaluation of n cases.

    Attributes:
      metrics: the content of metrics.json.
      cases: columns of cases.csv by name, each of length n.
      values: per-case metrics f64[n] by source ("model" or a control's name) and metric.
      xrays: f32[n, h, w, 1] in [0, 1], the radiographs of the cases.
    """

    metrics: dict[str, Any]
    cases: dict[str, list[Any]]
    values: dict[str, dict[str, np.ndarray]]
    xrays: np.ndarray


def write(result: Result, folder: Path) -> None:
    """Writes metrics.json and cases.csv, each atomically."""
    files.write_json(folder / "metrics.json", result.metrics)
    rows = zip(*result.cases.values(), strict=True)
    write_table(folder / "cases.csv", tuple(result.cases), rows)


def value_columns(values: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, list[float]]:
    """Per-case metrics as columns: `psnr` for the model, `mean_volume_psnr` for a control."""
    return {
        metric if source == MODEL else f"{source}_{metric}": [round(float(v), 6) for v in numbers]
        for source, metrics in values.items()
        for metric, numbers in metrics.items()
    }


def extremes(found: Result) -> list[tuple[str, int]]:
    """The captions and positions of the best, the median and the worst case by PSNR."""
    psnr = found.values[MODEL]["psnr"]
    order = np.argsort(-psnr, kind="stable")
    chosen = {"Best": order[0], "Median": order[(len(order) - 1) // 2], "Worst": order[-1]}
    return [
        (
            f"{name} case by PSNR, {psnr[i]:.2f} dB: number {found.cases['index'][i]}, "
            f"{found.cases['side'][i]} knee, Kellgren-Lawrence grade {found.cases['kl'][i]}",
            int(i),
        )
        for name, i in chosen.items()
    ]


def summarise(
    values: Mapping[str, Mapping[str, np.ndarray]],
    about: Mapping[str, list[Any]],
    convention: Mapping[str, Any],
    seed: int,
) -> dict[str, Any]:
    """The part of metrics.json that every evaluation has.

    Args:
      values: as in `Result`.
      about: columns subject, side, kl.
      convention: the definitions of the metrics.
      seed: seed of the bootstrap.

    Returns:
      n, subjects, convention, model, controls, differences (model minus control, case by case) and
      per_group (the model by grade and by side).
    """
    subjects, model = about["subject"], values[MODEL]
    controls = {name: found for name, found in values.items() if name != MODEL}
    interval = f"percentile bootstrap of the mean, {statistics.SAMPLES} samples, subjects resampled"
    return {
        "n": len(subjects),
        "subjects": len(set(subjects)),
        "convention": {
            **convention,
            "ci95": interval,
            "differences": "model minus control, case by case",
        },
        MODEL: statistics.estimates(model, subjects, seed=seed),
        "controls": {
            name: statistics.estimates(found, subjects, seed=seed)
            for name, found in controls.items()
        },
        "differences": {
            name: statistics.differences(model, found, subjects, seed=seed)
            for name, found in controls.items()
        },
        "per_group": {
            group: statistics.by_group(model, subjects, about[group], seed=seed)
            for group in ("kl", "side")
        },
    }
