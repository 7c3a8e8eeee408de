"""Makes a grader from a training run, without calibration and novelty detector."""

import os

import xr2mri_jax
from xr2mri_jax.errors import InputError
from xr2mri_jax.inference.knee_grader import file_format
from xr2mri_jax.inference.knee_grader.file_format import KneeGrader
from xr2mri_jax.preprocess.contrast import contrast_of
from xr2mri_jax.stages.base import Classifies
from xr2mri_jax.training.loaded_model import LoadedModel, load_best


def from_workdir(workdir: str | os.PathLike[str], step: int | None = None) -> KneeGrader:
    """The grader of a training run, without calibration and novelty detector.

    Args:
      workdir: of a stage that predicts grades.
      step: which checkpoint; None: the one that launch/evaluate.py chooses.

    Raises:
      InputError: no such run, a stage that predicts no grades, or grades other than early
        osteoarthritis.
    """
    return uncalibrated(load_best(workdir, step), workdir)


def uncalibrated(model: LoadedModel, workdir: str | os.PathLike[str]) -> KneeGrader:
    """The grader of a loaded run, see `from_workdir`; `workdir` names it in errors."""
    stage = model.stage
    if not isinstance(stage, Classifies):
        raise InputError(
            f"{workdir}: found the stage {stage.name!r}, which predicts no grades, expected the "
            "workdir of siamese_gap"
        )
    file_format.require_grades(tuple(stage.grades), f"{workdir}: config.data.grades")
    data = model.config["data"]
    return KneeGrader(
        dict(stage.spec),
        tuple(stage.grades),
        file_format.rounded(model.params),
        file_format.rounded(model.model_state),
        contrast_of(model.config),
        {
            "stage": stage.name,
            "step": model.step,
            "dataset": data["dataset"],
            "train_split": data["train_split"],
            "held_out": data["held_out"],
            "held_out_seed": data["held_out_seed"],
            "dtype": model.config.get("dtype", "unknown"),
            "xr2mri_jax": xr2mri_jax.__version__,
        },
    )
