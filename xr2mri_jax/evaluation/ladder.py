"""The information ladder: how much of the MRI a radiograph explains, by structure and band."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import ndimage

from xr2mri_jax.data import passes
from xr2mri_jax.data.records import open_records
from xr2mri_jax.errors import InputError
from xr2mri_jax.evaluation import controls, verdict
from xr2mri_jax.evaluation.linear_baseline import LinearFits, LinearModel
from xr2mri_jax.geometry import BOX_MM
from xr2mri_jax.metrics import structures
from xr2mri_jax.runtime.progress import progress

Predict = Callable[[np.ndarray], Any]
# Sums of squares f64[n] by source of the prediction, structure and band.
Squares = dict[str, dict[str, dict[str, np.ndarray]]]

OWN, LINEAR, MEAN, OTHER = "own radiograph", "linear regression", "mean volume", "other subject"
BLURS_MM = (2.0, 4.0, 8.0)
FLIPPED, BLANKED = "side flipped", "blanked"
# The linear regression comes last: it is another model, not another radiograph.
CONDITIONS = (OWN, *(f"blurred {s:g} mm" for s in BLURS_MM), FLIPPED, BLANKED, OTHER, LINEAR)
WHOLE, ALL_BANDS = "whole field", "all"
STRUCTURES = (*structures.STRUCTURES, WHOLE)
MOST_BYTES = 1 << 29  # of training volumes in memory; of more, evenly spaced ones are read
# Maximum number of validation cases for choosing the regression's numbers of components.
MOST_CHOOSING = 32
LEVEL = 0.95
CONVENTION = {
    "explained": "1 - squared error / squared error of the mean training volume, summed over all "
    "cases, inside the acquired field; 0: as good as the mean, 1: perfect, below 0: worse than the "
    "mean",
    "interval": f"{LEVEL:.0%}, percentile bootstrap, {verdict.SAMPLES} samples, subjects resampled",
    "structures": "voxels of the true label map",
    "bands": "bands of the error between Gaussians that halve the amplitude of the named "
    "wavelengths",
    "blurred": "the radiograph blurred by a Gaussian of that standard deviation",
    "side flipped": "the radiograph mirrored, so that the fibula is on the wrong side",
    "blanked": "every pixel set to the mean of the training radiographs",
    "other subject": "the radiograph of another subject, each used once",
    "linear regression": "least squares from principal components of radiographs to those of "
    "volumes; numbers of components chosen on at most 32 cases of the validation split",
}


def conditions(
    xrays: np.ndarray, partner: np.ndarray, grey: float
) -> Callable[[str, np.ndarray], np.ndarray]:
    """Makes a function that modifies the radiographs of cases by a condition.

    Args:
      xrays: f32[n, h, w, 1] in [0, 1].
      partner: i[n], a case of another subject.
      grey: pixel value of a blanked radiograph.

    Returns:
      A function from (one of `CONDITIONS`, cases i[b]) to f32[b, h, w, 1].
    """
    pixel = [extent / n for extent, n in zip(BOX_MM[1:], xrays.shape[1:3], strict=True)]

    def of(condition: str, cases: np.ndarray) -> np.ndarray:
        chosen = xrays[cases]
        if condition.startswith("blurred"):
            sigma = float(condition.split()[1])
            widths = (0, *(sigma / step for step in pixel), 0)
            return ndimage.gaussian_filter(chosen, widths, mode="nearest")
        if condition == FLIPPED:
            return np.ascontiguousarray(chosen[:, :, ::-1])
        if condition == BLANKED:
            return np.full_like(chosen, grey)
        return xrays[partner[cases]] if condition == OTHER else chosen

    return of


def measure(
    predict: Predict, source: Any, split: str, train_split: str, eval_split: str, batch_size: int
) -> dict[str, Any]:
    """Measures the whole ladder except generators of other training sizes.

    Args:
      predict: maps xray f32[b, h, w, 1] to f32[b, d, h, w, 1], b = batch_size.
      source: a TFDS builder, or a dict of sequences of decoded examples by split.
      split, train_split, eval_split: the split to measure, the split to fit on, and the split on
        which the linear regression chooses its numbers of components.
      batch_size: cases per batch.

    Returns:
      n, subjects, training_cases (of the whole training split), explained (by condition and
      structure), bands (by condition OWN and LINEAR, structure and band), curve (`explained` of the
      linear regression in the whole field by its number of training cases, see `MOST_BYTES`),
      linear_components, convention.

    Raises:
      InputError: a split or field is missing, or the split has no label maps.
    """
    train, evaluated = (_read(source, part, batch_size) for part in (train_split, eval_split))
    mean, filled = _filled(train)
    fits = {count: LinearFits(train["xray"][:count], filled[:count]) for count in _sizes(filled)}
    chosen = [evaluated[name][:MOST_CHOOSING] for name in ("xray", "mri", "mask")]
    linear = {count: fit.best(*chosen) for count, fit in fits.items()}
    xrays, about = passes.predictions(lambda x: x, source, split, batch_size, "radiographs")
    partner = controls.shuffled(about["subject"], 0)
    of = conditions(np.asarray(xrays), partner, float(train["xray"].mean()))
    squares = _squares(predict, linear, of, source, split, mean, batch_size)
    subjects = about["subject"]

    def explained(name: str, structure: str, band: str = ALL_BANDS) -> dict[str, Any] | None:
        return share(squares[name][structure][band], squares[MEAN][structure][band], subjects)

    largest = max(linear)
    return {
        "n": len(subjects),
        "subjects": len(set(subjects)),
        "training_cases": passes.count(source, train_split),
        "linear_components": {str(n): list(m.components) for n, m in linear.items()},
        "explained": {c: {s: explained(c, s) for s in STRUCTURES} for c in CONDITIONS},
        "bands": {
            c: {s: {b: explained(c, s, b) for b in squares[c][s] if b != ALL_BANDS}
                for s in STRUCTURES}
            for c in (OWN, LINEAR)
        },
        "curve": {
            str(n): explained(LINEAR if n == largest else _size_label(n), WHOLE) for n in linear
        },
        "convention": CONVENTION,
    }  # fmt: skip


def of_run(
    predict: Predict, source: Any, split: str, train_split: str, batch_size: int
) -> dict[str, Any] | None:
    """The share of variance in the whole field that another generator explains.

    Args:
      predict, source, split, batch_size: as for `measure`.
      train_split: the split whose mean volume is the reference.
    """
    mean, _ = _filled(_read(source, train_split, batch_size))
    xrays, about = passes.predictions(lambda x: x, source, split, batch_size, "radiographs")
    of = conditions(np.asarray(xrays), np.arange(len(xrays)), 0.0)
    squares = _squares(predict, {}, of, source, split, mean, batch_size, (OWN,))
    own, reference = (squares[name][WHOLE][ALL_BANDS] for name in (OWN, MEAN))
    return share(own, reference, about["subject"])


def share(squares: np.ndarray, reference: np.ndarray, subjects: Sequence[Any]) -> Any:
    """explained, ci95 and n from sums of squares f64[n]; None if no case has the structure."""
    known = np.isfinite(squares) & np.isfinite(reference)
    if not known.any():
        return None
    names = np.asarray(subjects)[known]
    found = verdict.compared(squares[known], reference[known], names, LEVEL)
    return {"explained": found["gain"], "ci95": found["gain_interval"], "n": int(known.sum())}


def _size_label(count: int) -> str:
    return f"{LINEAR} {count}"


def _sizes(volumes: np.ndarray) -> list[int]:
    """Training set sizes: all cases, then repeated halves down to at least 8."""
    sizes = [len(volumes)]
    while sizes[-1] >= 16:
        sizes.append(sizes[-1] // 2)
    return sizes


def _read(source: Any, split: str, batch_size: int) -> dict[str, np.ndarray]:
    """xray, mri and mask of a split; evenly spaced cases if all exceed MOST_BYTES."""
    parts: dict[str, list[np.ndarray]] = {"xray": [], "mri": [], "mask": []}
    total = passes.count(source, split)
    step = 1
    for batch in passes.batches(source, split, ("xray", "mri", "mask"), batch_size, split):
        if not parts["mri"]:
            step = max(1, -(-total * batch["mri"][0].nbytes // MOST_BYTES))
        real = (batch["example_mask"] > 0) & (batch["index"] % step == 0)
        for name, kept in parts.items():
            kept.append(batch[name][real] if name != "mask" else batch[name][real] > 0)
    return {name: np.concatenate(kept) for name, kept in parts.items()}


def _filled(train: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The mean volume f32[d, h, w, 1], and volumes with the mean outside their masks."""
    mri, mask = train["mri"], train["mask"]
    total = np.sum(mri, axis=0, where=mask, dtype=np.float64)
    mean = (total / np.maximum(mask.sum(axis=0), 1)).astype(np.float32)
    return mean, np.where(mask, mri, mean)


