"""The public interface: files or arrays in, dataclasses out.

`import xr2mri_jax` provides load, predict, grade, simulate and evaluate; their dependencies are
imported at the first call.

    >>> import xr2mri_jax
    >>> grades = xr2mri_jax.grade(xr2mri_jax.samples.KNEE)
    >>> [grade.side for grade in grades]
    ['right']
    >>> 0.0 <= grades[0].probability_kl2 <= 1.0
    True
"""

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import Radiograph, Volume

if TYPE_CHECKING:
    from xr2mri_jax.inference.prediction import Prediction
    from xr2mri_jax.inference.predictor import Predictor
    from xr2mri_jax.phantom.label_map import SimulatedPair

Xray = str | os.PathLike[str] | np.ndarray | Radiograph


@dataclasses.dataclass(frozen=True)
class Grade:
    """The grade of one knee.

    Attributes:
      side: "left" or "right".
      probability_kl2: of Kellgren-Lawrence grade 2 or more, given that the grade is not 1.
      positive: whether the threshold for a sensitivity of 0.9 is reached; None: not calibrated.
      distance: novelty score, above 1 for 1 % of radiographs like those of the training; None:
        unknown for the model.
      warnings: doubtful decisions, one clause each.
      joint_space_mm: (medial, lateral), measured in the radiograph; None: not measured.
      grade: the most likely Kellgren-Lawrence grade; None: the model has two grades only.
      probabilities: by grade, sum 1; None as `grade`.
      expected_grade: the mean of the grades by their probabilities; None as `grade`.
      grade_set: neighbouring grades that contain the true one in 9 of 10 knees of each grade; None
        as `grade`, or not calibrated.
      joint_space_share: (medial, lateral), over the length of the joint line; None: not measured.
      volume_space_mm: (medial, lateral) between the bones of the predicted volume; None: not
        requested.
      volume_grade: grades that this space suggests, such as "0-2"; "": not requested.
      scale_estimated: whether lengths in mm are those of a knee of mean width, because no pixel
        spacing is stated.
    """

    side: str
    probability_kl2: float
    positive: bool | None
    distance: float | None
    warnings: tuple[str, ...]
    joint_space_mm: tuple[float, float] | None = None
    grade: int | None = None
    probabilities: Mapping[int, float] | None = None
    expected_grade: float | None = None
    grade_set: tuple[int, ...] | None = None
    joint_space_share: tuple[float, float] | None = None
    volume_space_mm: tuple[float, float] | None = None
    volume_grade: str = ""
    scale_estimated: bool = False


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The results of an evaluation.

    Attributes:
      report: path of the report, index.html.
      metrics: the content of metrics.json.
    """

    report: Path
    metrics: Mapping[str, Any]


def load(model: str | os.PathLike[str] | None = None) -> "Predictor":
    """Loads a generator that is compiled once and used for many radiographs.

    Args:
      model: workdir of a run of a stage that predicts volumes; None: the shipped generator.

    Returns:
      A `Predictor`, which `predict(xray, model=...)` accepts instead of a path.

    Raises:
      InputError: the model does not exist or does not predict volumes.
    """
    from xr2mri_jax.inference.predictor import load_predictor

    return load_predictor(model)


def predict(
    xray: Xray,
    model: "str | os.PathLike[str] | Predictor | None" = None,
    *,
    side: str | None = None,
    spacing: float | None = None,
    centre: tuple[float, float] | None = None,
    force: bool = False,
) -> "Prediction":
    """Predicts an MRI volume from one radiograph of a knee.

    Args:
      xray: a file (DICOM, PNG, TIFF, JPEG, NIfTI), an array f32[h, w] as displayed with bone
        bright, or a `Radiograph`.
      model: as for `load`, or a `Predictor`.
      side: "left" or "right"; None: from the file, else from the image.
      spacing: mm per pixel; None: from the file, else estimated from the joint line.
      centre: (row, col) of the joint centre in pixels; None: located in the image.
      force: use the middle of the image if no frontal knee is found in it.

    Returns:
      A `Prediction` with `volume` (f32 in [0, 1] with affine, RAS mm, origin near the joint's
      centre), `canonical` f32[d, h, w], the labels if the model predicts them, `record` and
      `warnings`.

    Raises:
      InputError: the radiograph or the model cannot be used.
    """
    from xr2mri_jax.inference.predict import predict_knee
    from xr2mri_jax.inference.predictor import Predictor
    from xr2mri_jax.preprocess.knee_request import KneeRequest, named_side

    radiograph, path = _radiograph(xray)
    named = None if path is None else named_side(path)
    predictor = model if isinstance(model, Predictor) else load(model)
    request = KneeRequest(side, spacing, centre, named=named, force=force)
    return predict_knee(predictor, radiograph, request)


def grade(
    xray: Xray,
    model: str | os.PathLike[str] | None = None,
    *,
    side: str | None = None,
    spacing: float | None = None,
    clahe: bool = False,
    volume: bool = False,
    force: bool = False,
) -> tuple[Grade, ...]:
    """Grades every knee of a radiograph: grades 0 to 4, and early osteoarthritis, 2 against 0.

    Args:
      xray: as for `predict`.
      model: a grader's folder or the workdir of a run; None: the shipped grader.
      side: as for `predict`.
      spacing: as for `predict`.
      clahe: equalise the contrast adaptively, like that of the training radiographs.
      volume: also predict the volume with the shipped generator and measure its joint space.
      force: grade the middle of the image if no frontal knee is found in it; also accept a tilted
        joint line or an impossible `spacing`.

    Returns:
      One `Grade` per knee, the right knee first.

    Raises:
      InputError: the model cannot be used, or no knee can be graded.
    """
    from xr2mri_jax.inference.grade import GradeOptions, grade_radiograph

    radiograph, path = _radiograph(xray)
    options = GradeOptions(side=side, spacing=spacing, clahe=clahe, force=force, volume=volume)
    rows = grade_radiograph(radiograph, model, options, path)
    return tuple(
        Grade(
            row.side,
            row.probability,
            row.positive,
            row.distance,
            tuple(row.warning.split("; ")) if row.warning else (),
            row.joint_space_mm,
            joint_space_share=row.joint_space_share,
            volume_space_mm=row.volume_space_mm,
            volume_grade=row.volume_grade,
            scale_estimated=row.scale_estimated,
            **({} if row.reading is None else dataclasses.asdict(row.reading)),
        )
        for row in rows
        if row.probability is not None
    )


def simulate(
    labels: str | os.PathLike[str] | Volume,
    side: str | None = None,
    *,
    table: str = "auto",
    seed: int = 0,
) -> "SimulatedPair":
    """Simulates a radiograph and an MRI from a label map of a knee.

    Args:
      labels: a file (NIfTI, NRRD, MetaImage, MGH), or a `Volume` of integers.
      side: "left" or "right"; None: derived from the labels.
      table: meaning of the label codes: the name of a table, a CSV file with the columns code,name,
        or "auto".
      seed: random seed of noise, textures and added soft tissue, 0 or more.

    Returns:
      A `SimulatedPair` with `radiograph`, `mri`, the joint `centre`, and the `record`.

    Raises:
      InputError: the map cannot be used, or does not determine the side.
    """
    from xr2mri_jax.io import read_volume
    from xr2mri_jax.simulation.files import simulate_labels

    volume = labels if isinstance(labels, Volume) else read_volume(labels)
    return simulate_labels(volume, side, table, seed)[0]


def evaluate(
    workdir: str | os.PathLike[str],
    split: str = "test",
    *,
    output: str | os.PathLike[str] | None = None,
    data_dir: str | None = None,
) -> Evaluation:
    """Evaluates a training run on a split against controls, and writes a report.

    Args:
      workdir: folder of the run.
      split: split of the run's dataset.
      output: folder of the report; None: WORKDIR/evaluation.
      data_dir: folder of the prepared dataset; None: as in training.

    Raises:
      InputError: the run, the dataset, the split or the folder cannot be used.
    """
    from xr2mri_jax.evaluation.run import evaluate_workdir

    report = evaluate_workdir(workdir, split=split, output=output, data_dir=data_dir)
    metrics = json.loads((report.parent / "metrics.json").read_text(encoding="utf-8"))
    return Evaluation(report, metrics)


def _radiograph(xray: Xray) -> tuple[Radiograph, Path | None]:
    """The radiograph, and its file if it is read from one."""
    if isinstance(xray, Radiograph):
        return xray, None
    if isinstance(xray, np.ndarray):
        if xray.ndim != 2:
            raise InputError(f"xray: found an array of shape {xray.shape}, expected [h, w]")
        return Radiograph(xray.astype(np.float32)), None
    from xr2mri_jax.io import read_radiograph

    return read_radiograph(xray), Path(xray)
