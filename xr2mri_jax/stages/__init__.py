"""The stages: what is trained, in the order auto-encoder, generator, joint."""

from collections.abc import Callable
from typing import Any

from xr2mri_jax.errors import InputError
from xr2mri_jax.stages import cae, generator, joint
from xr2mri_jax.stages.base import Stage

STAGES: dict[str, Callable[[Any], Stage]] = {
    "cae": cae.CaeStage,
    "generator": generator.GeneratorStage,
    "joint": joint.JointStage,
}
RESOLVERS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "cae": dict,
    "generator": generator.resolve,
    "joint": joint.resolve,
}


def make_stage(config: Any) -> Stage:
    """The stage of a resolved config.

    Args:
      config: mapping with `stage`, `model`, `loss`, `precision`; see `training.config`.

    Raises:
      InputError: where the stage is unknown or its model cannot be made from the config.
    """
    return STAGES[_known(config)](config)


def resolve(config: Any) -> dict[str, Any]:
    """The config as plain values, with all that earlier stages' workdirs determine written into it.

    A workdir that holds the resolved config needs no other workdir to predict.

    Raises:
      InputError: where an earlier stage's workdir is missing or disagrees with the config.
    """
    return RESOLVERS[_known(config)](config)


def _known(config: Any) -> str:
    if config["stage"] not in STAGES:
        raise InputError(
            f"config.stage is {config['stage']!r}, expected one of {', '.join(sorted(STAGES))}"
        )
    return config["stage"]
