"""Evaluates a trained stage: selects the data and the evaluation that fits the stage."""

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging

import xr2mri_jax
from xr2mri_jax import datasets, output_paths
from xr2mri_jax.data import passes
from xr2mri_jax.datasets.data_origin import origin, origin_adjective
from xr2mri_jax.errors import InputError
from xr2mri_jax.evaluation import (
    classifier,
    controls,
    label_maps,
    model_card,
    probe,
    property_errors,
    radiographs,
    viewer_cases,
    volumes,
)
from xr2mri_jax.evaluation import conventions as other_conventions
from xr2mri_jax.evaluation.output_files import EvaluationRequest, bars, write, write_grades
from xr2mri_jax.evaluation.result import extremes
from xr2mri_jax.evaluation.uncertainty import measure as coverage
from xr2mri_jax.evaluation.viewer_cases import Distances
from xr2mri_jax.evaluation.volume_store import VolumeStore
from xr2mri_jax.inference.knee_generator.load import has_surfaces, uncertainty_of
from xr2mri_jax.inference.output_places import OutputPlace, require_separate
from xr2mri_jax.models import cae
from xr2mri_jax.models.views import averaged
from xr2mri_jax.presentation import figures, pages, report
from xr2mri_jax.presentation.page_elements import Picture
from xr2mri_jax.runtime import lock
from xr2mri_jax.stages.base import Classifies, Encodes, Predicts, Reconstructs, Surfaces
from xr2mri_jax.training import inference_settings
from xr2mri_jax.training.loaded_model import LoadedModel, load_best
from xr2mri_jax.training.trained_subjects import doubts_of_evaluation
from xr2mri_jax.workdir import read_run

SEED = 0


def evaluate_workdir(
    workdir: str | os.PathLike[str],
    split: str = "test",
    output: str | os.PathLike[str] | None = None,
    data_dir: str | None = None,
    batch_size: int | None = None,
    step: int | None = None,
    linear_probe: bool = False,
    views: bool = False,
    conventions: Sequence[str] = (),
    page: str | os.PathLike[str] | None = None,
) -> Path:
    """Evaluates the run in `workdir` and writes the results.

    Writes metrics.json, cases.csv, index.html and the model card README.md, and replaces old ones
    together.

    Args:
      workdir: the folder of a training run of any stage.
      split: the split to evaluate on.
      output: folder for the files; None: WORKDIR/evaluation.
      data_dir: where the dataset is prepared; None: where the run read it.
      batch_size: cases per batch; None: 4 volumes, 16 radiographs, 32 for grading.
      step: checkpoint; None: the best by the stage's selection metric, otherwise the newest.
      linear_probe: for an auto-encoder, evaluates a logistic regression from its bottleneck to the
        grade instead of the reconstructions.
      views: for a classifier, averages the logits over views of a radiograph.
      conventions: for volumes, additional metric conventions, see `metrics.conventions`.
      page: path for a single-file report of at most `pages.LARGEST_SINGLE` bytes; None: none.

    Returns:
      The path of the report, index.html.

    Raises:
      InputError: if the run, the dataset, the split or the folder cannot be used, or another
        evaluation into the folder is running.
    """
    model = load_best(workdir, step)
    stage = model.stage
    other_conventions.require(conventions)
    if conventions and not isinstance(stage, Predicts):
        raise InputError(
            f"{workdir}: --conventions does not apply to the stage {stage.name!r}, expected one "
            "that predicts volumes"
        )
    if batch_size is not None and batch_size < 1:
        raise InputError(f"--batch_size: {batch_size} found, expected at least 1")
    data = model.config["data"]
    builder = datasets.load_builder(data["dataset"], data_dir or data["data_dir"])
    inference_settings.require_same_contrast(model.config, builder)
    splits = {"split": split, "train_split": data["train_split"], "seed": SEED}
    knees, doubts = origin(data["dataset"], builder, split)
    evaluated = {
        "workdir": str(workdir),
        "stage": stage.name,
        "step": model.step,
        "weights_sha256": model_card.weights_sha256(model),
        "dataset": data["dataset"],
        "knees": knees,
        "dtype_trained": model.config.get("dtype", "unknown"),
        "dtype_evaluated": inference_settings.dtype_name(model.config),
        **splits,
        "doubts": _doubts(model, workdir, builder, split, doubts),
        "xr2mri_jax": xr2mri_jax.__version__,
    }
    folder = Path(workdir) / "evaluation" if output is None else Path(output)
    output_paths.require_writable(folder, "--output")
    single = None if page is None else Path(page)
    if single is not None:
        place = OutputPlace("--page", single)
        pages.require_single(single, place.flag)
        require_separate([OutputPlace("--output", folder / pages.INDEX), place])
    request = EvaluationRequest(
        model, builder, folder, splits, batch_size, evaluated, single, tuple(conventions)
    )
    if views and (linear_probe or not isinstance(stage, Classifies)):
        raise InputError(
            f"{workdir}: --views does not apply to the stage {stage.name!r}, expected a classifier"
        )
    with lock.hold_beside(folder, "an evaluation"):
        return _evaluated(request, linear_probe, views)


