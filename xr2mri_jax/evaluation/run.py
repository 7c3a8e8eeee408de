"""A trained stage evaluated: chooses what is measured, writes metrics, table and report."""

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

import xr2mri_jax
from xr2mri_jax import datasets, files
from xr2mri_jax.data import passes
from xr2mri_jax.errors import InputError
from xr2mri_jax.evaluation import (
    classifier,
    classifier_report,
    probe,
    radiographs,
    result,
    viewer_cases,
    volumes,
)
from xr2mri_jax.evaluation.result import Result
from xr2mri_jax.evaluation.store import VolumeStore
from xr2mri_jax.evaluation.viewer_cases import Distances
from xr2mri_jax.models import cae
from xr2mri_jax.models.views import averaged
from xr2mri_jax.presentation import figures, pages, report
from xr2mri_jax.presentation.parts import Picture
from xr2mri_jax.presentation.sources import MODEL
from xr2mri_jax.stages.base import Classifies, Encodes, Predicts, Reconstructs, Surfaces
from xr2mri_jax.training import served
from xr2mri_jax.training.trained import LoadedModel, load_chosen

SEED = 0


@dataclasses.dataclass(frozen=True)
class _Request:
    """What is evaluated, on what, and where the files go; `splits` are keywords of `evaluate`."""

    model: LoadedModel
    builder: Any
    folder: Path
    splits: Mapping[str, Any]
    batch_size: int | None
    evaluated: Mapping[str, Any]
    single: Path | None


def evaluate_workdir(
    workdir: str | os.PathLike[str],
    split: str = "test",
    output: str | os.PathLike[str] | None = None,
    data_dir: str | None = None,
    batch_size: int | None = None,
    step: int | None = None,
    linear_probe: bool = False,
    views: bool = False,
    page: str | os.PathLike[str] | None = None,
) -> Path:
    """Evaluates the run in `workdir`: metrics.json, cases.csv and index.html, all new or all old.

    Args:
      workdir: the folder of a training run of any stage.
      split: the split to evaluate on.
      output: folder for the files; None: WORKDIR/evaluation.
      data_dir: where the dataset is prepared; None: where the run read it.
      batch_size: cases at a time; None: 4 volumes, 16 radiographs, 32 to grade.
      step: which checkpoint; None: the newest, or what the stage chooses by.
      linear_probe: of an auto-encoder, what a logistic regression on its bottleneck tells of the
        grade, in place of what it reconstructs.
      views: of a classifier, the mean logits over the views of a radiograph.
      page: file for the report in one file, at most `pages.LARGEST_SINGLE` bytes; None: none.

    Returns:
      The report, index.html.

    Raises:
      InputError: where the run, the dataset, the split or the folder cannot be used.
    """
    model = load_chosen(workdir, step)
    stage = model.stage
    if batch_size is not None and batch_size < 1:
        raise InputError(f"--batch_size: {batch_size} found, expected at least 1")
    data = model.config["data"]
    builder = datasets.load_builder(data["dataset"], data_dir or data["data_dir"])
    served.require_same_contrast(model.config, builder)
    splits = {"split": split, "train_split": data["train_split"], "seed": SEED}
    evaluated = {
        "workdir": str(workdir),
        "stage": stage.name,
        "step": model.step,
        "dataset": data["dataset"],
        "dtype_trained": model.config.get("dtype", "unknown"),
        "dtype_evaluated": served.dtype_name(model.config),
        **splits,
        "xr2mri_jax": xr2mri_jax.__version__,
    }
    folder = Path(workdir) / "evaluation" if output is None else Path(output)
    files.require_writable(folder, "--output")
    single = None if page is None else Path(page)
    if single is not None:
        pages.require_single(single, "--page")
    request = _Request(model, builder, folder, splits, batch_size, evaluated, single)
    if views and (linear_probe or not isinstance(stage, Classifies)):
        raise InputError(
            f"{workdir}: --views of the stage {stage.name!r}, expected one that classifies"
        )
    if linear_probe:
        if not isinstance(stage, Encodes):
            raise InputError(
                f"{workdir}: --linear_probe of the stage {stage.name!r}, expected an auto-encoder"
            )
        return _probe(request, stage)
    if isinstance(stage, Predicts):
        return _volumes(request, stage)
    if isinstance(stage, Reconstructs):
        return _radiographs(request, stage)
    if isinstance(stage, Classifies):
        return _grades(request, stage, views)
    raise InputError(
        f"{workdir}: the stage {stage.name!r} gives no volumes, radiographs or grades, which "
        "evaluation knows"
    )


