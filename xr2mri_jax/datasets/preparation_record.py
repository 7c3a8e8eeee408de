"""The record of a dataset's preparation, and the contrast settings that it holds."""

import json
import os
from typing import Any

from etils import epath

from xr2mri_jax import files
from xr2mri_jax.errors import InputError
from xr2mri_jax.preprocess.contrast import contrast_with_clahe

PROVENANCE = "preparation.json"


def read_preparation(data_path: str | os.PathLike[str]) -> dict[str, Any]:
    """The record in the folder of a prepared dataset; its "options" are an object.

    Raises:
      InputError: the record is missing or damaged.
    """
    path = epath.Path(data_path) / PROVENANCE
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}), expected the record of the dataset's "
            "preparation"
        ) from error
    made = files.json_object(os.fspath(path), content)
    if not isinstance(made.get("options"), dict) or not isinstance(made.get("tables", {}), dict):
        raise InputError(f"{path}: is damaged, expected the options and tables of a preparation")
    return made


def contrast_of_dataset(builder: Any) -> dict[str, Any]:
    """The contrast settings of a prepared dataset's radiographs, JSON-able.

    They are an option of datasets made from files; others, and examples in memory, have the default
    settings.

    Raises:
      InputError: the dataset's record of its preparation cannot be read.
    """
    place = getattr(builder, "data_path", None)
    clahe = None
    if place is not None and (epath.Path(place) / PROVENANCE).exists():
        clahe = read_preparation(place)["options"].get("clahe")
    return json.loads(json.dumps(contrast_with_clahe(clahe)))
