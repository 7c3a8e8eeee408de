"""Fits the intervals of a generator on its evaluation split or another held-out split."""

import dataclasses
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import logging

from xr2mri_jax import datasets, output_paths
from xr2mri_jax.data import passes
from xr2mri_jax.errors import InputError
from xr2mri_jax.evaluation.property_errors import LabelsOf, labels_of
from xr2mri_jax.inference.knee_generator.load import has_surfaces
from xr2mri_jax.inference.uncertainty import model as form
from xr2mri_jax.inference.uncertainty import surfaces as surface_form
from xr2mri_jax.inference.uncertainty import voxels as voxel_form
from xr2mri_jax.inference.uncertainty.model import FittedSplit, Uncertainty
from xr2mri_jax.inference.uncertainty.quantities import quantities
from xr2mri_jax.inference.uncertainty.surfaces import SurfaceSpread
from xr2mri_jax.inference.uncertainty.voxels import VoxelSpread
from xr2mri_jax.metrics import intervals
from xr2mri_jax.metrics.structures import STRUCTURES, structures
from xr2mri_jax.phantom.surfaces import NAMES
from xr2mri_jax.stages.base import Predicts, Surfaces
from xr2mri_jax.training import inference_settings
from xr2mri_jax.training.loaded_model import LoadedModel, load_model
from xr2mri_jax.training.trained_subjects import doubts_of_evaluation

SEED = 0
BATCH = 4
# Maximum number of voxels sampled per knee.
_KEPT = 60_000
# Distances are used within this many mm of the predicted surface.
NEAR_MM = 2.0
_ROUNDS = 4
# A structure whose coverage lies outside this range gets its own factor.
_WITHIN = (0.9, 0.93)
_STRUCTURE_ROUNDS = 30
_SMALLEST = 1e-4  # added to errors before the logarithm; intensities are 0 to 1
_LEAST_MM = 0.05


class Knee(NamedTuple):
    """A held-out knee with prediction and truth.

    Attributes:
      predicted, true: f32[d, h, w] in [0, 1].
      mask: bool[d, h, w], the acquired field.
      labels: u8[d, h, w], or None.
      found, distances: predicted and true signed distances f32[k, d', h', w'], or both None.
    """

    predicted: np.ndarray
    true: np.ndarray
    mask: np.ndarray
    labels: np.ndarray | None
    found: np.ndarray | None
    distances: np.ndarray | None


def knees(model: LoadedModel, builder: Any, split: str) -> Iterator[Knee]:
    """Yields the knees of a split with the model's predictions.

    Raises:
      InputError: the stage predicts no volumes, or the split cannot be used.
    """
    stage = model.stage
    if not isinstance(stage, Predicts):
        raise InputError(
            f"found the stage {stage.name!r}, expected a generator or joint stage, which predicts "
            "volumes"
        )
    fields = ["xray", "mri", "mask"]
    answer: Callable[[Any], Any] = jax.jit(
        lambda xray: (stage.predict(model.params, model.model_state, xray), None)
    )
    if has_surfaces(model):
        assert isinstance(stage, Surfaces)
        fields.append("distances")
        answer = jax.jit(lambda xray: stage.surfaces(model.params, model.model_state, xray))
    known: LabelsOf | None = labels_of(builder, split)
    position = 0
    for batch in passes.batches(builder, split, fields, BATCH, f"{split} knees"):
        volumes, found = jax.device_get(answer(batch["xray"]))
        for i in np.flatnonzero(batch["example_mask"] > 0):
            yield Knee(
                np.clip(np.asarray(volumes[i, ..., 0], np.float32), 0, 1),
                batch["mri"][i, ..., 0],
                batch["mask"][i, ..., 0] > 0,
                None if known is None else known(position),
                None if found is None else np.asarray(found[i], np.float32),
                batch["distances"][i] if "distances" in batch else None,
            )
            position += 1


def calibrate(
    workdir: str | os.PathLike[str],
    split: str | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    step: int | None = None,
) -> tuple[Path, Uncertainty]:
    """Fits the uncertainty of a run and writes it into the run's folder.

    Args:
      workdir: run of a generator or joint stage.
      split: held-out knees; None: the evaluation split of training.
      data_dir: where the dataset is prepared; None: where the run read it.
      step: checkpoint; None: the newest.

    Returns:
      The file and its content.

    Raises:
      InputError: the run, the dataset or the split cannot be used, or it is the training split.
    """
    model = load_model(workdir, step)
    output_paths.require_writable(Path(workdir), "--workdir")
    data = model.config["data"]
    chosen = split or data["eval_split"]
    if chosen.partition("[")[0] == data["train_split"].partition("[")[0]:
        raise InputError(f"--split={chosen}: is the training split, expected a held-out split")
    fitted = FittedSplit(data["dataset"], chosen)
    builder = datasets.load_builder(data["dataset"], data_dir or data["data_dir"])
    inference_settings.require_same_contrast(model.config, builder)
    for doubt in doubts_of_evaluation(model, builder, chosen):
        logging.warning(doubt)
    made = dataclasses.replace(fit(knees(model, builder, chosen)), fitted=fitted)
    path = Path(workdir) / form.NAME
    form.write(path, made, model.params)
    return path, made


