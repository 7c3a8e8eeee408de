"""The report of a classifier: one HTML file with the metrics and the reliability diagram."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xr2mri_jax import files
from xr2mri_jax.evaluation.classifier import findings
from xr2mri_jax.presentation import figures, report
from xr2mri_jax.presentation.sources import MODEL

NAMES = {
    "balanced_accuracy": "balanced accuracy",
    "auc": "AUC",
    "accuracy": "accuracy",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "quadratic_kappa": "quadratic kappa",
}


def write(folder: Path, metrics: Mapping[str, Any], evaluated: Mapping[str, Any]) -> Path:
    """Writes index.html, atomically; arguments and result as for `report.write`."""
    path = folder / "index.html"
    with files.atomic_path(path) as partial:
        partial.write_text(page(metrics, evaluated), encoding="utf-8")
    return path


def page(metrics: Mapping[str, Any], evaluated: Mapping[str, Any]) -> str:
    """The page as text."""
    title = f"Evaluation of {evaluated['stage']} on {evaluated['dataset']}, {evaluated['split']}"
    rows = []
    for name, label in NAMES.items():
        entry = metrics[MODEL][name]
        ends = "one subject"
        if entry["ci95"] is not None:
            ends = f"{entry['ci95'][0]:.3f} to {entry['ci95'][1]:.3f}"
        rows.append(
            f'<tr><th scope="row">{label}</th><td>{entry["mean"]:.3f}</td><td>{ends}</td></tr>'
        )
    heads = '<th scope="col">metric</th><th scope="col">value</th><th scope="col">95 %</th>'
    caption = "All higher is better; intervals by resampled subjects."
    diagram = report.Picture(
        figures.reliability(metrics["calibration"]["reliability"]),
        "How often the positive class was true (height) where it was given a probability (across), "
        "after the temperature; on the dashed line the two agree. Numbers: knees in the bin.",
        "Reliability diagram",
    )
    parts = [
        report.section("What was found", report.listed(findings(metrics))),
        report.section("Metrics", report.table(caption, heads, rows)),
        report.section("Calibration", report.figure(diagram)),
        report.section("How it was measured", report.measured(metrics, evaluated)),
    ]
    notices = [metrics["verdict"]["sentence"], report.STATEMENT]
    return report.document(title, notices, parts)
