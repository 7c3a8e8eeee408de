"""The report of a classifier: metrics and the reliability diagram."""

from collections.abc import Mapping
from typing import Any

from xr2mri_jax.evaluation.classifier import findings
from xr2mri_jax.presentation import figures, report
from xr2mri_jax.presentation.parts import Lines, Page, Picture, Row, Section, Table
from xr2mri_jax.presentation.sources import MODEL

NAMES = {
    "balanced_accuracy": "balanced accuracy",
    "auc": "AUC",
    "accuracy": "accuracy",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "quadratic_kappa": "quadratic kappa",
}


def page(metrics: Mapping[str, Any], evaluated: Mapping[str, Any]) -> Page:
    """The page; arguments as for `report.page`."""
    title = f"Evaluation of {evaluated['stage']} on {evaluated['dataset']}, {evaluated['split']}"
    rows = []
    for name, label in NAMES.items():
        entry = metrics[MODEL][name]
        ends = "one subject"
        if entry["ci95"] is not None:
            ends = f"{entry['ci95'][0]:.3f} to {entry['ci95'][1]:.3f}"
        rows.append(Row(label, [f"{entry['mean']:.3f}", ends]))
    caption = "All higher is better; intervals by resampled subjects."
    diagram = Picture(
        figures.reliability(metrics["calibration"]["reliability"]),
        "How often the positive class was true (height) where it was given a probability (across), "
        "after the temperature; on the dashed line the two agree. Numbers: knees in the bin.",
        "Reliability diagram",
    )
    sections = [
        Section("What was found", [Lines(findings(metrics))]),
        Section("Metrics", [Table(caption, ["metric", "value", "95 %"], rows)]),
        Section("Calibration", [diagram]),
        Section("How it was measured", report.measured(metrics, evaluated)),
    ]
    return Page(title, [report.STATEMENT], sections, metrics["verdict"]["sentence"])
