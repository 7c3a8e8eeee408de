"""A linear probe: predicts the grade from an auto-encoder's hidden variables."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from xr2mri_jax.data import records, selection
from xr2mri_jax.datasets.splits import is_held_out
from xr2mri_jax.errors import InputError
from xr2mri_jax.evaluation import classifier
from xr2mri_jax.metrics import classification
from xr2mri_jax.models.linear_probe import LinearProbe, fit_linear_probe
from xr2mri_jax.training import config as recipe

Features = Callable[[np.ndarray], Any]

DECAYS = (1.0, 10.0, 100.0, 1_000.0, 10_000.0)


def graded(data: Mapping[str, Any]) -> dict[str, Any]:
    """config.data of the classifiers, with the auto-encoder's training split."""
    return {
        **recipe.plain(recipe.default("siamese_gap"))["data"],
        "train_split": data["train_split"],
    }


def fit(
    features: Features, builder: Any, data: Mapping[str, Any], batch_size: int = 32
) -> tuple[LinearProbe, dict[str, float]]:
    """Fits a probe on the training patients; selects its weight decay by held-out AUC.

    Args:
      features: maps f32[b, h, w, 1] in [0, 1] to f32[b, k]; called with b = batch_size.
      builder: a prepared TFDS builder, or a sequence of decoded examples.
      data: config.data with two grades, as from `graded`.
      batch_size: radiographs per batch.

    Returns:
      The probe, its weight decay "decay" and its AUC "held_out_auc".

    Raises:
      InputError: if the training or the held-out patients lack knees of one of the grades.
    """
    split = data["train_split"]

    def read(training: bool) -> tuple[np.ndarray, np.ndarray]:
        found, about, _ = classifier.apply(features, builder, data, split, batch_size, training)
        return found, np.array([data["grades"].index(int(kl)) for kl in about["kl"]])

    _require_both_grades(builder, data)
    known, label = read(training=True)
    held_out, held_out_label = read(training=False)
    tried = {}
    for decay in DECAYS:
        probe = fit_linear_probe(known, label, decay)
        score = probe.logits(held_out)[:, 1]
        tried[decay] = classification.auc(score, held_out_label), probe
    decay = max(tried, key=lambda d: tried[d][0])
    return tried[decay][1], {"decay": decay, "held_out_auc": tried[decay][0]}


def _require_both_grades(builder: Any, data: Mapping[str, Any]) -> None:
    split, share = data["train_split"], data["held_out"]
    knees = selection.of_part(builder, data, split, ("kl", "subject"), "all")
    counts: dict[bool, Counter[int]] = {False: Counter(), True: Counter()}
    for i in range(len(knees)):
        subject = records.text(knees[i]["subject"])
        held_out = is_held_out(subject, share, data["held_out_seed"])
        counts[held_out][int(knees[i]["kl"])] += 1
    if all(counts[part][grade] for part in counts for grade in data["grades"]):
        return

    def listed(held_out: bool) -> str:
        return " and ".join(
            f"{counts[held_out][grade]} of grade {grade}" for grade in data["grades"]
        )

    raise InputError(
        f"--linear_probe: the split {split!r} has {listed(False)} among the patients that the "
        f"probe is fitted on, and {listed(True)} among the {share:.0%} held out to choose its "
        "weight decay, expected knees of both grades in each: give a dataset of more patients "
        "(--data_dir)"
    )
