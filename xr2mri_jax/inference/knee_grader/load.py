"""Loads a grader: the shipped one, a packaged one from a folder, or a training run."""

import os
from pathlib import Path

from xr2mri_jax.errors import InputError
from xr2mri_jax.inference.knee_grader import form
from xr2mri_jax.inference.knee_grader.form import KneeGrader

SHIPPED = Path(__file__).parent
SHIPPED_GRADES = SHIPPED / "five_grades"


def load_grader(model: str | os.PathLike[str] | None = None) -> KneeGrader:
    """Loads a grader.

    Args:
      model: a folder with model.json and weights.npz, or the workdir of a training run, whose
        probabilities are then not calibrated; None or "" for the shipped one.

    Raises:
      InputError: it is missing or damaged.
    """
    if not model:
        if not (SHIPPED / form.DESCRIPTION).is_file():
            raise InputError(
                "--model: no grader is shipped with this package, expected the workdir of a "
                "training run, or a folder made by launch/ship_grader.py"
            )
        return form.read(SHIPPED, own=True)
    folder = Path(model)
    if (folder / form.DESCRIPTION).is_file():
        return form.read(folder)
    if (folder / "config.json").is_file():
        # Imported here: reading checkpoints takes seconds of imports.
        from xr2mri_jax.inference.knee_grader.from_run import from_workdir

        return from_workdir(folder)
    raise InputError(
        f"--model={folder}: found neither {form.DESCRIPTION} nor config.json, expected a grader's "
        "folder or the workdir of a training run"
    )


def load_grades(model: str | os.PathLike[str] | None = None) -> KneeGrader | None:
    """The grader of five grades that accompanies a grader of two.

    Args:
      model: as for `load_grader`.

    Returns:
      The shipped one with the shipped grader; None with another model, which speaks for itself.

    Raises:
      InputError: it is missing or damaged.
    """
    if model:
        return None
    if not (SHIPPED_GRADES / form.DESCRIPTION).is_file():
        raise InputError(
            "--model: no grader of five grades is shipped with this package, expected the workdir "
            "of a training run, or a folder made by launch/ship_grader.py"
        )
    return form.read(SHIPPED_GRADES, own=True)
