"""The stages: one module per stage, found by its file name.

A module of this package is a stage if it defines
  STAGE     the class that creates a `base.Stage` from a resolved config,
  DEFAULTS  its own config keys with their defaults, added to the common ones of `training.config`,
  resolve   a function that completes the config, see `resolve` below.
A new stage is one file here and one recipe of the same name in configs/.
"""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from typing import Any, Protocol, cast

from xr2mri_jax.errors import InputError
from xr2mri_jax.stages.base import Stage


class StageModule(Protocol):
    """The names that the module of a stage defines, see the package docstring."""

    STAGE: Callable[[Any], Stage]
    DEFAULTS: Mapping[str, Any]
    resolve: Callable[[dict[str, Any], Mapping[str, Any] | None], dict[str, Any]]


def names() -> tuple[str, ...]:
    """The names of the stages, in alphabetical order."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules(__path__) if _module(m.name)))


def defaults(name: str) -> Mapping[str, Any]:
    """The stage's own config keys, nested, with their defaults.

    Raises:
      InputError: if the stage is unknown.
    """
    return _known(name).DEFAULTS


def make_stage(config: Any) -> Stage:
    """Creates the stage of a resolved config.

    Args:
      config: mapping with `stage`, `model`, `loss`, `precision`; see `training.config`.

    Raises:
      InputError: if the stage is unknown or its model cannot be made from the config.
    """
    return _known(config["stage"]).STAGE(config)


def resolve(config: dict[str, Any], stored: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The config with all sizes filled in, including those from the workdirs of earlier stages.

    With the resolved config, prediction does not need the workdirs of earlier stages.

    Args:
      config: plain values, as `training.config.plain` returns them.
      stored: the resolved config of the run to continue, in which case the workdirs of earlier
        stages are not read again; None for a new run.

    Raises:
      InputError: if a value of the stage's own keys cannot be used, or an earlier stage's
        workdir is missing or disagrees with the config.
    """
    return _known(config["stage"]).resolve(config, stored)


def _known(name: str) -> StageModule:
    if name not in names():
        raise InputError(f"config.stage is {name!r}, expected one of {', '.join(names())}")
    return cast(StageModule, _module(name))


def _module(name: str) -> StageModule | None:
    """The module of that name if it is a stage."""
    module = importlib.import_module(f"{__name__}.{name}")
    return cast(StageModule, module) if hasattr(module, "STAGE") else None
