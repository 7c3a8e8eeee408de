"""Reads the model spec and the parameters from the run of an earlier stage."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from xr2mri_jax import workdir
from xr2mri_jax.errors import InputError


def workdir_of(key: str, value: str, command: str) -> Path:
    """The workdir of an earlier stage that `config[key]` names.

    Args:
      key: the config's key.
      value: its value, a folder.
      command: the command that trains that stage.

    Raises:
      InputError: if the value is empty or the folder has no run; the message gives the command.
    """
    if not value:
        raise InputError(
            f"config.{key} is empty: train that stage first with `{command}` and name its folder "
            f"with --config.{key}=DIR"
        )
    if not (Path(value) / "config.json").is_file():
        raise InputError(
            f"config.{key}={value} contains no config.json: train it first with `{command}`"
        )
    return Path(value)


def model_spec(directory: Path, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """config.model[name] of the run in `directory`, checked against the keys of `given`.

    Raises:
      InputError: if that run's config has no such model, or another value for a key of `given`.
    """
    found = workdir.read_config(directory).get("model", {}).get(name)
    if not found:
        raise InputError(f"{directory}/config.json: found no model.{name}, expected one")
    return require_same_spec(found, name, given, directory)


def require_same_spec(
    found: Mapping[str, Any], name: str, given: Mapping[str, Any], where: Any
) -> dict[str, Any]:
    """Returns the spec `found` after checking it against the keys of `given`.

    Raises:
      InputError: if a key of `given` has another value in `found`, which comes from `where`.
    """
    for key in sorted(given):
        if key not in found or given[key] != found[key]:
            raise InputError(
                f"config.model.{name}.{key} is {given[key]!r}, but {where} was trained with "
                f"{found.get(key)!r}: leave config.model.{name} empty to take it from there"
            )
    return dict(found)


def averaged_params(directory: Path) -> dict[str, Any]:
    """The averaged parameters of the newest checkpoint in `directory`."""
    return workdir.load_state(directory)["ema_params"]


def replace_part(params: dict[str, Any], name: str, loaded: Any, source: Path) -> dict[str, Any]:
    """`params` with the part `name` replaced by the parameters of an earlier stage.

    Raises:
      InputError: if the two trees differ in structure or in a shape.
    """
    ours, theirs = (jax.tree_util.tree_leaves_with_path(tree) for tree in (params[name], loaded))
    shapes = [{jax.tree_util.keystr(k): np.shape(v) for k, v in tree} for tree in (ours, theirs)]
    if shapes[0] != shapes[1]:
        keys = sorted(shapes[0].keys() | shapes[1].keys())
        key = next(k for k in keys if shapes[0].get(k) != shapes[1].get(k))
        raise InputError(
            f"{source}: its {name}{key} has shape {shapes[1].get(key)}, expected "
            f"{shapes[0].get(key)} from the config"
        )
    return {**params, name: loaded}