def _doubts(
    model: LoadedModel,
    workdir: str | os.PathLike[str],
    builder: Any,
    split: str,
    of_origin: list[str],
) -> list[str]:
    """Warns of doubts about the run's start and the evaluated subjects, and returns them."""
    found = [*read_run(workdir)["doubts"], *doubts_of_evaluation(model, builder, split), *of_origin]
    for doubt in found:
        logging.warning(doubt)
    return found


def _evaluated(request: EvaluationRequest, linear_probe: bool, views: bool) -> Path:
    """Runs the evaluation that fits the stage; arguments and errors as for `evaluate_workdir`."""
    stage, workdir = request.model.stage, request.evaluated["workdir"]
    if linear_probe:
        if not isinstance(stage, Encodes):
            raise InputError(
                f"{workdir}: --linear_probe does not apply to the stage {stage.name!r}, expected "
                "an auto-encoder"
            )
        return _probe(request, stage)
    if isinstance(stage, Predicts):
        return _volumes(request, stage)
    if isinstance(stage, Reconstructs):
        return _radiographs(request, stage)
    if isinstance(stage, Classifies):
        return _grades(request, stage, views)
    raise InputError(
        f"{workdir}: found the stage {stage.name!r}, expected one that predicts volumes, "
        "radiographs or grades"
    )


def _volumes(request: EvaluationRequest, stage: Predicts) -> Path:
    model = request.model
    params, model_state = jax.device_put((model.params, model.model_state))
    predict = jax.jit(stage.predict)
    distances: Distances | None = None
    if has_surfaces(model):
        assert isinstance(stage, Surfaces)
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
            origin=request.evaluated["knees"],
            also=request.conventions,
            **request.splits,
        )
        word = origin_adjective(request.evaluated["knees"])
        pictures = [
            report.volume_picture(text, word, found.xrays[i, ..., 0], *store.pair(i))
            for text, i in extremes(found)
        ]
        labels = property_errors.labels_of(request.builder, split)
        rank = Picture(
            figures.ranks(found.cases["retrieval_rank"]),
            f"Retrieval: rank of the own volume among all {word} volumes of the split, ordered by "
            "distance to the prediction.",
            "Histogram of the rank of the own volume",
        )
        if distances is not None and labels is not None:
            found.metrics["labels"] = label_maps.evaluate(
                distances,
                labels,
                found.xrays,
                controls.shuffled(found.cases["subject"], SEED),
                label_maps.mean_distances(request.builder, request.splits["train_split"]),
                found.cases["subject"],
                SEED,
            )
        uncertainty, doubt = uncertainty_of(request.evaluated["workdir"], model)
        doubts = [doubt] if doubt else []
        if uncertainty is not None:
            doubts += coverage.doubts(uncertainty, request.evaluated["dataset"], split)
            seen = coverage.of_split(uncertainty, model, request.builder, split)
            found.metrics["uncertainty"] = seen.summary(found.cases["subject"], SEED)
        for doubt in doubts:
            logging.warning(doubt)
        about = {**request.evaluated, "doubts": [*request.evaluated["doubts"], *doubts]}
        source = viewer_cases.Source(found, store, labels, distances, uncertainty)
        doubted = dataclasses.replace(request, evaluated=about)
        return write(found, doubted, [bars(found), rank], pictures, source)


def _radiographs(request: EvaluationRequest, stage: Reconstructs) -> Path:
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
    return write(found, request, [bars(found)], pictures)


def _grades(request: EvaluationRequest, stage: Classifies, views: bool) -> Path:
    params, model_state = jax.device_put((request.model.params, request.model.model_state))
    about = dataclasses.replace(request, evaluated={**request.evaluated, "views": views})

    @jax.jit
    def classify(params: Any, model_state: Any, xray: Any) -> jax.Array:
        once = partial(stage.classify, params, model_state)
        return averaged(once, xray) if views else once(xray)

    data = request.model.config["data"]
    return _classified(about, lambda xray: classify(params, model_state, xray), data)


def _probe(request: EvaluationRequest, stage: Encodes) -> Path:
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


def _classified(
    request: EvaluationRequest, logits: classifier.Logits, data: Mapping[str, Any]
) -> Path:
    found = classifier.evaluate(
        logits,
        request.builder,
        data,
        split=request.splits["split"],
        batch_size=request.batch_size or 32,
        seed=SEED,
    )
    return write_grades(found, request)
