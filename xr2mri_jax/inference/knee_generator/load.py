"""Which generator a command means: the shipped one, a folder of its form, or a training run."""

import os
from pathlib import Path

from xr2mri_jax.errors import InputError
from xr2mri_jax.inference.knee_generator import form
from xr2mri_jax.inference.model_files import DESCRIPTION
from xr2mri_jax.inference.unlikeness import Likeness
from xr2mri_jax.training.trained import LoadedModel, load_model

SHIPPED = Path(__file__).parent


def load_generator(
    model: str | os.PathLike[str] | None = None,
) -> tuple[LoadedModel, Likeness | None]:
    """Loads a generator, and what its training radiographs are like where that is known.

    Args:
      model: a folder with model.json and weights.npz, or the workdir of a generator or joint stage;
        None or "" for the one that ships.

    Raises:
      InputError: it is missing or broken.
    """
    folder = Path(model) if model else SHIPPED
    if (folder / DESCRIPTION).is_file():
        return form.read(folder)
    if not model:
        raise InputError(
            "--model: none ships with this package yet, expected the workdir of a generator or "
            "joint stage, or what launch/ship_generator.py made of it"
        )
    return load_model(folder), None


def is_boxed(model: LoadedModel) -> bool:
    """Whether the model looks at a frame around the joint line and answers in its scale."""
    return str(model.config["data"]["dataset"]).startswith("knee_family")
