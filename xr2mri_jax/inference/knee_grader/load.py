"""Loads a grader: the shipped one, a packaged one from a folder, or a training run."""

import os
from pathlib import Path

from xr2mri_jax.errors import InputError
from xr2mri_jax.inference.knee_grader import file_format
from xr2mri_jax.inference.knee_grader.file_format import KneeGrader

# The shipped graders: of two grades, by the recipe of the paper's task, and of five grades.
SHIPPED = Path(__file__).parent
SHIPPED_GRADES = SHIPPED / "five_grades"
# The name of the grader of two grades.
EARLY = "kl2"


def load_grader(model: str | os.PathLike[str] | None = None) -> KneeGrader:
    """Loads a grader.

    Args:
      model: a folder with model.json and weights.npz, or the workdir of a training run, whose
        probabilities are then not calibrated; EARLY for the shipped grader of grades 0 and 2; None
        or "" for the shipped grader of five grades.

    Raises:
      InputError: it is missing or damaged.
    """
    if not model or str(model) == EARLY:
        shipped = SHIPPED if model else SHIPPED_GRADES
        if not (shipped / file_format.DESCRIPTION).is_file():
            raise InputError(
                "--model: no grader is shipped with this package, expected the workdir of a "
                "training run, or a folder made by launch/ship_grader.py"
            )
        return file_format.read(shipped, own=True)
    folder = Path(model)
    if (folder / file_format.DESCRIPTION).is_file():
        return file_format.read(folder)
    if (folder / "config.json").is_file():
        # Imported here: reading checkpoints takes seconds of imports.
        from xr2mri_jax.inference.knee_grader.from_run import from_workdir

        return from_workdir(folder)
    raise InputError(
        f"--model={folder}: found neither {file_format.DESCRIPTION} nor config.json, expected a "
        f"grader's folder, the workdir of a training run, or {EARLY!r}"
    )
