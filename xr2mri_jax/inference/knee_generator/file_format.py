"""Writes and reads the files of a packaged generator, see `inference.model_files`."""

import functools
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from xr2mri_jax import stages
from xr2mri_jax.errors import InputError
from xr2mri_jax.inference import model_files
from xr2mri_jax.inference.knee_generator.description import KIND
from xr2mri_jax.inference.novelty import NoveltyDetector, deepest_features
from xr2mri_jax.preprocess.contrast import contrast_of
from xr2mri_jax.stages import cae, generator
from xr2mri_jax.training import config as recipe
from xr2mri_jax.training.loaded_model import LoadedModel

_PARTS = ("encoder", "generator")


def write(
    folder: Path, model: LoadedModel, novelty_detector: NoveltyDetector, training: Mapping[str, Any]
) -> None:
    """Writes weights.npz and model.json into an existing folder.

    Args:
      folder: the folder.
      model: of a generator or joint stage; parts not needed for prediction are left out.
      novelty_detector: on the encoder's hidden variables.
      training: JSON-able; the provenance of the model.
    """
    tree = model_files.rounded({name: model.params[name] for name in _PARTS})
    described = {
        "config": {"model": model.config["model"], "dataset": model.config["data"]["dataset"]},
        "contrast": contrast_of(model.config),
        "step": int(model.step),
        "training": dict(training),
    }
    model_files.write(folder, KIND, tree, novelty_detector, described)


def read(folder: str | os.PathLike[str], own: bool = False) -> tuple[LoadedModel, NoveltyDetector]:
    """Reads what `write` wrote.

    Args:
      folder: with both files.
      own: the files are the package's own: skips tracing the network to check the shapes, which
        takes half a second.

    Raises:
      InputError: a file is missing, damaged, of another format, or belongs to another model.
    """
    path = Path(folder) / model_files.DESCRIPTION

    def shapes(described: Mapping[str, Any]) -> tuple[Any, int] | None:
        if own:
            return None
        try:
            return _shapes(json.dumps(described["config"]))
        except (ValueError, TypeError, OverflowError) as error:  # inconsistent sizes
            raise InputError(f"{path}: config.model: {error}") from error

    described, params, novelty_detector = model_files.read(folder, KIND, shapes)
    config, stage = _made(described["config"])
    config["data"]["contrast"] = described["contrast"]
    return LoadedModel(config, stage, params, {}, described["step"]), novelty_detector


@functools.lru_cache(maxsize=4)
def _shapes(described: str) -> tuple[Any, int]:
    """The shapes of all parameters, and the number of features, of a description's config."""
    config, stage = _made(json.loads(described))
    tree = jax.eval_shape(lambda: stage.create(jax.random.key(0)))[0]
    xray = jax.ShapeDtypeStruct((1, *config["model"]["cae"]["image_shape"], 1), np.float32)
    features = jax.eval_shape(lambda p, x: deepest_features(stage, p, x), tree, xray)
    return tree, features.shape[-1]


def _made(described: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
    """The config and the stage of a description's config; ValueError for inconsistent sizes."""
    config = recipe.plain(recipe.default("generator"))
    sizes = described["model"]
    specs = cae.full_spec(sizes["cae"]), generator.full_spec(sizes["generator"])
    xray, volume = specs[0]["image_shape"], specs[1]["volume_shape"]
    if list(volume[1:]) != list(xray):
        raise ValueError(f"found the volume {list(volume)}, expected one of depth + {list(xray)}")
    config["model"] = dict(zip(("cae", "generator"), specs, strict=True))
    config["data"]["dataset"] = described["dataset"]
    return config, stages.make_stage(config)
