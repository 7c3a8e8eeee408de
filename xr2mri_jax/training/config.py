"""The config of a run: its keys, their defaults, and their valid values.

This file has the keys common to all stages. A stage adds its own (`stages.defaults`) and checks
their ranges when it resolves a config.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import ml_collections

from xr2mri_jax import stages
from xr2mri_jax.data.augment import STRENGTHS
from xr2mri_jax.errors import InputError
from xr2mri_jax.preprocess.radiograph import DEFAULT_CONTRAST

# Keys that may change when a run is continued, besides the folders of earlier stages (EARLIER).
# They do not change the result of a step, except `steps`, which rescales the learning rate
# schedule.
FREE_ON_RESUME = (
    "steps",
    "log_every",
    "eval_every",
    "checkpoint_every",
    "keep",
    "parallel",
    "mesh_depth",
    "precision",  # the resulting `dtype` must not change
    "cpu_devices",
    "data.data_dir",
    "data.cache",
)
# Suffix of the keys that name folders of earlier stages.
EARLIER = "_workdir"
CHOICES = {"parallel": ("pmap", "jit"), "precision": ("auto", "float32", "bfloat16")}
LEAST = {
    "seed": 0,
    "steps": 1,
    "log_every": 1,
    "eval_every": 1,
    "checkpoint_every": 1,
    "keep": 1,
    "mesh_depth": 1,
    "cpu_devices": 0,
    "data.batch_size": 1,
    "optimizer.learning_rate": 0.0,
    "optimizer.muon_learning_rate": 0.0,
    "optimizer.warmup_steps": 0,
    "optimizer.weight_decay": 0.0,
    "optimizer.clip_norm": 0.0,
    "optimizer.ema_decay": 0.0,
}
BELOW_ONE = ("optimizer.ema_decay",)
COMMON: Mapping[str, Any] = {
    "seed": 0,
    "data": {
        "dataset": "knee_phantom/default",
        "data_dir": "workdir/data",
        "train_split": "train",
        "eval_split": "validation",
        "batch_size": 16,
        "cache": False,
        "also": "",
        "augment": dict.fromkeys(STRENGTHS, 0.0),
    },
    "model": {},
    "loss": {},
    "optimizer": {
        "learning_rate": 1e-3,
        "muon_learning_rate": 0.0,
        "warmup_steps": 100,
        "weight_decay": 1e-4,
        "clip_norm": 1.0,
        "ema_decay": 0.999,
    },
    "steps": 1000,
    "log_every": 20,
    "eval_every": 500,
    "checkpoint_every": 500,
    "keep": 2,
    "parallel": "pmap",
    "mesh_depth": 1,
    "cpu_devices": 1,
    "precision": "auto",
}


def default(stage: str) -> ml_collections.ConfigDict:
    """The default config of a stage, with all of its keys.

    Args:
      stage: one of `stages.names()`.

    Raises:
      InputError: if the stage is unknown.
    """
    config = _merged(COMMON, stages.defaults(stage))
    return ml_collections.ConfigDict({"stage": stage, **config})


def variant(
    name: str, known: Mapping[str, Callable[[ml_collections.ConfigDict], None]], stage: str
) -> ml_collections.ConfigDict:
    """The stage's default config changed by one of its variants.

    Args:
      name: the part after the colon in --config=FILE:NAME, or "".
      known: functions that change the config in place, by name of the variant.
      stage: the stage's name.

    Raises:
      InputError: if the name is unknown.
    """
    if name not in known:
        expected = ", ".join(repr(key) for key in known)
        raise InputError(f"--config: found the variant {name!r}, expected one of {expected}")
    config = default(stage)
    known[name](config)
    return config


def plain(config: Any) -> dict[str, Any]:
    """The config as JSON-able dicts, lists, numbers and text."""
    return _plain(config.to_dict() if isinstance(config, ml_collections.ConfigDict) else config)


def validate(config: Mapping[str, Any]) -> None:
    """Checks a plain config against the keys, types and ranges of its stage.

    Command-line overrides get the type of the field that they replace: `--config.parallel=3`
    arrives as text and is refused here.

    Raises:
      InputError: naming the first key that is unknown, missing or wrong.
    """
    wanted = dict(_leaves(plain(default(config.get("stage", "")))))
    found = dict(_leaves(config))
    for key in sorted(found.keys() | wanted.keys()):
        if key == "model" or key.startswith("model."):
            continue  # The models check their own keys.
        if key not in wanted:
            raise InputError(f"config.{key} is not a key of the stage {config['stage']}")
        if key not in found:
            raise InputError(f"config.{key} is missing")
        _check_value(key, found[key], wanted[key])
    _check_models(config, stages.defaults(config["stage"]).get("model", {}))


def require_same_run(stored: Mapping[str, Any], config: Mapping[str, Any], workdir: Any) -> None:
    """Refuses to continue a run with a config that would change its results.

    Args:
      stored: the plain config in the workdir.
      config: the requested config, plain and resolved.
      workdir: its path, for the message.

    Raises:
      InputError: naming the first key that differs and is not in FREE_ON_RESUME.
    """
    differs = difference(stored, config)
    if differs is not None:
        key, before, now = differs
        if key == "dtype":  # not a key of recipes, but the result of `precision` on a device
            raise InputError(
                f"{workdir} holds a run that computes in {before}, found config.precision="
                f"{config['precision']!r}, which is {now} here: continue it with "
                f"--config.precision={before}, or choose another --workdir"
            )
        raise InputError(
            f"{workdir} holds a run with config.{key}={before!r}, found {now!r}: choose another "
            "--workdir or the same value"
        )


def difference(stored: Mapping[str, Any], config: Mapping[str, Any]) -> tuple[str, Any, Any] | None:
    """The first differing key that changes results, with its values in two plain, resolved configs.

    Args:
      stored: the older config; keys introduced later count as having their default value, which is
        the behaviour of the older version.
      config: the newer config.

    Returns:
      None if they differ only in FREE_ON_RESUME.
    """
    before, now = dict(_leaves(stored)), dict(_leaves(config))
    for key, value in _leaves(plain(default(config["stage"]))):
        if key in now:
            before.setdefault(key, value)
    has_contrast = [any(key.startswith("data.contrast.") for key in keys) for keys in (before, now)]
    if has_contrast == [False, True]:
        before |= dict(_leaves({"data": {"contrast": _plain(DEFAULT_CONTRAST)}}))
    before.setdefault("dtype", now.get("dtype"))
    for key in sorted(before.keys() | now.keys()):
        # Folders may move: `continuing` checks that they still contain the same runs.
        free = key in FREE_ON_RESUME or key.endswith(EARLIER)
        if not free and before.get(key) != now.get(key):
            return key, before.get(key), now.get(key)
    return None


def model_spec(spec: Mapping[str, Any]) -> ml_collections.ConfigDict:
    """A model's spec for a config: tuples instead of lists, so that flags can override them."""
    tuples = {key: tuple(v) if isinstance(v, list) else v for key, v in spec.items()}
    return ml_collections.ConfigDict(tuples)


