"""The training state to and from a run's folder, and trained models for whoever uses them."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax.serialization
import jax

from xr2mri_jax import stages, workdir
from xr2mri_jax.errors import InputError
from xr2mri_jax.stages.base import Chooses, Stage
from xr2mri_jax.training import parallel, record
from xr2mri_jax.training.state import TrainState


@dataclasses.dataclass(frozen=True)
class LoadedModel:
    """A trained stage.

    Attributes:
      config: the resolved config of its run.
      stage: made from it.
      params: numpy arrays, averaged ones unless others were asked for.
      model_state: numpy arrays.
      step: after how many steps.
    """

    config: dict[str, Any]
    stage: Stage
    params: Any
    model_state: Any
    step: int


def load_model(
    folder: str | os.PathLike[str], step: int | None = None, ema: bool = True
) -> LoadedModel:
    """The model of a run; only this folder is read, none of an earlier stage.

    Args:
      folder: the run's workdir.
      step: which checkpoint; None: the newest.
      ema: the averaged parameters rather than those of the last step.

    Raises:
      InputError: where there is no such checkpoint, it is broken, or it does not fit its config.
    """
    config = workdir.read_config(folder)
    stage = stages.make_stage(config)
    state = workdir.load_state(folder, step)
    params = state["ema_params" if ema else "params"]
    wanted = jax.eval_shape(lambda: stage.create(jax.random.key(0)))
    workdir.require_shapes(folder, params, wanted[0])
    workdir.require_shapes(folder, state["model_state"], wanted[1])
    return LoadedModel(config, stage, params, state["model_state"], int(state["step"]))


def load_chosen(folder: str | os.PathLike[str], step: int | None = None) -> LoadedModel:
    """The model of a run at `step`; None: the newest, or the best by what the stage chooses by."""
    model = load_model(folder, step=step)
    if step is None and isinstance(model.stage, Chooses):
        best = record.best_step(Path(folder), model.stage.chosen_by, workdir.steps(folder))
        if best not in (None, model.step):
            return load_model(folder, step=best)
    return model


def save(
    folder: str | os.PathLike[str],
    state: TrainState,
    position: str,
    sums: Mapping[str, Any],
    config: Mapping[str, Any],
) -> None:
    """Writes the state after its step; all hosts call it together, the first one writes.

    Args:
      folder: the run's workdir, seen by all hosts.
      state: on the devices.
      position: this host's place in its input, as text.
      sums: the host's open sums of metrics, JSON-able.
      config: resolved; `keep` of it says how many checkpoints stay.
    """
    positions = parallel.gather_text(position)
    if parallel.host_index() == 0:
        arrays = flax.serialization.to_state_dict(parallel.unreplicate(state))
        progress = {"input": positions, "record": sums}
        workdir.write_step(folder, int(arrays["step"]), arrays, progress, config, config["keep"])
    parallel.wait_for_hosts("checkpoint")


def restore(
    folder: str | os.PathLike[str], like: TrainState
) -> tuple[TrainState, str, dict[str, Any]] | None:
    """The newest checkpoint of the run, or None where it has none.

    Args:
      folder: the run's workdir.
      like: abstract state of the config's model.

    Returns:
      The state as numpy arrays, this host's input position, the open sums.

    Raises:
      InputError: where the newest checkpoint is broken (an older one is not taken silently), does
        not fit `like`, or was written by another number of hosts.
    """
    found = workdir.steps(folder)
    if not found:
        return None
    place = workdir.step_folder(Path(folder), found[-1])
    stored, progress = workdir.read_step(place)
    workdir.require_shapes(place, stored, flax.serialization.to_state_dict(like))
    positions = progress["input"]
    if len(positions) != parallel.host_count():
        raise InputError(
            f"checkpoint {place} was written by {len(positions)} hosts, this run has "
            f"{parallel.host_count()}: their shards of the dataset would not match"
        )
    state = flax.serialization.from_state_dict(like, stored)
    return state, positions[parallel.host_index()], progress["record"]
