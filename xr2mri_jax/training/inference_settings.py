"""Settings that inference must share with training: contrast of the dataset, compute dtype."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from xr2mri_jax.datasets.preparation_record import contrast_of_dataset
from xr2mri_jax.errors import InputError
from xr2mri_jax.preprocess.contrast import contrast_of
from xr2mri_jax.stages.base import compute_dtype


def with_inference_settings(config: Mapping[str, Any], builder: Any) -> dict[str, Any]:
    """A resolved config with `data.contrast` of its dataset and `dtype` added, for storage.

    Args:
      config: resolved and plain.
      builder: builder of the prepared dataset, see `contrast_of_dataset`.
    """
    data = {**config["data"], "contrast": contrast_of_dataset(builder)}
    return {**config, "data": data, "dtype": dtype_name(config)}


def dtype_name(config: Mapping[str, Any]) -> str:
    """The dtype of the arithmetic for this config on this machine: "float32" or "bfloat16"."""
    return jnp.dtype(compute_dtype(config["precision"])).name


def require_same_contrast(config: Mapping[str, Any], builder: Any) -> None:
    """Raises InputError if the contrast of a dataset differs from that of the run's dataset."""
    trained, found = contrast_of(config), contrast_of_dataset(builder)
    for name, value in found.items():
        if _plain(trained[name]) != _plain(value):
            raise InputError(
                f"{builder.data_dir}: its radiographs were prepared with {name}={value}, expected "
                f"{name}={trained[name]} as in the run's training set"
            )


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
