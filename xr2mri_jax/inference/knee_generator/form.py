"""The files of a packaged generator: float16 weights of encoder and generator, a description."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import traverse_util

from xr2mri_jax import stages, workdir
from xr2mri_jax.inference import model_files
from xr2mri_jax.inference.unlikeness import Likeness
from xr2mri_jax.training import config as recipe
from xr2mri_jax.training.checkpoint import LoadedModel

FORM = 1
_KEYS = ("config", "step", "features", "training")
_PARTS = ("encoder", "generator")


def write(
    folder: Path, model: LoadedModel, likeness: Likeness, training: Mapping[str, Any]
) -> None:
    """Writes weights.npz and model.json into an existing folder.

    Args:
      folder: the folder.
      model: of a generator or joint stage; parts not needed for prediction are left out.
      likeness: statistics of the encoder's hidden variables.
      training: JSON-able; the provenance of the model.
    """
    params = model_files.rounded({name: model.params[name] for name in _PARTS})
    arrays = {
        name: np.asarray(value, np.float16)
        for name, value in traverse_util.flatten_dict(params, sep="/").items()
    }
    arrays |= {
        "features/mean": likeness.mean,
        "features/deviation": likeness.deviation,
        "features/factor": likeness.factor,
    }
    description = {
        "form": FORM,
        "config": {"model": model.config["model"], "dataset": model.config["data"]["dataset"]},
        "step": int(model.step),
        "features": {"distance_one": likeness.scale},
        "training": dict(training),
    }
    model_files.write(folder, arrays, description)


def read(folder: str | os.PathLike[str]) -> tuple[LoadedModel, Likeness]:
    """Reads what `write` wrote.

    Raises:
      InputError: a file is missing, damaged, of another format, or belongs to another model.
    """
    place = Path(folder)
    described, flat = model_files.read(place, "generator", FORM, _KEYS)
    mean, deviation, factor = (
        flat.pop(f"features/{name}") for name in ("mean", "deviation", "factor")
    )
    likeness = Likeness(mean, deviation, factor, described["features"]["distance_one"])
    as_f32 = {name: value.astype(np.float32) for name, value in flat.items()}
    params = traverse_util.unflatten_dict(as_f32, sep="/")
    config = recipe.plain(recipe.default("generator"))
    config["model"] = described["config"]["model"]
    config["data"]["dataset"] = described["config"]["dataset"]
    stage = stages.make_stage(config)
    wanted = jax.eval_shape(lambda: stage.create(jax.random.key(0)))[0]
    workdir.require_shapes(place / model_files.WEIGHTS, params, wanted)
    return LoadedModel(config, stage, params, {}, int(described["step"])), likeness
