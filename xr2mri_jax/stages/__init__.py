"""The stages, what is trained: one module each, found by its file's name.

A module of this package is a stage where it defines
  STAGE     the class that makes a `base.Stage` from a resolved config,
  DEFAULTS  the keys of its config beside the common ones of `training.config`, with their defaults,
  resolve   the config with all that earlier runs determine written out, see `resolve` below.
A new stage is a file here and a recipe of the same name in configs/.
"""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from typing import Any, Protocol, cast

from xr2mri_jax.errors import InputError
from xr2mri_jax.stages.base import Stage


class StageModule(Protocol):
    """What the module of a stage defines, see this package's first lines."""

    STAGE: Callable[[Any], Stage]
    DEFAULTS: Mapping[str, Any]
    resolve: Callable[[dict[str, Any], Mapping[str, Any] | None], dict[str, Any]]


def names() -> tuple[str, ...]:
    """The stages that there are, in alphabetical order."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules(__path__) if _module(m.name)))


def defaults(name: str) -> Mapping[str, Any]:
    """The keys that the config of a stage has beside the common ones, nested, with their defaults.

    Raises:
      InputError: if the stage is unknown.
    """
    return _known(name).DEFAULTS


def make_stage(config: Any) -> Stage:
    """The stage of a resolved config.

    Args:
      config: mapping with `stage`, `model`, `loss`, `precision`; see `training.config`.

    Raises:
      InputError: if the stage is unknown or its model cannot be made from the config.
    """
    return _known(config["stage"]).STAGE(config)


def resolve(config: dict[str, Any], stored: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The config with every size, and all that earlier stages' workdirs determine, written out.

    A workdir that holds the resolved config needs no other workdir to predict.

    Args:
      config: plain values, as `training.config.plain` gives them.
      stored: the resolved config of the run that is continued: earlier stages' workdirs are then
        not read again. None for a new run.

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
    """The module of that name where it is a stage."""
    module = importlib.import_module(f"{__name__}.{name}")
    return cast(StageModule, module) if hasattr(module, "STAGE") else None
