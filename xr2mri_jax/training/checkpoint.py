"""The training state to and from a run's folder."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import flax.serialization

from xr2mri_jax import workdir
from xr2mri_jax.errors import InputError
from xr2mri_jax.training import parallel
from xr2mri_jax.training.state import TrainState
from xr2mri_jax.training.trained import require_config


@dataclasses.dataclass(frozen=True)
class Restored:
    """A training state to continue from.

    Attributes:
      state: numpy arrays.
      position: this host's place in its input, as text.
      sums: the host's open sums of metrics.
      devices: how many it was trained on, None where the checkpoint does not tell.
      data: fingerprints of the splits by name, {} where the checkpoint does not tell.
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
    """Writes the state after its step; all hosts call it together, the first one writes.

    Args:
      folder: the run's workdir, seen by all hosts.
      state: on the devices.
      position: this host's place in its input, as text.
      sums: the host's open sums of metrics, JSON-able.
      config: resolved; `keep` of it says how many checkpoints stay.
      devices: how many there are, over all hosts.
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
    """The newest checkpoint of the run, or None where it has none.

    Args:
      folder: the run's workdir.
      like: abstract state of the config's model.
      config: resolved; what the checkpoint must have been trained with. None: anything.

    Raises:
      InputError: where the newest checkpoint is broken (an older one is not taken silently), does
        not fit `like` or `config`, or was written by another number of hosts.
    """
    if not workdir.steps(folder):
        return None
    place, stored, progress = workdir.read_checkpoint(folder)
    if config is not None:
        require_config(place, config)
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
