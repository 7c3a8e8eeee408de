"""Builds the report page of an evaluation of volumes or radiographs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xr2mri_jax.presentation import convention_tables, figures
from xr2mri_jax.presentation.model_and_controls import LABELS, MODEL
from xr2mri_jax.presentation.page_elements import (
    Cell,
    Lines,
    Page,
    Part,
    Picture,
    Row,
    Section,
    Table,
    Terms,
    Viewer,
)
from xr2mri_jax.presentation.statement import MEANING

METRIC_NAMES = {"psnr": "PSNR (dB)", "ssim3d": "3D SSIM", "ssim": "SSIM", "mae": "MAE"}
LOWER_IS_BETTER = ("mae",)
CASE_COLUMNS = {
    "subject": "subject",
    "side": "side",
    "kl": "grade",
    "retrieval_rank": "rank",
}
MEANINGS = {
    "mean_volume": "The mean of all training volumes, the same for every knee. It uses no "
    "radiograph: its score shows what all knees have in common.",
    "nearest_neighbour": "The MRI of the training knee with the most similar radiograph. A model "
    "that is not better than this is no better than looking up training cases.",
    "shuffled_xray": "The same model with another subject's radiograph. The difference to the "
    "model shows what the knee's own radiograph contributes; no difference means that the model "
    "ignores its input.",
    "mean_radiograph": "The mean of all training radiographs, the same for every knee.",
    "pca": "Principal component analysis, a linear method, with the same number of hidden "
    "variables, if there are enough training radiographs.",
}
STATEMENT = "For research only, not for diagnosis."
SIMULATED = (
    "These knees are simulated. The numbers show how well the method works on the simulation; "
    "they say nothing about patients."
)


def page(
    metrics: Mapping[str, Any],
    evaluated: Mapping[str, Any],
    charts: Sequence[Picture],
    pictures: Sequence[Picture],
    viewer: Viewer | None = None,
    cases: Table | None = None,
    uncertainty: Sequence[Part] = (),
) -> Page:
    """Builds the page of an evaluation.

    Args:
      metrics: the content of metrics.json.
      evaluated: stage, step, dataset, split, ... of the evaluation.
      charts: figures over all cases.
      pictures: figures of single cases.
      viewer: viewer of the cases' volumes, or None.
      cases: the table of all cases, or None.
      uncertainty: the parts about the model's intervals.
    """
    title = f"Evaluation of {evaluated['stage']} on {evaluated['dataset']}, {evaluated['split']}"
    notices = [f"{STATEMENT} {MEANING}" if "retrieval" in metrics else STATEMENT]
    if evaluated.get("knees") == "simulated":
        notices.append(SIMULATED)
    notices += doubts(evaluated)
    every: list[Part] = [] if cases is None else [cases]
    others = convention_tables.tables(metrics.get("conventions") or {})
    sections = [
        Section("Findings", [Lines(findings(metrics))]),
        Section("Viewer", [] if viewer is None else [viewer]),
        Section("Metrics", [_metric_table(metrics), *charts]),
        Section("Uncertainty", list(uncertainty)),
        Section("Other conventions", others),
        Section("Controls", [_meanings(metrics)]),
        Section("Single cases", pictures),
        Section("All cases", every),
        Section("Groups", _group_tables(metrics)),
        Section("Method", measured(metrics, evaluated)),
    ]
    return Page(title, notices, sections, metrics.get("verdict", {}).get("sentence", ""))


def volume_picture(
    text: str, word: str, xray: np.ndarray, true: np.ndarray, predicted: np.ndarray
) -> Picture:
    """The figure of a case with its caption.

    Args:
      text: description of the case.
      word: adjective of the true volume: real, simulated or true.
      xray, true, predicted: see `figures.volume_case`.
    """
    png = figures.volume_case(xray, true, predicted, word)
    below = (
        f"From top to bottom: the {word} volume, the predicted volume (white is percentile "
        f"{figures.BRIGHT_PERCENTILE} of the {word} volume in both), their absolute difference "
        f"(black: 0, brightest: {figures.DIFFERENCE_RANGE} or more). Shown as a right knee, with "
        f"the lateral side at the left. Outside the acquired field the {word} volume is black and "
        "the difference is ignored."
    )
    return Picture(png, f"{text}. {below}", f"Planes of the {word} and predicted volume: {text}")


def findings(metrics: Mapping[str, Any]) -> list[str]:
    """The results in sentences, including controls that the model does not beat."""
    model = metrics[MODEL]["psnr"]
    knees = f"{metrics['n']} knees of {metrics['subjects']} subjects"
    found = [f"On {knees} the model reaches {_estimate(model, 'psnr')} dB PSNR."]
    for name, difference in metrics["differences"].items():
        gain = difference["psnr"]
        size = f"{gain['mean']:+.2f} dB{_interval(gain, 'psnr', sign=True)}"
        if gain["ci95"] is None:
            verdict = "one subject gives no interval, so this is not evidence"
        elif gain["ci95"][0] > 0:
            verdict = "the model is better"
        elif gain["ci95"][1] < 0:
            verdict = "the model is worse"
        else:
            verdict = "no difference is shown: the interval contains 0"
        found.append(f"Against {LABELS[name]}: {size}; {verdict}.")
    if "retrieval" in metrics:
        seen = metrics["retrieval"]
        found.append(
            f"The true volume is the closest of {seen['n']} to the prediction in "
            f"{seen['top1']:.0%} of the cases (guessing: {seen['chance']['top1']:.0%}); its mean "
            f"rank is {seen['mean_rank']:.1f} (guessing: {seen['chance']['mean_rank']:.1f})."
        )
    if "labels" in metrics:
        found.append(_label_maps(metrics["labels"]))
    if "hidden_variables" in metrics:
        sizes = metrics["hidden_variables"]
        found.append(
            f"Hidden variables: auto-encoder {sizes[MODEL]}, PCA {sizes['pca']} ({sizes['note']})."
        )
    return found


def _label_maps(found: Mapping[str, Any]) -> str:
    """The Dice of bones and cartilages in words, with those of the controls."""
    parts = []
    for name in ("femur", "tibia", "femoral_cartilage", "tibial_cartilage"):
        if name in found["model"]:
            others = [
                f"{label} {found[control][name]['mean']:.3f}"
                for control, label in (("mean_shape", "mean shape"), ("shuffled_xray", "shuffled"))
                if control in found
            ]
            value = f"{found['model'][name]['mean']:.3f}"
            parts.append(f"{name.replace('_', ' ')} {value} ({', '.join(others)})")
    return f"Dice of the label maps: {'; '.join(parts)}."


def case_table(columns: Mapping[str, Sequence[Any]], names: Sequence[str]) -> Table:
    """The sortable table of all cases.

    Args:
      columns: columns of cases.csv; only the model's metrics are shown.
      names: the viewer's names of the cases in the same order, "" for cases not in the viewer.
    """
    known = {**CASE_COLUMNS, **METRIC_NAMES}
    shown = [name for name in columns if name in known]
    rows = [
        Row(
            str(columns["index"][i]),
            [_shown(columns[name][i], name) for name in shown],
            case=name_of_case,
        )
        for i, name_of_case in enumerate(names)
    ]
    caption = "All cases; click a heading to sort."
    return Table(caption, ["case", *(known[name] for name in shown)], rows, sortable=True)


def _shown(value: Any, name: str) -> str:
    return _number(value, name) if isinstance(value, float) else str(value)


def _metric_table(metrics: Mapping[str, Any]) -> Table:
    names = list(metrics[MODEL])
    heads = [
        Cell(METRIC_NAMES[name], f"{'lower' if name in LOWER_IS_BETTER else 'higher'} is better")
        for name in names
    ]
    rows = [_row(LABELS[MODEL], metrics[MODEL], names, emphasised=True)]
    rows += [_row(LABELS[name], found, names) for name, found in metrics["controls"].items()]
    rows += [
        _row(f"model − {LABELS[name]}", found, names, sign=True)
        for name, found in metrics["differences"].items()
    ]
    caption = "Mean over the cases, with the 95 % interval below (subjects resampled)."
    return Table(caption, ["prediction", *heads], rows)


def _group_tables(metrics: Mapping[str, Any]) -> list[Table]:
    titles = {"kl": "Kellgren-Lawrence grade", "side": "side"}
    tables = []
    for group, found in metrics["per_group"].items():
        names = list(metrics[MODEL])
        heads = [titles[group], *(METRIC_NAMES[name] for name in names)]
        rows = [_row(f"{label} ({part['n']} cases)", part, names) for label, part in found.items()]
        tables.append(Table(f"The model by {titles[group]}.", heads, rows))
    return tables


def _row(
    label: str,
    found: Mapping[str, Any],
    names: Sequence[str],
    emphasised: bool = False,
    sign: bool = False,
) -> Row:
    cells = [
        Cell(
            _number(found[name]["mean"], name, sign),
            _interval(found[name], name, sign).strip() or "one subject",
        )
        for name in names
    ]
    return Row(label, cells, emphasised)


def _meanings(metrics: Mapping[str, Any]) -> Terms:
    return Terms([(LABELS[name], MEANINGS[name]) for name in metrics["controls"]])


def doubts(evaluated: Mapping[str, Any]) -> list[str]:
    """The doubts about an evaluation as notices of its page."""
    return [f"Doubt: {doubt}." for doubt in evaluated.get("doubts", ())]


def measured(metrics: Mapping[str, Any], evaluated: Mapping[str, Any]) -> list[Part]:
    """The evaluated run and the conventions of the metrics."""
    run = [f"{key}: {value}" for key, value in evaluated.items() if key != "doubts"]
    return [Lines(run), Lines(_flat(metrics["convention"]))]


def _flat(content: Mapping[str, Any], prefix: str = "") -> list[str]:
    lines: list[str] = []
    for key, value in content.items():
        name = f"{prefix}{key}"
        lines += _flat(value, f"{name} / ") if isinstance(value, Mapping) else [f"{name}: {value}"]
    return lines


def _estimate(found: Mapping[str, Any], name: str) -> str:
    return _number(found["mean"], name) + _interval(found, name)


def _interval(found: Mapping[str, Any], name: str, sign: bool = False) -> str:
    if found["ci95"] is None:
        return ""
    low, high = (_number(value, name, sign) for value in found["ci95"])
    return f" ({low} to {high})"


def _number(value: float, name: str, sign: bool = False) -> str:
    digits = {"psnr": 2, "mae": 4}.get(name, 3)
    return f"{value:{'+' if sign else ''}.{digits}f}"
