"""Saves and restores the training state of a run, and loads trained models."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax.serialization
import jax

from xr2mri_jax import files, stages, workdir
from xr2mri_jax.errors import InputError
from xr2mri_jax.stages.base import Chooses, Stage
from xr2mri_jax.training import config as recipe
from xr2mri_jax.training import parallel, run_log
from xr2mri_jax.training.state import TrainState


@dataclasses.dataclass(frozen=True)
class LoadedModel:
    """A trained stage.

    Attributes:
      config: the resolved config of its run.
      stage: the stage of the config.
      params: numpy arrays, by default the moving average.
      model_state: numpy arrays.
      step: the number of training steps.
    """

    config: dict[str, Any]
    stage: Stage
    params: Any
    model_state: Any
    step: int


def load_model(
    folder: str | os.PathLike[str], step: int | None = None, ema: bool = True
) -> LoadedModel:
    """Loads the model of a run; reads only this folder, not those of earlier stages.

    Args:
      folder: the run's workdir.
      step: the checkpoint; None: the newest.
      ema: the moving average of the parameters instead of those of the last step.

    Raises:
      InputError: if there is no such checkpoint, it is damaged, or it does not belong to the run's
        config.
    """
    config = workdir.read_config(folder)
    stage = stages.make_stage(config)
    place, state, _ = workdir.read_checkpoint(folder, step)
    _require_config(place, config)
    params = state["ema_params" if ema else "params"]
    wanted = jax.eval_shape(lambda: stage.create(jax.random.key(0)))
    workdir.require_shapes(folder, params, wanted[0])
    workdir.require_shapes(folder, state["model_state"], wanted[1])
    return LoadedModel(config, stage, params, state["model_state"], int(state["step"]))


def load_chosen(folder: str | os.PathLike[str], step: int | None = None) -> LoadedModel:
    """The model of a run at `step`; None: the best by the stage's `chosen_by`, or the newest."""
    model = load_model(folder, step=step)
    if step is None and isinstance(model.stage, Chooses):
        best = run_log.best_step(Path(folder), model.stage.chosen_by, workdir.steps(folder))
        if best not in (None, model.step):
            return load_model(folder, step=best)
    return model


@dataclasses.dataclass(frozen=True)
class Restored:
    """A training state to continue from.

    Attributes:
      state: numpy arrays.
      position: this host's position in its input, as text.
      sums: the host's metric sums since the last log line.
      devices: the number of devices it was trained on, None if unknown.
      data: fingerprints of the splits by name, {} if unknown.
    """

    state: TrainState
    position: str
    sums: dict[str, Any]
    devices: int | None
    data: dict[str, str]


def save(
    folder: str | os.PathLike[str],
    state: TrainState,
    position: str,
    sums: Mapping[str, Any],
    config: Mapping[str, Any],
    devices: int | None = None,
    data: Mapping[str, str] | None = None,
) -> None:
    """Writes the state after its step; all hosts call it together, and the first one writes.

    Args:
      folder: the run's workdir, visible to all hosts.
      state: the state on the devices.
      position: this host's position in its input, as text.
      sums: the host's metric sums since the last log line, JSON-able.
      config: resolved; its `keep` is the number of checkpoints to keep.
      devices: number of devices of all hosts.
      data: fingerprints of the splits by name.
    """
    positions = parallel.gather_text(position)
    if parallel.host_index() == 0:
        arrays = flax.serialization.to_state_dict(parallel.unreplicate(state))
        progress = {
            "input": positions,
            "record": sums,
            "devices": devices,
            "data": dict(data or {}),
        }
        workdir.write_step(folder, int(arrays["step"]), arrays, progress, config, config["keep"])
    parallel.wait_for_hosts("checkpoint")


def restore(
    folder: str | os.PathLike[str], like: TrainState, config: Mapping[str, Any] | None = None
) -> Restored | None:
    """The newest checkpoint of the run, or None if it has none.

    Args:
      folder: the run's workdir.
      like: abstract state of the config's model.
      config: resolved; the config that the checkpoint must have been trained with. None: any.

    Raises:
      InputError: if the newest checkpoint is damaged (there is no silent fallback to an older one),
        does not fit `like` or `config`, or was written by another number of hosts.
    """
    if not workdir.steps(folder):
        return None
    place, stored, progress = workdir.read_checkpoint(folder)
    if config is not None:
        _require_config(place, config)
    workdir.require_shapes(place, stored, flax.serialization.to_state_dict(like))
    positions = progress["input"]
    if len(positions) != parallel.host_count():
        raise InputError(
            f"checkpoint {place} was written by {len(positions)} hosts, this run has "
            f"{parallel.host_count()}: their shards of the dataset would not match"
        )
    return Restored(
        flax.serialization.from_state_dict(like, stored),
        positions[parallel.host_index()],
        progress["record"],
        progress.get("devices"),
        progress.get("data", {}),
    )


def _require_config(place: Path, config: Mapping[str, Any]) -> None:
    """Refuses a checkpoint that was trained with a config other than the run's current one."""
    differs = recipe.difference(files.read_json(place / workdir.CONFIG), config)
    if differs is not None:
        key, own, now = differs
        raise InputError(
            f"checkpoint {place} was trained with config.{key}={own!r}, the run's {workdir.CONFIG} "
            f"has {now!r}, expected the same"
        )
