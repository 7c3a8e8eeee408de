"""Writes the files of an evaluation: metrics.json, cases.csv, the report and the model card."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from xr2mri_jax import files
from xr2mri_jax.evaluation import classifier, classifier_report, model_card, result, viewer_cases
from xr2mri_jax.evaluation.result import Result
from xr2mri_jax.evaluation.uncertainty import report as uncertainty_report
from xr2mri_jax.presentation import figures, pages, report
from xr2mri_jax.presentation.model_and_controls import MODEL
from xr2mri_jax.presentation.page_elements import Page, Picture
from xr2mri_jax.training.loaded_model import LoadedModel


@dataclasses.dataclass(frozen=True)
class EvaluationRequest:
    """Model, data and output folder of an evaluation; `splits` are keywords of `evaluate`."""

    model: LoadedModel
    builder: Any
    folder: Path
    splits: Mapping[str, Any]
    batch_size: int | None
    evaluated: Mapping[str, Any]
    single: Path | None = None
    conventions: tuple[str, ...] = ()


def bars(found: Result) -> Picture:
    """Bar chart of the means of the model and its controls."""
    sources = {MODEL: found.metrics[MODEL], **found.metrics["controls"]}
    return Picture(
        figures.bars(sources),
        "Means over the cases; black lines show 95 % intervals.",
        "Bar chart of the table above",
    )


def write(
    found: Result,
    request: EvaluationRequest,
    charts: Sequence[Picture],
    pictures: Sequence[Picture],
    source: viewer_cases.Source | None = None,
) -> Path:
    """Writes the files for volumes or radiographs and prints the findings; returns the report.

    Args:
      found: the evaluation's result.
      request: the model, the data and the output folder.
      charts, pictures: charts and pictures of the report.
      source: arrays of the viewer's cases; None: no viewer.
    """

    def page(folder: Path) -> Page:
        viewer, names = None, [""] * len(found.cases["index"])
        if source is not None:
            viewer, names = viewer_cases.write(folder, source)
        table = report.case_table(found.cases, names)
        intervals = uncertainty_report.parts(found.metrics.get("uncertainty"))
        return report.page(
            found.metrics, request.evaluated, charts, pictures, viewer, table, intervals
        )

    coverage = uncertainty_report.findings(found.metrics.get("uncertainty"))
    return _write(found, request, page, [*report.findings(found.metrics), *coverage])


def write_grades(found: Result, request: EvaluationRequest) -> Path:
    """Writes the files for a classifier and prints its findings; returns the report."""
    return _write(
        found,
        request,
        lambda _: classifier_report.page(found.metrics, request.evaluated),
        classifier.findings(found.metrics),
    )


def _write(
    found: Result,
    request: EvaluationRequest,
    page_in: Callable[[Path], Page],
    findings: Sequence[str],
) -> Path:
    found.metrics["evaluated"] = dict(request.evaluated)
    with files.replaced_folder(request.folder) as folder:
        result.write(found, folder)
        page = page_in(folder)
        pages.write_folder(folder, page)
        if request.single is not None:
            pages.write_single(request.single, page, folder)
        _write_card(folder, request, found)
    for line in [found.metrics["verdict"]["sentence"], *findings]:
        print(line)
    return request.folder / pages.INDEX


def _write_card(folder: Path, request: EvaluationRequest, found: Result) -> None:
    about = request.evaluated
    text = model_card.of_run(
        about["workdir"], request.model, request.builder, about["knees"], found.metrics,
        about["split"],
    )  # fmt: skip
    files.write_text(folder / model_card.NAME, text)
