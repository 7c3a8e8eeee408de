"""The stages: what is trained: auto-encoder, generator, joint; and the classifier."""

from collections.abc import Callable, Mapping
from typing import Any

from xr2mri_jax.errors import InputError
from xr2mri_jax.stages import cae, generator, joint, siamese_gap
from xr2mri_jax.stages.base import Stage

STAGES: dict[str, Callable[[Any], Stage]] = {
    "cae": cae.CaeStage,
    "generator": generator.GeneratorStage,
    "joint": joint.JointStage,
    "siamese_gap": siamese_gap.SiameseGapStage,
}
RESOLVERS: dict[str, Callable[..., dict[str, Any]]] = {
    "cae": cae.resolve,
    "generator": generator.resolve,
    "joint": joint.resolve,
    "siamese_gap": siamese_gap.resolve,
}


def make_stage(config: Any) -> Stage:
    """The stage of a resolved config.

    Args:
      config: mapping with `stage`, `model`, `loss`, `precision`; see `training.config`.

    Raises:
      InputError: where the stage is unknown or its model cannot be made from the config.
    """
    return STAGES[_known(config)](config)


def resolve(config: dict[str, Any], stored: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The config with every size, and all that earlier stages' workdirs determine, written out.

    A workdir that holds the resolved config needs no other workdir to predict.

    Args:
      config: plain values, as `training.config.plain` gives them.
      stored: the resolved config of the run that is continued: earlier stages' workdirs are then
        not read again. None for a new run.

    Raises:
      InputError: where an earlier stage's workdir is missing or disagrees with the config.
    """
    return RESOLVERS[_known(config)](config, stored)


def _known(config: Any) -> str:
    if config["stage"] not in STAGES:
        raise InputError(
            f"config.stage is {config['stage']!r}, expected one of {', '.join(sorted(STAGES))}"
        )
    return config["stage"]
