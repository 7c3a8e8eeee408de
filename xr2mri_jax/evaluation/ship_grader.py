"""Makes a grader from a training run: rounds, calibrates, fits the novelty score, writes files."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from xr2mri_jax import datasets, files, output_paths
from xr2mri_jax.data import passes, selection
from xr2mri_jax.datasets.preparation_record import contrast_of_dataset
from xr2mri_jax.errors import InputError
from xr2mri_jax.evaluation import grades as ordered
from xr2mri_jax.evaluation import model_card
from xr2mri_jax.inference import novelty
from xr2mri_jax.inference.knee_grader import file_format
from xr2mri_jax.inference.knee_grader.file_format import Calibration, KneeGrader
from xr2mri_jax.inference.knee_grader.from_run import uncalibrated
from xr2mri_jax.inference.knee_grader.load import SHIPPED, SHIPPED_GRADES
from xr2mri_jax.inference.knee_grader.network import Network, early_probability
from xr2mri_jax.metrics import calibration, classification, conformal
from xr2mri_jax.metrics.calibration import Scaling
from xr2mri_jax.training.loaded_model import load_best

SENSITIVITIES = (0.8, file_format.SENSITIVITY, 0.95)


class SplitOutputs(NamedTuple):
    """Network outputs for some patients: logits f[n, k], features f[n, m], class i[n]."""

    logits: np.ndarray
    features: np.ndarray
    label: np.ndarray
    subject: list[str]


def make_grader(
    workdir: str | os.PathLike[str],
    data_dir: str | os.PathLike[str] | None = None,
    step: int | None = None,
    batch_size: int = 32,
    views: bool = False,
    compact: bool = False,
) -> KneeGrader:
    """Makes the grader of a run: rounds its weights to float16, then calibrates it.

    Args:
      workdir: run of siamese_gap with held-out patients.
      data_dir: where the dataset is prepared; None: where the run read it.
      step: checkpoint; None: the one that launch/evaluate.py uses.
      batch_size: radiographs per batch.
      views: whether the grader averages over views of a radiograph, also during calibration.
      compact: whether kernels are rounded further, see `file_format.compacted`.

    Raises:
      InputError: the run or its dataset cannot be used, or no patients were held out.
    """
    model = load_best(workdir, step)
    grader = dataclasses.replace(uncalibrated(model, workdir), views=views)
    if compact:
        grader = dataclasses.replace(grader, params=file_format.compacted(grader.params))
    data = model.config["data"]
    if not data["held_out"] > 0:
        raise InputError(
            f"{workdir}: config.data.held_out is {data['held_out']:g}, expected more than 0: the "
            "probabilities are calibrated on held-out patients of the training split"
        )
    builder = datasets.load_builder(data["dataset"], data_dir or data["data_dir"])
    network = Network(grader, batch_size)
    held_out = _run_network(network, builder, data, "held_out")
    # Only the features of the training patients are needed, and these come from one view.
    one_view = Network(dataclasses.replace(grader, views=False), batch_size)
    trained = _run_network(one_view, builder, data, "train")
    found = {grader.grades[label] for label in held_out.label}
    if not {grader.grades[0], file_format.POSITIVE_GRADE} <= found:
        raise InputError(
            f"{workdir}: the held-out patients have the grades {sorted(found)}, expected "
            f"{grader.grades[0]} and {file_format.POSITIVE_GRADE} among them"
        )
    return dataclasses.replace(
        grader,
        contrast=contrast_of_dataset(builder),
        calibration=calibrate(
            held_out.logits,
            held_out.label,
            grader.grades,
            held_out.subject,
            ordered.scaling(ordered.Known(held_out.logits, held_out.label), data),
        ),
        novelty_detector=novelty.fit(trained.features, held_out.features),
        training={
            **grader.training,
            "training_knees": len(trained.label),
            "training_subjects": len(set(trained.subject)),
        },
    )


def calibrate(
    logits: np.ndarray,
    label: np.ndarray,
    grades: Sequence[int],
    subject: list[str],
    scaling: Scaling,
) -> Calibration:
    """Calibrates a grader: thresholds and reliability for grade 2 against the lowest grade.

    Args:
      logits: f[n, k].
      label: i[n], the class in 0..k-1; grade 2 and the lowest grade must occur.
      grades: k grades in ascending order, including grade 2.
      subject: n names.
      scaling: how the logits become probabilities.
    """
    place = list(grades).index(file_format.POSITIVE_GRADE)
    usable = np.isin(label, (0, place))
    positive = (label[usable] == place).astype(np.int64)
    score = early_probability(logits[usable], grades, scaling)
    rows = []
    for wanted in SENSITIVITIES:
        at = classification.threshold_for_sensitivity(score, positive, wanted)
        found = classification.accuracies(score, positive, at)
        rows.append(
            {
                "sensitivity_wanted": wanted,
                "probability": at,
                "sensitivity": found["sensitivity"],
                "specificity": found["specificity"],
            }
        )
    bins = calibration.reliability(score, positive)
    set_limits = None
    if logits.shape[1] > 2:
        set_limits = conformal.fit(scaling.probabilities(logits), label).tolist()
    return Calibration(
        scaling.temperature,
        rows,
        {name: values.tolist() for name, values in bins.items()},
        calibration.calibration_error(early_probability(logits[usable], grades), positive),
        calibration.calibration_error(score, positive),
        len(label),
        len(set(subject)),
        set_limits,
        None if scaling.offsets is None else list(scaling.offsets),
        None if scaling.prevalence is None else list(scaling.prevalence),
    )


def ship(
    workdir: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    step: int | None = None,
    equalised: bool = False,
    views: bool = False,
    compact: bool = False,
) -> tuple[KneeGrader, Path]:
    """Makes the grader of a run and writes its files.

    Args:
      workdir, data_dir, step, views, compact: as for `make_grader`.
      output: a new or empty folder; None: the package's own folder, whose model of two or of more
        grades is replaced.
      equalised: whether adaptive equalisation was applied to the training files beforehand.

    Returns:
      The grader and its folder.

    Raises:
      InputError: as for `make_grader`, or the folder is not empty.
    """
    folder = Path(output) if output is not None else _package_folder(workdir, step)
    if output is not None and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"--output: found {folder}, expected a new or empty folder")
    output_paths.require_writable(folder, "--output")
    grader = make_grader(workdir, data_dir, step, views=views, compact=compact)
    grader = dataclasses.replace(grader, training={**grader.training, "equalised": equalised})
    if output is None:
        file_format.write(folder, grader)
    else:
        with files.atomic_folder(folder) as partial:
            file_format.write(partial, grader)
            model = dataclasses.replace(
                load_best(workdir, step), params=grader.params, model_state=grader.model_state
            )
            data = model.config["data"]
            builder = datasets.load_builder(data["dataset"], data_dir or data["data_dir"])
            card = model_card.of_shipped(workdir, model, builder, views)
            files.write_text(partial / model_card.NAME, card)
    return grader, folder


def _package_folder(workdir: str | os.PathLike[str], step: int | None) -> Path:
    """The package's folder for a run's model."""
    return (
        SHIPPED if len(load_best(workdir, step).config["data"]["grades"]) == 2 else (SHIPPED_GRADES)
    )


def _run_network(
    network: Network, builder: Any, data: Mapping[str, Any], part: str
) -> SplitOutputs:
    """Runs the network once, without augmentation, on each patient of a part of the split."""
    split, grades = data["train_split"], tuple(data["grades"])
    source = selection.of_part(builder, data, split, ("xray", "kl", "subject"), part)
    title = f"{part.replace('_', '-')} patients"
    (logits, features), about = passes.predictions(
        network, source, split, network.batch_size, title
    )
    label = np.array([grades.index(int(kl)) for kl in about["kl"]])
    return SplitOutputs(logits, features, label, about["subject"])
