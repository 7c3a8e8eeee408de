"""Soft labels: what earlier classifiers say of training knees that they have not seen.

Each teacher was trained without one fold of the patients (config.data.fold) and speaks of that
fold alone, so that a grade that was learned by heart teaches nobody. A student learns from grade
and soft label together: knowledge distillation (Hinton et al. 2015, arXiv 1503.02531) from
cross-fitted teachers. The run keeps its soft labels as a table and is continued without them.
"""

import csv
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from scipy import special

from xr2mri_jax import datasets, files
from xr2mri_jax.data import batches, selection
from xr2mri_jax.data import passes as cases
from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import SIDES
from xr2mri_jax.io.tables import read_table
from xr2mri_jax.training.checkpoint import LoadedModel, load_chosen

FILE = "soft_labels.csv"
BATCH = 32
DIGITS = 5

# From a subject and a side to the probability of each grade.
Labels = dict[tuple[str, str], tuple[float, ...]]


def ask(workdirs: Sequence[str], data: Mapping[str, Any]) -> Labels:
    """The teachers' probabilities of the knees in their folds, the mean where several speak.

    Args:
      workdirs: folders of siamese_gap runs.
      data: the student's config.data; its data_dir must hold the teachers' datasets too.

    Raises:
      InputError: where a teacher has other grades or other held-out patients, or left nobody out.
    """
    told: dict[tuple[str, str], list[np.ndarray]] = {}
    for folder in workdirs:
        model = load_chosen(folder)
        _require_teacher(folder, model, data)
        for knee, probability in _answers(folder, model, data["data_dir"]).items():
            told.setdefault(knee, []).append(probability)
    return {
        knee: tuple(round(float(p), DIGITS) for p in np.mean(given, axis=0))
        for knee, given in sorted(told.items())
    }


def write(folder: Path, labels: Labels, grades: Sequence[int]) -> None:
    """Writes the table of a run: subject, side, probability_kl0, ..."""
    with (
        files.atomic_path(folder / FILE) as partial,
        partial.open("w", encoding="utf-8", newline="") as file,
    ):
        rows = csv.writer(file)
        rows.writerow(("subject", "side", *_columns(grades)))
        rows.writerows((*knee, *probabilities) for knee, probabilities in labels.items())


def read(folder: Path, grades: Sequence[int]) -> Labels:
    """Reads what `write` wrote.

    Raises:
      InputError: where the table is missing or broken.
    """
    columns = _columns(grades)
    labels = {}
    for row in read_table(folder / FILE, required=("subject", "side", *columns)):
        values = []
        for column in columns:
            try:
                values.append(float(row[column]))
            except ValueError as error:
                raise row.error(column, row[column], "a probability") from error
        labels[row["subject"], row["side"]] = tuple(values)
    return labels


@dataclasses.dataclass(frozen=True)
class Taught(Sequence):
    """Examples with their soft labels.

    Attributes:
      records: random access to decoded examples.
      labels: f32[n, k], of each of them.
    """

    records: Sequence[Any]
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: Any) -> Any:
        return {**self.records[index], "taught": self.labels[index]}


def attach(source: selection.Selected, builder: Any, split: str, labels: Labels) -> Taught:
    """The chosen examples of a split with their soft labels, as the entry `taught` f32[k].

    Raises:
      InputError: where a knee has none.
    """
    described, _ = batches.open_records(builder, split, ("subject", "side"))
    knees = []
    for position in source.positions.tolist():
        record = described[position]
        knees.append((batches.text(record["subject"]), SIDES[int(record["side"])]))
    unknown = sorted({knee for knee in knees if knee not in labels})
    if unknown:
        raise InputError(
            f"config.teacher_workdirs: {len(unknown)} of the training knees are in no teacher's "
            f"fold, the {unknown[0][1]} one of {unknown[0][0]} first; expected a teacher for each "
            "of the folds"
        )
    return Taught(source, np.array([labels[knee] for knee in knees], np.float32))


def _columns(grades: Sequence[int]) -> list[str]:
    return [f"probability_kl{grade}" for grade in grades]


def _require_teacher(folder: str, model: LoadedModel, data: Mapping[str, Any]) -> None:
    own = model.config["data"]
    if model.stage.name != "siamese_gap" or not own.get("folds", 0):
        raise InputError(
            f"config.teacher_workdirs: {folder} has seen all training patients, expected a run of "
            "siamese_gap with config.data.folds"
        )
    for key in ("grades", "held_out", "held_out_seed"):
        if own[key] != data[key]:
            raise InputError(
                f"config.teacher_workdirs: {folder} was trained with config.data.{key}="
                f"{own[key]!r}, expected {data[key]!r} as here"
            )


def _answers(folder: str, model: LoadedModel, data_dir: str) -> dict[tuple[str, str], np.ndarray]:
    """The probabilities f64[k] of each knee in the teacher's fold."""
    stage: Any = model.stage
    data = model.config["data"]
    builder = datasets.load_builder(data["dataset"], data_dir)
    split = data["train_split"]
    source = selection.of_part(builder, data, split, ("xray", "kl", "side", "subject"), "fold")
    params, model_state = jax.device_put((model.params, model.model_state))
    classify = jax.jit(stage.classify)
    title = f"soft labels by {folder}"
    logits, about = cases.answers(
        lambda xray: classify(params, model_state, xray), source, split, BATCH, title
    )
    knees = zip(about["subject"], about["side"], strict=True)
    return dict(zip(knees, special.softmax(logits.astype(np.float64), axis=1), strict=True))
