"""Writes and reads the files of a packaged grader, see `inference.model_files`."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from xr2mri_jax.errors import InputError
from xr2mri_jax.inference import model_files
from xr2mri_jax.inference.knee_grader.description import BY_GRADE, KIND, SENSITIVITY
from xr2mri_jax.inference.model_files import DESCRIPTION, WEIGHTS, rounded
from xr2mri_jax.inference.novelty import NoveltyDetector
from xr2mri_jax.metrics.calibration import Scaling
from xr2mri_jax.models import classifiers

__all__ = ["DESCRIPTION", "WEIGHTS", "rounded"]

# The grade of `probability_kl2`, against the lowest grade.
POSITIVE_GRADE = 2


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Calibration of the probabilities on held-out patients.

    Thresholds, reliability and errors refer to the probability of grade 2 against the lowest
    grade, in knees that have one of these two grades.

    Attributes:
      temperature: divisor of the logits of all grades, > 0.
      thresholds: rows with sensitivity_wanted, probability, sensitivity, specificity.
      reliability: count, probability and frequency by bin, see `metrics.calibration`.
      error_before, error_after: expected calibration error without and with the calibration.
      knees, subjects: total numbers of held-out knees and subjects.
      set_limits: of the conformal sets, one for each grade, see `metrics.conformal`; None with two
        grades.
      offsets: of the logits over the temperature, one for each grade, see
        `metrics.calibration.fit`; None: none.
      prevalence: the shares of the grades that the offsets are meant for, sum 1; None: unchanged.
    """

    temperature: float
    thresholds: list[dict[str, float]]
    reliability: dict[str, list[float]]
    error_before: float
    error_after: float
    knees: int
    subjects: int
    set_limits: list[float] | None = None
    offsets: list[float] | None = None
    prevalence: list[float] | None = None

    @property
    def scaling(self) -> Scaling:
        """How the logits of all grades become probabilities."""
        moved = (None if x is None else tuple(x) for x in (self.offsets, self.prevalence))
        return Scaling(self.temperature, *moved)

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
      novelty_detector: None if the distance to the training radiographs is not known.
      views: whether the logits are averaged over a radiograph's views, see `inference.views`.
    """

    network: dict[str, Any]
    grades: tuple[int, ...]
    params: Any
    model_state: Any
    contrast: dict[str, Any]
    training: dict[str, Any]
    calibration: Calibration | None = None
    novelty_detector: NoveltyDetector | None = None
    views: bool = False

    @property
    def image_shape(self) -> tuple[int, int]:
        """(h, w) in pixels of the network's input."""
        height, width = self.network["image_shape"]
        return int(height), int(width)


def compacted(params: Any, steps: float = 16.0) -> Any:
    """Kernels rounded to multiples of a power of two, so that weights.npz is half as large.

    Args:
      params: nested dicts of f32 arrays whose values fit float16.
      steps: a kernel's standard deviation has at least this many multiples.

    Returns:
      The same tree; the values still fit float16.
    """

    def rounded_kernel(path: Any, x: np.ndarray) -> np.ndarray:
        if "kernel" not in jax.tree_util.keystr(path[-1:]) or not np.std(x) > 0:
            return x
        step = 2.0 ** np.floor(np.log2(np.std(x) / steps))
        return np.asarray(np.rint(x / step) * step, np.float16).astype(np.float32)

    return jax.tree_util.tree_map_with_path(rounded_kernel, params)


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
      ValueError: calibration or novelty detector is missing.
    """
    calibration, novelty_detector = grader.calibration, grader.novelty_detector
    if calibration is None or novelty_detector is None:
        raise ValueError("a grader without calibration or novelty detector is not shipped")
    described = {
        "network": grader.network,
        "grades": list(grader.grades),
        "contrast": grader.contrast,
        "views": grader.views,
        "calibration": {k: v for k, v in dataclasses.asdict(calibration).items() if v is not None},
        "training": grader.training,
    }
    tree = {"params": grader.params, "batch_stats": grader.model_state}
    model_files.write(folder, KIND, tree, novelty_detector, described)


def read(folder: str | os.PathLike[str], own: bool = False) -> KneeGrader:
    """Reads what `write` wrote.

    Args:
      folder: with both files.
      own: the files are the package's own: skips tracing the network to check the shapes.

    Raises:
      InputError: a file is missing, damaged, of another format, or belongs to another model.
    """
    path = Path(folder) / DESCRIPTION
    network: dict[str, Any] = {}

    def shapes(described: Mapping[str, Any]) -> tuple[Any, int] | None:
        try:
            network.update(classifiers.full_spec(described["network"]))
            tree = None if own else _shapes(network)
        except (ValueError, TypeError, OverflowError) as error:  # inconsistent sizes
            raise InputError(f"{path}: network: {error}") from error
        grades = described["grades"]
        require_grades(tuple(grades), f"{path}: grades")
        if len(grades) != network["classes"]:
            raise InputError(
                f"{path}: network.classes: found {network['classes']}, expected {len(grades)}, as "
                "many as grades"
            )
        if (len(grades) > 2) != ("set_limits" in described["calibration"]):
            raise InputError(
                f"{path}: calibration.set_limits: expected them with more than two grades only, "
                f"found {len(grades)} grades"
            )
        for name in BY_GRADE:
            found = described["calibration"].get(name)
            if found is not None and len(found) != len(grades):
                raise InputError(
                    f"{path}: calibration.{name}: found {len(found)}, expected {len(grades)}, as "
                    "many as grades"
                )
        # The features are the input of the last layer.
        return None if tree is None else (tree, tree["params"]["head"]["kernel"].shape[0])

    described, tree, novelty_detector = model_files.read(folder, KIND, shapes)
    return KneeGrader(
        network,
        tuple(described["grades"]),
        tree["params"],
        tree.get("batch_stats", {}),
        described["contrast"],
        described["training"],
        Calibration(**described["calibration"]),
        novelty_detector,
        described["views"],
    )


def _shapes(network: Mapping[str, Any]) -> dict[str, Any]:
    """The trees of a network's variables, whose leaves have shapes."""
    model = classifiers.make(network)
    xray = jax.ShapeDtypeStruct((1, *network["image_shape"], 1), np.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), xray)
    return {name: variables[name] for name in ("params", "batch_stats") if name in variables}
