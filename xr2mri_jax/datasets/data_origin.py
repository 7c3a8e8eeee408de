"""Whether the knees of a dataset are real, simulated, or unknown."""

import json
import os
from pathlib import Path
from typing import Any

from xr2mri_jax import files
from xr2mri_jax.datasets.examples import StoredExamples
from xr2mri_jax.errors import InputError

REAL, SIMULATED, UNKNOWN = "real", "simulated", "unknown"
_SIMULATED = ("knee_phantom", "knee_family")


def origin(name: str, source: Any, split: str) -> str:
    """The origin of the knees of a split, from the dataset's name or the record of its first case.

    Args:
      name: "DATASET" or "DATASET/CONFIG".
      source: its TFDS builder.
      split: a split of it.

    Returns:
      "simulated" for phantoms and for files made by `xr2mri simulate`; "real" for other files;
      "unknown" if the files no longer exist.

    Raises:
      InputError: if the dataset has no such split.
    """
    if name.partition("/")[0] in _SIMULATED:
        return SIMULATED
    if not hasattr(source, "as_data_source") or "record" not in source.info.features:
        return UNKNOWN
    record = StoredExamples(source, split)[0]["record"]
    try:
        path = json.loads(record)["radiograph"]["file"]
    except (ValueError, KeyError, TypeError):
        return UNKNOWN
    return origin_of_file(path)


def origin_of_file(path: str | os.PathLike[str]) -> str:
    """The origin of a radiograph's file: "simulated" if the record beside it says so."""
    path = Path(path)
    if not path.is_file():
        return UNKNOWN
    beside = path.with_suffix(".json")
    if not beside.is_file():
        return REAL
    try:
        said = files.read_json(beside).get("statement", "")
    except InputError:  # a foreign file of the same name
        return UNKNOWN
    return SIMULATED if str(said).startswith("simulated") else REAL


def origin_adjective(knees: str) -> str:
    """The adjective of a reference volume in reports: "real", "simulated", or "true" if unknown."""
    return "true" if knees == UNKNOWN else knees
