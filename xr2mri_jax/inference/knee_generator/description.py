"""Checks the content of a generator's model.json: every value must be in its range."""

import re
from collections.abc import Mapping
from typing import Any

from xr2mri_jax.inference.model_description import Checks, Kind, is_whole

_DATASET = re.compile(r"[a-z][a-z0-9_]{0,63}(/[a-z0-9][a-z0-9_.]{0,63})?")


def _check(checks: Checks, found: Mapping[str, Any]) -> None:
    config = found["config"]
    checks.keys("config", config, ("model", "dataset"))
    checks.keys("config.model", config["model"], ("cae", "generator"))
    for part, sizes in config["model"].items():
        checks.network(f"config.model.{part}", sizes)
    checks.value(
        "config.dataset",
        config["dataset"],
        "a dataset's name such as knee_family/default",
        lambda v: isinstance(v, str) and _DATASET.fullmatch(v) is not None,
    )
    checks.contrast(found["contrast"])
    wanted = "a whole number, at least 0"
    checks.value("step", found["step"], wanted, lambda v: is_whole(v) and v >= 0)
    checks.distance_one(found["features"])
    checks.plain("training", found["training"])


KIND = Kind(
    "generator",
    3,
    ("config", "contrast", "step", "features", "training"),
    "launch/ship_generator.py",
    _check,
)
