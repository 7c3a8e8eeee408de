"""The files of a grader: weights.npz in float16, model.json, and the check that they match."""

import dataclasses
import hashlib
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import traverse_util

from xr2mri_jax import files
from xr2mri_jax.errors import InputError
from xr2mri_jax.inference.knee_grader import description, weights
from xr2mri_jax.inference.knee_grader.description import FORM, SENSITIVITY
from xr2mri_jax.inference.model_files import DESCRIPTION, WEIGHTS, rounded
from xr2mri_jax.inference.unlikeness import Likeness
from xr2mri_jax.models import classifiers

__all__ = ["DESCRIPTION", "WEIGHTS", "rounded"]

# The grade of `probability_kl2`: this grade and those above it are positive.
POSITIVE_GRADE = 2
# Size limit of weights.npz in bytes, above that of any grader.
LARGEST = 1 << 28


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Calibration of the probabilities on held-out patients.

    Attributes:
      temperature: divisor of the logits, > 0.
      thresholds: rows with sensitivity_wanted, probability, sensitivity, specificity.
      reliability: count, probability and frequency by bin, see `metrics.calibration`.
      error_before, error_after: expected calibration error without and with the temperature.
      knees, subjects: their numbers.
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
        """The smallest probability of a positive knee, for the sensitivity SENSITIVITY."""
        wanted = (r for r in self.thresholds if r["sensitivity_wanted"] == SENSITIVITY)
        return next(wanted)["probability"]


@dataclasses.dataclass(frozen=True, eq=False)
class KneeGrader:
    """A trained network with everything needed to grade radiographs and to qualify the grades.

    Attributes:
      network: full spec of the classifier, see `models.classifiers.full_spec`.
      grades: the grades of the classes; the upper half begins with grade 2.
      params, model_state: nested dicts of f32 arrays whose values fit float16.
      contrast: contrast settings of the training radiographs, see `standardise_radiograph`.
      training: JSON-able; the provenance of the model.
      calibration: None if the probabilities are not calibrated.
      likeness: None if the distance to the training radiographs is not known.
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
        """(h, w) in pixels of the network's input."""
        height, width = self.network["image_shape"]
        return int(height), int(width)


def require_grades(grades: tuple[int, ...], where: str) -> None:
    """Raises InputError unless the upper half of the grades begins with POSITIVE_GRADE."""
    if len(grades) < 2 or grades[len(grades) // 2] != POSITIVE_GRADE:
        raise InputError(
            f"{where}: found the grades {list(grades)}, expected grades whose upper half begins "
            f"with {POSITIVE_GRADE}, e.g. 0,2"
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
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **arrays)
    described = {
        "form": FORM,
        "weights_sha256": hashlib.sha256(content.getvalue()).hexdigest(),
        "network": grader.network,
        "grades": list(grader.grades),
        "contrast": grader.contrast,
        "views": grader.views,
        "calibration": dataclasses.asdict(calibration),
        "features": {"distance_one": likeness.scale},
        "training": grader.training,
    }
    with files.atomic_path(folder / WEIGHTS) as partial:
        partial.write_bytes(content.getvalue())
    files.write_json(folder / DESCRIPTION, description.sealed(described))


def read(folder: str | os.PathLike[str]) -> KneeGrader:
    """Reads what `write` wrote.

    Raises:
      InputError: a file is missing, damaged, of another format, or belongs to another model.
    """
    place = Path(folder)
    described = description.read(place / DESCRIPTION)
    try:
        network = classifiers.full_spec(described["network"])
        wanted = _wanted(network)
    except (ValueError, TypeError) as error:  # inconsistent sizes
        raise InputError(f"{place / DESCRIPTION}: network: {error}") from error
    grades = tuple(described["grades"])
    require_grades(grades, f"{place / DESCRIPTION}: grades")
    if len(grades) != network["classes"]:
        raise InputError(
            f"{place / DESCRIPTION}: network.classes: found {network['classes']}, expected "
            f"{len(grades)}, as many as grades"
        )
    flat = weights.read(place / WEIGHTS, _content(place / WEIGHTS, described), wanted)
    mean, deviation, factor = (
        flat.pop(f"features/{name}") for name in ("mean", "deviation", "factor")
    )
    if not (deviation > 0).all() or not np.diag(factor).all():
        raise InputError(
            f"{place / WEIGHTS}: features/deviation, features/factor: found 0, by which the "
            "distance would be divided, expected numbers above 0"
        )
    likeness = Likeness(mean, deviation, factor, described["features"]["distance_one"])
    as_f32 = {name: value.astype(np.float32) for name, value in flat.items()}
    tree = traverse_util.unflatten_dict(as_f32, sep="/")
    grader = KneeGrader(
        network,
        grades,
        tree["params"],
        tree.get("batch_stats", {}),
        described["contrast"],
        described["training"],
        Calibration(**described["calibration"]),
        likeness,
        described["views"],
    )
    return grader


def _content(path: Path, described: Mapping[str, Any]) -> bytes:
    """The file's bytes, after checking their number and that they belong to model.json."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    if len(content) > LARGEST:
        raise InputError(f"{path}: found more than {LARGEST} bytes, expected a grader's weights")
    if hashlib.sha256(content).hexdigest() != described["weights_sha256"]:
        raise InputError(
            f"{path}: its SHA-256 is not the one in {DESCRIPTION}, expected the two of one model"
        )
    return content


def _wanted(network: Mapping[str, Any]) -> dict[str, weights.Wanted]:
    """The arrays of a grader by name: network parameters and feature statistics."""
    model = classifiers.make(network)
    xray = jax.ShapeDtypeStruct((1, *network["image_shape"], 1), np.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), xray)
    kinds = {name: variables[name] for name in ("params", "batch_stats") if name in variables}
    flat = traverse_util.flatten_dict(kinds, sep="/")
    count = flat["params/head/kernel"].shape[0]  # inputs of the last layer
    return {
        **{name: (tuple(leaf.shape), ("float16",)) for name, leaf in flat.items()},
        "features/mean": ((count,), ("float32",)),
        "features/deviation": ((count,), ("float32",)),
        "features/factor": ((count, count), ("float16",)),
    }
