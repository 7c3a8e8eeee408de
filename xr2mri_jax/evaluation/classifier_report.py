"""The report of a classifier: metrics and the reliability diagram."""

from collections.abc import Mapping
from typing import Any

from xr2mri_jax.evaluation import grades
from xr2mri_jax.evaluation.classifier import findings
from xr2mri_jax.presentation import figures, report
from xr2mri_jax.presentation.model_and_controls import MODEL
from xr2mri_jax.presentation.page_elements import Lines, Page, Picture, Row, Section, Table

NAMES = {
    "balanced_accuracy": "balanced accuracy",
    "auc": "AUC",
    "accuracy": "accuracy",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "quadratic_kappa": "quadratic kappa",
}


def page(metrics: Mapping[str, Any], evaluated: Mapping[str, Any]) -> Page:
    """Builds the page; arguments as for `report.page`."""
    title = f"Evaluation of {evaluated['stage']} on {evaluated['dataset']}, {evaluated['split']}"
    rows = [_row(label, metrics[MODEL][name]) for name, label in NAMES.items()]
    caption = "Higher is better for every metric; intervals from resampled subjects."
    diagram = Picture(
        figures.reliability(metrics["calibration"]["reliability"]),
        "Observed frequency of the positive class (vertical) by its calibrated probability "
        "(horizontal). On the dashed line the two agree. Numbers: knees in the bin.",
        "Reliability diagram",
    )
    sections = [
        Section("Findings", [Lines(findings(metrics))]),
        Section("Metrics", [Table(caption, ["metric", "value", "95 %"], rows)]),
        *([_grades(metrics)] if "grades" in metrics else []),
        Section("Calibration", [diagram]),
        Section("Method", report.measured(metrics, evaluated)),
    ]
    notices = [report.STATEMENT, *report.doubts(evaluated)]
    return Page(title, notices, sections, metrics["verdict"]["sentence"])


def _row(label: str, entry: Mapping[str, Any]) -> Row:
    ends = "one subject"
    if entry["ci95"] is not None:
        ends = f"{entry['ci95'][0]:.3f} to {entry['ci95'][1]:.3f}"
    return Row(label, [f"{entry['mean']:.3f}", ends])


def _grades(metrics: Mapping[str, Any]) -> Section:
    """The metrics of the grades and the confusion matrix."""
    found = metrics["grades"]
    rows = [_row(grades.name_of(n), e) for n, e in found.items() if "ci95" in e]
    names = list(metrics["per_grade"])
    matrix = [
        Row(f"grade {name}", [str(count) for count in counts])
        for name, counts in zip(names, found["confusion"], strict=True)
    ]
    heads = ["true grade", *(f"predicted {name}" for name in names)]
    caption = "The most likely grade against the true one; intervals from resampled subjects."
    return Section(
        "Grades",
        [
            Table(caption, ["metric", "value", "95 %"], rows),
            Table("Confusion matrix: number of knees by true and predicted grade.", heads, matrix),
        ],
    )
