"""Loads the model of a run: its config, stage and parameters, from a checkpoint."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from xr2mri_jax import files, stages, workdir
from xr2mri_jax.errors import InputError
from xr2mri_jax.stages.base import SelectsCheckpoint, Stage
from xr2mri_jax.training import config as recipe


@dataclasses.dataclass(frozen=True)
class LoadedModel:
    """A trained stage.

    Attributes:
      config: the resolved config of its run.
      stage: the stage of that config.
      params: numpy arrays, the averaged parameters by default.
      model_state: numpy arrays.
      step: number of training steps.
      fingerprints: of the training data by split, see `resume_checks`; {} if unknown.
    """

    config: dict[str, Any]
    stage: Stage
    params: Any
    model_state: Any
    step: int
    fingerprints: Mapping[str, str] = dataclasses.field(default_factory=dict)


def load_model(
    folder: str | os.PathLike[str], step: int | None = None, ema: bool = True
) -> LoadedModel:
    """Loads the model of a run from its own folder; folders of earlier stages are not needed.

    Args:
      folder: the run's workdir.
      step: checkpoint; None: the newest.
      ema: whether to load the averaged parameters instead of those of the last step.

    Raises:
      InputError: the checkpoint does not exist, is damaged, does not fit the run's config or was
        trained with another config.
    """
    config = workdir.read_config(folder)
    stage = stages.make_stage(config)
    place, state, progress = workdir.read_checkpoint(folder, step)
    require_config(place, config)
    params = state["ema_params" if ema else "params"]
    wanted = jax.eval_shape(lambda: stage.create(jax.random.key(0)))
    workdir.require_shapes(folder, params, wanted[0])
    workdir.require_shapes(folder, state["model_state"], wanted[1])
    known = progress.get("data", {})
    return LoadedModel(config, stage, params, state["model_state"], int(state["step"]), known)


def load_best(folder: str | os.PathLike[str], step: int | None = None) -> LoadedModel:
    """Loads the model at `step`; None: the best step if the stage selects one, else the last."""
    model = load_model(folder, step=step)
    if step is None and isinstance(model.stage, SelectsCheckpoint):
        # Imported here, because the log writers take time that a prediction does not need.
        from xr2mri_jax.training import run_log

        best = run_log.best_step(Path(folder), model.stage.chosen_by, workdir.steps(folder))
        if best not in (None, model.step):
            return load_model(folder, step=best)
    return model


def require_config(place: Path, config: Mapping[str, Any]) -> None:
    """Raises InputError if a checkpoint was trained with a config that differs from `config`."""
    differs = recipe.difference(files.read_json(place / workdir.CONFIG), config)
    if differs is not None:
        key, own, now = differs
        raise InputError(
            f"checkpoint {place} was trained with config.{key}={own!r}, but the run's "
            f"{workdir.CONFIG} has {now!r}, expected the same value"
        )
