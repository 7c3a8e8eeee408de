"""The training state to and from a run's folder."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import flax.serialization

from xr2mri_jax import workdir
from xr2mri_jax.training import parallel
from xr2mri_jax.training.loaded_model import require_config
from xr2mri_jax.training.state import TrainState


@dataclasses.dataclass(frozen=True)
class Restored:
    """A training state to continue from.

    Attributes:
      state: numpy arrays.
      position: the position in the input, as text, valid for any number of hosts.
      sums: the metric sums since the last log line, over all hosts.
      devices: the number of devices it was trained on, None if unknown.
      hosts: the number of hosts that it was trained on.
      data: fingerprints of the splits by name, {} if unknown.
    """

    state: TrainState
    position: str
    sums: dict[str, Any]
    devices: int | None
    hosts: int
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
      position: the position in the input, as text, the same on every host.
      sums: the metric sums since the last log line, JSON-able.
      config: resolved; its `keep` is the number of checkpoints to keep.
      devices: number of devices of all hosts.
      data: fingerprints of the splits by name.

    Raises:
      RuntimeError: if the hosts are at different positions.
    """
    positions = parallel.gather_text(position)
    if len(set(positions)) > 1:
        raise RuntimeError(f"the hosts are at different positions in the input: {positions}")
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
        or does not fit `like` or `config`.
    """
    if not workdir.steps(folder):
        return None
    place, stored, progress = workdir.read_checkpoint(folder)
    if config is not None:
        require_config(place, config)
    workdir.require_shapes(place, stored, flax.serialization.to_state_dict(like))
    positions = progress["input"]
    return Restored(
        flax.serialization.from_state_dict(like, stored),
        positions[0],
        progress["record"],
        progress.get("devices"),
        len(positions),
        progress.get("data", {}),
    )