def fit(held_out: Iterator[Knee]) -> Uncertainty:
    """Fits the uncertainty of a model on knees outside its training set.

    Raises:
      InputError: there are no knees.
    """
    rng = np.random.default_rng(SEED)
    rows: list[tuple[np.ndarray, ...]] = []
    gaps: list[tuple[np.ndarray, ...]] = []
    residuals: dict[str, list[float]] = {name: [] for name in form.QUANTITIES}
    labelled = True
    for knee in held_out:
        rows.append(_voxels(knee, rng))
        labelled = labelled and knee.labels is not None
        if knee.found is not None and knee.distances is not None:
            gaps.append(_gaps(knee.found, knee.distances))
            true, found = quantities(knee.distances), quantities(knee.found)
            for name in true.keys() & found.keys():
                residuals[name].append(true[name] - found[name])
    if not rows:
        raise InputError("found no held-out knee, expected at least one")
    levels, place, error, kind = (np.concatenate(part) for part in zip(*rows, strict=True))
    of_voxels = _fit_voxels(levels, place, error, kind, labelled)
    if not gaps:
        return Uncertainty(of_voxels, None, {}, len(rows))
    which, blocks, off = (np.concatenate(part) for part in zip(*gaps, strict=True))
    of_surfaces = _fit_surfaces(which, blocks, off)
    seen = {name: np.array(found) for name, found in residuals.items() if found}
    offsets = {name: intervals.conformal_offsets(found) for name, found in seen.items()}
    return Uncertainty(of_voxels, of_surfaces, offsets, len(rows))


def _voxels(knee: Knee, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Bin, block, log error and structure of sampled voxels of the acquired field."""
    levels, place = voxel_form.features(knee.predicted)
    error = np.log(np.abs(knee.predicted - knee.true) + _SMALLEST)
    kind = np.full(levels.shape, len(STRUCTURES), np.int8)
    if knee.labels is not None:
        for i, where in enumerate(structures(knee.labels).values()):
            kind[where] = i
    inside = np.flatnonzero(knee.mask)
    kept = rng.choice(inside, min(_KEPT, len(inside)), replace=False)
    return tuple(x.ravel()[kept] for x in (levels, place, error.astype(np.float32), kind))


def _fit_voxels(
    levels: np.ndarray, place: np.ndarray, error: np.ndarray, kind: np.ndarray, labelled: bool
) -> VoxelSpread:
    of_place, of_bin = np.zeros(voxel_form.PLACES), np.zeros(voxel_form.BINS)
    for _ in range(_ROUNDS):
        of_bin = intervals.grouped_quantile(error - of_place[place], levels, voxel_form.BINS)
        of_place = intervals.grouped_quantile(error - of_bin[levels], place, voxel_form.PLACES)
    of_bin += np.quantile(error - of_place[place] - of_bin[levels], intervals.LEVEL)
    kinds = len(STRUCTURES) + 1
    seen = [(kind == i) for i in range(kinds)]
    in_bin = np.stack([np.bincount(levels[own], minlength=voxel_form.BINS) for own in seen]) + 0.5
    at = np.stack([np.bincount(place[own], minlength=voxel_form.PLACES) for own in seen]) + 0.05
    in_bin, at = (np.log(x / x.sum(axis=1, keepdims=True)) for x in (in_bin, at))
    shares = np.log([max(float(own.mean()), 1e-6) for own in seen])
    made = VoxelSpread(
        of_place.astype(np.float32),
        of_bin.astype(np.float32),
        np.zeros(kinds, np.float32),
        (in_bin + shares[:, None]).astype(np.float32),
        at.astype(np.float32),
    )
    return _with_structures(made, levels, place, error, seen) if labelled else made


def _with_structures(
    made: VoxelSpread,
    levels: np.ndarray,
    place: np.ndarray,
    error: np.ndarray,
    seen: list[np.ndarray],
) -> VoxelSpread:
    """Adds factors for structures whose coverage would be too small or too large."""
    plain = error - made.logarithm(levels, place)
    likely = made.probability(levels, place)
    factors = np.zeros(len(seen), np.float32)
    for _ in range(_STRUCTURE_ROUNDS):
        rest = plain - factors @ likely
        for i, own in enumerate(seen):
            covered = float((rest[own] <= 0).mean()) if own.any() else intervals.LEVEL
            wanted = float(np.clip(covered, *_WITHIN))
            if covered != wanted:
                factors[i] += 0.7 * float(np.quantile(rest[own], wanted))
    return VoxelSpread(made.of_place, made.of_bin, factors, made.seen_in_bin, made.seen_at)


def _gaps(found: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, ...]:
    """Surface, block and absolute error in mm of the distances near the predicted surfaces."""
    near = np.abs(found) < NEAR_MM
    which, *index = np.nonzero(near)
    blocks = [
        i * blocks // n
        for i, n, blocks in zip(index, found.shape[1:], surface_form.BLOCKS, strict=True)
    ]
    place = np.ravel_multi_index((which, *blocks), (len(found), *surface_form.BLOCKS))
    return which, place, np.abs(found - true)[near]


def _fit_surfaces(which: np.ndarray, place: np.ndarray, error: np.ndarray) -> SurfaceSpread:
    size = int(np.prod(surface_form.BLOCKS))
    made = np.empty((len(NAMES), *surface_form.BLOCKS), np.float32)
    for k in range(len(NAMES)):
        own = which == k
        if not own.any():  # a structure that is never predicted has no surface to measure
            made[k] = NEAR_MM
            continue
        widths = intervals.grouped_quantile(error[own], place[own] - k * size, size)
        off = error[own] / widths[place[own] - k * size]
        made[k] = (widths * np.quantile(off, intervals.LEVEL)).reshape(surface_form.BLOCKS)
    return SurfaceSpread(np.maximum(made, _LEAST_MM))