def _check_value(key: str, found: Any, wanted: Any) -> None:
    kind = type(wanted)
    number = kind is float and isinstance(found, int | float) and not isinstance(found, bool)
    if not number and type(found) is not kind:
        raise InputError(f"config.{key} is {found!r}, expected {kind.__name__}")
    if key in CHOICES and found not in CHOICES[key]:
        raise InputError(f"config.{key} is {found!r}, expected one of {', '.join(CHOICES[key])}")
    weight = key.startswith(("loss.", "data.augment.")) and kind is float
    if (key in LEAST or weight) and not found >= LEAST.get(key, 0.0):
        raise InputError(f"config.{key} is {found!r}, expected at least {LEAST.get(key, 0.0)}")
    if isinstance(found, float) and not math.isfinite(found):
        raise InputError(f"config.{key} is {found!r}, expected a finite number")
    if key in BELOW_ONE and found >= 1:
        raise InputError(f"config.{key} is {found!r}, expected less than 1")


def _check_models(config: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Checks that config.model has one entry for each model of the stage, and no others."""
    models = config.get("model")
    if not isinstance(models, Mapping):
        raise InputError(f"config.model is {models!r}, expected keys with values")
    for name in sorted(models.keys() | wanted.keys()):
        if name not in wanted:
            raise InputError(f"config.model.{name} is not a key of the stage {config['stage']}")
        if name not in models:
            raise InputError(f"config.model.{name} is missing")
        if not isinstance(models[name], Mapping):
            raise InputError(f"config.model.{name} is {models[name]!r}, expected keys with values")


def _merged(common: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Merges nested mappings into new ones; at the leaves `own` overrides `common`."""
    merged = {key: _merged(v, {}) if isinstance(v, Mapping) else v for key, v in common.items()}
    for key, value in own.items():
        before = merged.get(key, {})
        merged[key] = _merged(before, value) if isinstance(value, Mapping) else value
    return merged


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value
