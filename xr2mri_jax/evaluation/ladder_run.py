"""Measures and draws the information ladder of a trained generator in one call."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
from absl import logging

import xr2mri_jax
from xr2mri_jax import datasets, files, output_paths
from xr2mri_jax.data import passes
from xr2mri_jax.datasets.data_origin import origin
from xr2mri_jax.errors import InputError
from xr2mri_jax.evaluation import ladder
from xr2mri_jax.presentation import ladder_figure
from xr2mri_jax.stages.base import Predicts
from xr2mri_jax.training import inference_settings
from xr2mri_jax.training.loaded_model import LoadedModel, load_best

NAME = "ladder"


def write(
    workdir: str | os.PathLike[str],
    output: str | os.PathLike[str],
    split: str = "test",
    also: Sequence[str | os.PathLike[str]] = (),
    data_dir: str | None = None,
    batch_size: int = 4,
    step: int | None = None,
) -> tuple[Path, dict[str, Any]]:
    """Writes ladder.svg, ladder.png and ladder.json together, replacing old ones atomically.

    Args:
      workdir: the run of a generator.
      output: folder for the files.
      split: the split to measure.
      also: runs of the same generator that were trained on parts of its training split.
      data_dir: where the dataset is prepared; None: where the run read it.
      batch_size: cases per batch.
      step: checkpoint of `workdir`; None: the newest.

    Returns:
      The folder and the content of ladder.json.

    Raises:
      InputError: a run, the dataset, the split or the folder cannot be used, or a run of `also`
        was trained on another dataset.
    """
    folder = Path(output)
    output_paths.require_writable(folder, "--output")
    if batch_size < 1:
        raise InputError(f"--batch_size: {batch_size} found, expected at least 1")
    model = _generator(workdir, step)
    others = {os.fspath(path): _generator(path, None) for path in also}
    data = model.config["data"]
    for path, other in others.items():
        if other.config["data"]["dataset"] != data["dataset"]:
            raise InputError(
                f"--also: {path} was trained on {other.config['data']['dataset']}, expected "
                f"{data['dataset']} as {workdir}"
            )
    builder = datasets.load_builder(data["dataset"], data_dir or data["data_dir"])
    inference_settings.require_same_contrast(model.config, builder)
    content = {
        "evaluated": {
            "workdir": os.fspath(workdir),
            "step": model.step,
            "dataset": data["dataset"],
            "split": split,
            "xr2mri_jax": xr2mri_jax.__version__,
        },
        **_measured(model, others, builder, split, batch_size),
    }
    drawn = ladder_figure.figure(content)
    with files.replaced_folder(folder) as place:
        files.write_json(place / f"{NAME}.json", content)
        for ending, image in drawn.items():
            (place / f"{NAME}.{ending}").write_bytes(image)
    return folder, content


def _measured(
    model: LoadedModel, others: dict[str, LoadedModel], builder: Any, split: str, batch_size: int
) -> dict[str, Any]:
    data = model.config["data"]
    train_split = data["train_split"]
    found = ladder.measure(
        _predict(model), builder, split, train_split, data["eval_split"], batch_size
    )
    runs = [
        {
            "workdir": path,
            "training_cases": passes.count(builder, other.config["data"]["train_split"]),
            ladder.WHOLE: ladder.of_run(_predict(other), builder, split, train_split, batch_size),
        }
        for path, other in others.items()
    ]
    knees, doubts = origin(data["dataset"], builder, split)
    for doubt in doubts:
        logging.warning(doubt)
    return {"knees": knees, "doubts": doubts, **found, "runs": runs}


def findings(content: dict[str, Any]) -> list[str]:
    """The explained share of each structure, one line each."""
    lines = []
    for structure, own in content["explained"][ladder.OWN].items():
        linear = content["explained"][ladder.LINEAR][structure]
        if own is not None:
            lines.append(
                f"{structure}: the generator explains {_estimate(own)} of the variance around the "
                f"mean, linear regression {_estimate(linear)}"
            )
    return lines


def _estimate(one: dict[str, Any]) -> str:
    ends = "" if one["ci95"] is None else f" ({one['ci95'][0]:.2f} to {one['ci95'][1]:.2f})"
    return f"{one['explained']:.2f}{ends}"


def _generator(workdir: str | os.PathLike[str], step: int | None) -> LoadedModel:
    model = load_best(workdir, step)
    if not isinstance(model.stage, Predicts):
        raise InputError(
            f"{workdir}: found the stage {model.stage.name!r}, expected one that predicts volumes"
        )
    return model


def _predict(model: LoadedModel) -> ladder.Predict:
    stage = model.stage
    assert isinstance(stage, Predicts)
    params, model_state = jax.device_put((model.params, model.model_state))
    predict = jax.jit(stage.predict)
    return lambda xray: predict(params, model_state, xray)
