"""The files of a grader: weights.npz in float16 and model.json, held to each other."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import traverse_util

from xr2mri_jax import workdir
from xr2mri_jax.errors import InputError
from xr2mri_jax.inference import model_files
from xr2mri_jax.inference.model_files import DESCRIPTION, WEIGHTS, rounded
from xr2mri_jax.inference.unlikeness import Likeness
from xr2mri_jax.models import classifiers

__all__ = ["DESCRIPTION", "WEIGHTS", "rounded"]

FORM = 1
# The grade that `probability_kl2` speaks of: it and those above it are the positive ones.
POSITIVE_GRADE = 2
# Which row of the threshold table rules the column `at_threshold`.
SENSITIVITY = 0.9
_KEYS = ("network", "grades", "contrast", "calibration", "training")


@dataclasses.dataclass(frozen=True)
class Calibration:
    """What held-out patients said of the probabilities.

    Attributes:
      temperature: the logits are divided by it, > 0.
      thresholds: rows with sensitivity_wanted, probability, sensitivity, specificity.
      reliability: count, probability and frequency by bin, see `metrics.calibration`.
      error_before, error_after: expected calibration error without and with the temperature.
      knees, subjects: how many.
    """

    temperature: float
    thresholds: list[dict[str, float]]
    reliability: dict[str, list[float]]
    error_before: float
    error_after: float
    knees: int
    subjects: int

    @property
    def threshold(self) -> float:
        """The probability from which a knee is called positive, at the sensitivity SENSITIVITY."""
        wanted = (r for r in self.thresholds if r["sensitivity_wanted"] == SENSITIVITY)
        return next(wanted)["probability"]


@dataclasses.dataclass(frozen=True, eq=False)
class KneeGrader:
    """A trained network with all that is needed to grade a radiograph and to doubt the grade.

    Attributes:
      network: full spec of the classifier, see `models.classifiers.full_spec`.
      grades: those of the classes; the upper half begins with grade 2.
      params, model_state: nested dicts of f32 arrays whose values fit float16.
      contrast: as `standardise_radiograph` takes it, that of the training radiographs.
      training: JSON-able; where it comes from.
      calibration: None where the probabilities are not calibrated.
      likeness: None where the distance to the training radiographs is not known.
      views: whether the logits are averaged over a radiograph's views, see `inference.views`.
    """

    network: dict[str, Any]
    grades: tuple[int, ...]
    params: Any
    model_state: Any
    contrast: dict[str, Any]
    training: dict[str, Any]
    calibration: Calibration | None = None
    likeness: Likeness | None = None
    views: bool = False

    @property
    def image_shape(self) -> tuple[int, int]:
        """(h, w) in pixels of the radiographs that the network takes."""
        height, width = self.network["image_shape"]
        return int(height), int(width)


def require_grades(grades: tuple[int, ...], where: str) -> None:
    """Raises InputError unless the upper half of the grades begins with POSITIVE_GRADE."""
    if len(grades) < 2 or grades[len(grades) // 2] != POSITIVE_GRADE:
        raise InputError(
            f"{where}: found the grades {list(grades)}, expected such whose upper half begins with "
            f"{POSITIVE_GRADE}, as 0,2"
        )


def write(folder: Path, grader: KneeGrader) -> None:
    """Writes weights.npz and model.json into an existing folder, each atomically.

    Raises:
      ValueError: calibration or likeness is missing.
    """
    calibration, likeness = grader.calibration, grader.likeness
    if calibration is None or likeness is None:
        raise ValueError("a grader without calibration or likeness is not shipped")
    trees = {"params": grader.params, "batch_stats": grader.model_state}
    arrays = {
        name: np.asarray(value, np.float16)
        for name, value in traverse_util.flatten_dict(trees, sep="/").items()
    }
    arrays |= {
        "features/mean": likeness.mean,
        "features/deviation": likeness.deviation,
        "features/factor": likeness.factor,
    }
    description = {
        "form": FORM,
        "network": grader.network,
        "grades": list(grader.grades),
        "contrast": grader.contrast,
        "views": grader.views,
        "calibration": dataclasses.asdict(calibration),
        "features": {"distance_one": likeness.scale},
        "training": grader.training,
    }
    model_files.write(folder, arrays, description)


def read(folder: str | os.PathLike[str]) -> KneeGrader:
    """Reads what `write` wrote.

    Raises:
      InputError: a file is missing, broken, of another form, or does not belong to the other.
    """
    place = Path(folder)
    described, flat = model_files.read(place, "grader", FORM, (*_KEYS, "features"))
    mean, deviation, factor = (
        flat.pop(f"features/{name}") for name in ("mean", "deviation", "factor")
    )
    likeness = Likeness(mean, deviation, factor, described["features"]["distance_one"])
    as_f32 = {name: value.astype(np.float32) for name, value in flat.items()}
    tree = traverse_util.unflatten_dict(as_f32, sep="/")
    grader = KneeGrader(
        classifiers.full_spec(described["network"]),
        tuple(described["grades"]),
        tree["params"],
        tree.get("batch_stats", {}),
        described["contrast"],
        described["training"],
        _calibration(place / DESCRIPTION, described["calibration"]),
        likeness,
        # Graders that are older than views have none.
        bool(described.get("views", False)),
    )
    require_grades(grader.grades, str(place / DESCRIPTION))
    workdir.require_shapes(place / WEIGHTS, grader.params, _shapes(grader.network))
    return grader


def _calibration(path: Path, entries: Mapping[str, Any]) -> Calibration:
    names = {field.name for field in dataclasses.fields(Calibration)}
    if not isinstance(entries, dict) or set(entries) != names:
        raise InputError(f"{path}: calibration, expected the entries {', '.join(sorted(names))}")
    bins = entries["reliability"]
    lengths = [len(bins.get(name, ())) for name in ("count", "probability", "frequency")]
    if len(set(lengths)) != 1 or not lengths[0]:
        raise InputError(
            f"{path}: calibration.reliability, found {lengths} counts, probabilities and "
            "frequencies, expected equally many, at least 1"
        )
    if not any(row.get("sensitivity_wanted") == SENSITIVITY for row in entries["thresholds"]):
        raise InputError(
            f"{path}: calibration.thresholds, found none for the sensitivity {SENSITIVITY}"
        )
    return Calibration(**entries)


def _shapes(network: Mapping[str, Any]) -> Any:
    model = classifiers.make(network)
    xray = jax.ShapeDtypeStruct((1, *network["image_shape"], 1), np.float32)
    return jax.eval_shape(model.init, jax.random.key(0), xray)["params"]
