"""What whoever serves a run must repeat: its dataset's contrast and the dtype of its arithmetic."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from xr2mri_jax.datasets.from_files import contrast_of_dataset
from xr2mri_jax.errors import InputError
from xr2mri_jax.preprocess.contrast import contrast_of
from xr2mri_jax.stages.base import compute_dtype


def with_served(config: Mapping[str, Any], builder: Any) -> dict[str, Any]:
    """A resolved config with `data.contrast` of its dataset and `dtype`, as it is stored.

    Args:
      config: resolved and plain.
      builder: of the prepared dataset, see `contrast_of_dataset`.
    """
    data = {**config["data"], "contrast": contrast_of_dataset(builder)}
    return {**config, "data": data, "dtype": dtype_name(config)}


def dtype_name(config: Mapping[str, Any]) -> str:
    """The dtype that a model of this config computes in on this machine: "float32", "bfloat16"."""
    return jnp.dtype(compute_dtype(config["precision"])).name


def require_same_contrast(config: Mapping[str, Any], builder: Any) -> None:
    """Raises InputError if a dataset has another contrast than a run was trained with."""
    trained, found = contrast_of(config), contrast_of_dataset(builder)
    for name, value in found.items():
        if _plain(trained[name]) != _plain(value):
            raise InputError(
                f"{builder.data_dir}: its radiographs were prepared with {name}={value}, expected "
                f"{name}={trained[name]} as in the run's training set"
            )


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
