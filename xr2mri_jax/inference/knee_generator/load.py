"""Loads a generator: the shipped one, a packaged one from a folder, or a training run."""

import os
from pathlib import Path

from xr2mri_jax.errors import InputError
from xr2mri_jax.inference.knee_generator import file_format
from xr2mri_jax.inference.model_files import DESCRIPTION
from xr2mri_jax.inference.novelty import NoveltyDetector
from xr2mri_jax.inference.uncertainty.model import Uncertainty, read
from xr2mri_jax.stages.base import Surfaces
from xr2mri_jax.training.loaded_model import LoadedModel, load_model

SHIPPED = Path(__file__).parent


def load_generator(
    model: str | os.PathLike[str] | None = None, step: int | None = None
) -> tuple[LoadedModel, NoveltyDetector | None]:
    """Loads a generator, and the statistics of its training radiographs if known.

    Args:
      model: a folder with model.json and weights.npz, or the workdir of a generator or joint stage;
        None or "" for the shipped one.
      step: checkpoint of the workdir; None: the newest.

    Raises:
      InputError: it is missing or damaged, or a packaged model is to have another step.
    """
    folder = Path(model) if model else SHIPPED
    if (folder / DESCRIPTION).is_file():
        if step is not None:
            raise InputError(
                f"--step: found {step} with the packaged generator "
                f"{model or 'of this package'}, expected the workdir of a training run"
            )
        return file_format.read(folder, own=folder == SHIPPED)
    if not model:
        raise InputError(
            "--model: no generator is shipped with this package, expected the workdir of a "
            "generator or joint stage, or a folder made by launch/ship_generator.py"
        )
    return load_model(folder, step), None


def uncertainty_of(
    folder: str | os.PathLike[str] | None, model: LoadedModel
) -> tuple[Uncertainty | None, str]:
    """The uncertainty of a loaded generator, or None, and a doubt or "": see `model.read`.

    Args:
      folder: as for `load_generator`.
      model: what it returned.

    Raises:
      InputError: the file is damaged.
    """
    return read(folder or SHIPPED, model.params, has_surfaces(model))


def has_surfaces(model: LoadedModel) -> bool:
    """Whether the model gives signed distances."""
    return isinstance(model.stage, Surfaces) and bool(
        model.config["model"]["generator"].get("surfaces")
    )


def frames_by_joint_line(model: LoadedModel) -> bool:
    """Whether the model's input is framed by the joint line, and its output has that scale."""
    return str(model.config["data"]["dataset"]).startswith("knee_family")