def _squares(
    predict: Predict,
    linear: Mapping[int, LinearModel],
    of: Callable[[str, np.ndarray], np.ndarray],
    source: Any,
    split: str,
    mean: np.ndarray,
    batch_size: int,
    names: Sequence[str] = CONDITIONS[:-1],
) -> Squares:
    records = passes.part(source, split)
    features = records.info.features if hasattr(records, "info") else records[0]
    if "labels" not in features:
        raise InputError(f"the split {split!r} has no label maps, expected a dataset with labels")
    opened, _ = open_records(records, split, ("mri", "mask", "labels"))
    count = len(opened)
    found: Squares = {}
    starts = range(0, count, batch_size)
    for first in progress(starts, "ladder", "batch", len(starts)):
        cases = np.minimum(np.arange(first, first + batch_size), count - 1)
        made = {name: np.asarray(predict(of(name, cases)), np.float32) for name in names}
        for size, model in linear.items():
            name = LINEAR if size == max(linear) else _size_label(size)
            made[name] = model.predict(of(OWN, cases))
        made[MEAN] = np.broadcast_to(mean, (len(cases), *mean.shape))
        for row, case in enumerate(cases[: count - first]):
            volumes = {name: volume[row, ..., 0] for name, volume in made.items()}
            _add(found, volumes, opened[int(case)], int(case), count)
    return found


def _add(
    found: Squares, volumes: Mapping[str, np.ndarray], record: Any, case: int, count: int
) -> None:
    true, mask = record["mri"][..., 0] / np.float32(65535), record["mask"][..., 0] > 0
    spacing = [extent / n for extent, n in zip(BOX_MM, true.shape, strict=True)]
    where = {**structures.structures(record["labels"]), WHOLE: np.ones_like(mask)}
    for name, volume in volumes.items():
        error = np.where(mask, volume - true, 0).astype(np.float32)
        parts = {ALL_BANDS: error}
        if name in (OWN, LINEAR, MEAN):
            parts |= structures.bands(error, spacing)
        for band, part in parts.items():
            for structure, region in where.items():
                inside = region & mask
                row = found.setdefault(name, {}).setdefault(structure, {})
                values = row.setdefault(band, np.full(count, np.nan))
                if inside.any():
                    values[case] = np.square(part[inside], dtype=np.float64).sum()