def _volumes(request: _Request, stage: Predicts) -> Path:
    model = request.model
    params, model_state = jax.device_put((model.params, model.model_state))
    predict = jax.jit(stage.predict)
    distances: Distances | None = None
    if isinstance(stage, Surfaces) and model.config["model"]["generator"].get("surfaces"):
        of_xray = jax.jit(stage.surfaces)

        def distances(xray: np.ndarray) -> np.ndarray:
            return np.asarray(of_xray(params, model_state, xray)[1], np.float32)[0]

    split = request.splits["split"]
    with VolumeStore(passes.count(request.builder, split)) as store:
        found = volumes.evaluate(
            lambda xray: predict(params, model_state, xray),
            request.builder,
            store,
            batch_size=request.batch_size or 4,
            **request.splits,
        )
        pictures = [
            _pictured(text, figures.volume_case(found.xrays[i, ..., 0], *store.pair(i)))
            for text, i in extremes(found)
        ]
        labels = viewer_cases.true_labels(request.builder, split)
        rank = Picture(
            figures.ranks(found.cases["retrieval_rank"]),
            "Retrieval: all real volumes of the split are put in order of their distance to a "
            "prediction; this is where the own one stood.",
            "Histogram of the rank of the own volume",
        )
        source = viewer_cases.Source(found, store, labels, distances)
        return _write(found, request, [_bars(found), rank], pictures, source)


def _pictured(text: str, png: bytes) -> Picture:
    below = (
        "From top to bottom: the real volume, the predicted one (both with white at the real "
        f"one's percentile {figures.BRIGHT_PERCENTILE}), their absolute difference (black 0, "
        f"brightest {figures.DIFFERENCE_RANGE} or more). Shown as a right knee, "
        "the lateral side at the left; outside the acquired field the real volume is black and "
        "the difference is not counted."
    )
    return Picture(png, f"{text}. {below}", f"Planes of the real and predicted volume: {text}")


def _radiographs(request: _Request, stage: Reconstructs) -> Path:
    model = request.model
    params = jax.device_put(model.params)
    reconstruct = jax.jit(stage.reconstruct)
    hidden = math.prod(cae.hidden_shapes(model.config["model"]["cae"])[-1])
    found = radiographs.evaluate(
        lambda xray: reconstruct(params, xray),
        hidden,
        request.builder,
        batch_size=request.batch_size or 16,
        **request.splits,
    )
    pictures = []
    for text, i in extremes(found):
        xray = found.xrays[i]
        made = np.asarray(reconstruct(params, xray[None]), np.float32)[0]
        images = {"radiograph": xray, "reconstruction": made, "difference": np.abs(made - xray)}
        png = figures.radiograph_case({name: shown[..., 0] for name, shown in images.items()})
        pictures.append(Picture(png, f"{text}.", f"A radiograph and its reconstruction: {text}"))
    return _write(found, request, [_bars(found)], pictures)


def _grades(request: _Request, stage: Classifies, views: bool) -> Path:
    params, model_state = jax.device_put((request.model.params, request.model.model_state))
    about = dataclasses.replace(request, evaluated={**request.evaluated, "views": views})

    @jax.jit
    def classify(params: Any, model_state: Any, xray: Any) -> jax.Array:
        once = partial(stage.classify, params, model_state)
        return averaged(once, xray) if views else once(xray)

    data = request.model.config["data"]
    return _classified(about, lambda xray: classify(params, model_state, xray), data)


def _probe(request: _Request, stage: Encodes) -> Path:
    params = jax.device_put(request.model.params)
    hidden = jax.jit(stage.hidden)
    data = probe.graded(request.model.config["data"])

    def features(xray: np.ndarray) -> np.ndarray:
        return np.asarray(hidden(params, xray)).reshape(len(xray), -1)

    fitted, chosen = probe.fit(features, request.builder, data, request.batch_size or 32)
    about = {**request.evaluated, "linear_probe": chosen}
    return _classified(
        dataclasses.replace(request, evaluated=about), lambda x: fitted.logits(features(x)), data
    )


def _classified(request: _Request, logits: classifier.Logits, data: Mapping[str, Any]) -> Path:
    found = classifier.evaluate(
        logits,
        request.builder,
        data,
        split=request.splits["split"],
        batch_size=request.batch_size or 32,
        seed=SEED,
    )
    found.metrics["evaluated"] = dict(request.evaluated)
    with files.replaced_folder(request.folder) as folder:
        result.write(found, folder)
        page = classifier_report.page(found.metrics, request.evaluated)
        pages.write_folder(folder, page)
        if request.single is not None:
            pages.write_single(request.single, page, folder)
    for line in classifier.findings(found.metrics):
        print(line)
    return request.folder / pages.INDEX


def extremes(found: Result) -> list[tuple[str, int]]:
    """What to say of the best, the median and the worst case by PSNR, and which they are."""
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


def _bars(found: Result) -> Picture:
    sources = {MODEL: found.metrics[MODEL], **found.metrics["controls"]}
    return Picture(
        figures.bars(sources),
        "Means over the cases; black lines are 95 % intervals.",
        "Bar chart of the table above",
    )


def _write(
    found: Result,
    request: _Request,
    charts: Sequence[Picture],
    pictures: Sequence[Picture],
    source: viewer_cases.Source | None = None,
) -> Path:
    found.metrics["evaluated"] = dict(request.evaluated)
    with files.replaced_folder(request.folder) as folder:
        result.write(found, folder)
        viewer, names = None, [""] * len(found.cases["index"])
        if source is not None:
            viewer, names = viewer_cases.write(folder, source)
        table = report.case_table(found.cases, names)
        page = report.page(found.metrics, request.evaluated, charts, pictures, viewer, table)
        pages.write_folder(folder, page)
        if request.single is not None:
            pages.write_single(request.single, page, folder)
    for line in report.findings(found.metrics):
        print(line)
    return request.folder / pages.INDEX
