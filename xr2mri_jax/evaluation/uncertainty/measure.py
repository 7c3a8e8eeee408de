"""Measures the coverage of a generator's intervals on the knees of a split."""

import dataclasses
import itertools
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from xr2mri_jax.evaluation import statistics
from xr2mri_jax.evaluation.uncertainty.fit import NEAR_MM, Knee, knees
from xr2mri_jax.inference import read_ahead
from xr2mri_jax.inference.uncertainty.model import Uncertainty
from xr2mri_jax.inference.uncertainty.quantities import quantities
from xr2mri_jax.inference.uncertainty.surfaces import BACKGROUND
from xr2mri_jax.metrics.calibration import calibration_error, reliability
from xr2mri_jax.metrics.intervals import LEVEL
from xr2mri_jax.metrics.structures import STRUCTURES, structures
from xr2mri_jax.phantom import surfaces
from xr2mri_jax.phantom.surfaces import NAMES
from xr2mri_jax.phantom.tissues import CODES
from xr2mri_jax.runtime import processor
from xr2mri_jax.training.loaded_model import LoadedModel
from xr2mri_jax.training.trained_subjects import split_bases

WHOLE = "whole field"
CONVENTION = {
    "level": LEVEL,
    "intensity": "share of the voxels of each true structure, inside the acquired field, whose "
    "true intensity lies within the half-width of the predicted one",
    "surface": f"share of the grid points within {NEAR_MM:g} mm of a predicted surface at which "
    "the true signed distance lies within the half-width of the predicted one",
    "quantity": "share of the knees whose true value lies within the interval",
    "labels": "predicted probability of a structure against its observed frequency, over voxels "
    "with a probability between 1 and 99 %",
}
_BINS = 10
_GRID = (64, 64, 64)  # of the labels, 2 mm
MOST_KNEES = 40
_UNDECIDED = (0.01, 0.99)
_OF_LABELS: dict[str, tuple[int, ...]] = {
    name: tuple(CODES[part] for part in STRUCTURES[name])
    for name in ("bone", "cartilage", "menisci")
} | {"background": (BACKGROUND,)}

# Numbers by name, one per knee, NaN where a knee has none.
_Columns = dict[str, list[float]]


class Coverage:
    """Accumulates the coverage over the knees of a split."""

    def __init__(self, uncertainty: Uncertainty) -> None:
        """Takes the uncertainty to test."""
        self._uncertainty = uncertainty
        self._knees = 0
        self._inside: dict[str, _Columns] = {"intensity": {}, "surface": {}, "quantity": {}}
        self._width: dict[str, _Columns] = {"intensity": {}, "surface": {}, "quantity": {}}
        self._undecided: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}

    def add(self, knee: Knee) -> None:
        """Measures a knee."""
        self._knees += 1
        width = self._uncertainty.voxels.half_width(knee.predicted)
        inside = np.abs(knee.predicted - knee.true) <= width
        where = {} if knee.labels is None else structures(knee.labels)
        for name, part in {**where, WHOLE: np.ones_like(knee.mask)}.items():
            self._put("intensity", name, inside[part & knee.mask], width[part & knee.mask])
        spread = self._uncertainty.surfaces
        if spread is None or knee.found is None or knee.distances is None:
            return
        widths = spread.on(knee.found.shape[1:])
        near = np.abs(knee.found) < NEAR_MM
        held = np.abs(knee.found - knee.distances) <= widths
        for k, name in enumerate(NAMES):
            self._put("surface", name, held[k][near[k]], widths[k][near[k]])
        true, found = quantities(knee.distances), quantities(knee.found)
        for name, (low, high) in self._uncertainty.offsets.items():
            known = name in true and name in found
            off = np.array([true[name] - found[name]] if known else [])
            span = np.full(off.shape, (high - low) / 2)
            self._put("quantity", name, (off >= low) & (off <= high), span)
        self._labels(knee)

    def merge(self, other: "Coverage") -> None:
        """Appends the knees of another instance."""
        self._knees += other._knees
        for kind in self._inside:
            for own, more in ((self._inside, other._inside), (self._width, other._width)):
                for name, values in more[kind].items():
                    own[kind].setdefault(name, []).extend(values)
        for name, undecided in other._undecided.items():
            self._undecided.setdefault(name, []).extend(undecided)

    def summary(self, subjects: Sequence[str], seed: int) -> dict[str, Any]:
        """The results as JSON-able values.

        Args:
          subjects: of all knees of the split, first those that were added, in their order.
          seed: seed of the bootstrap.

        Returns:
          convention, fitted_on (number of knees), fitted_split (dataset and split, None if
          unknown), knees, knees_of_split; by kind (intensity, surface, quantity) and name the
          coverage with its interval over subjects, and the mean half-width (intensity 0..1, or mm);
          labels: reliability and expected calibration error by structure.
        """
        fitted = self._uncertainty.fitted
        found: dict[str, Any] = {
            "convention": CONVENTION,
            "fitted_on": self._uncertainty.knees,
            "fitted_split": None if fitted is None else dataclasses.asdict(fitted),
            "knees": self._knees,
            "knees_of_split": len(subjects),
        }
        subjects = subjects[: self._knees]
        for kind, columns in self._inside.items():
            found[kind] = {
                name: {
                    "coverage": _estimate(values, subjects, seed),
                    "half_width": float(np.nanmean(self._width[kind][name])),
                }
                for name, values in columns.items()
                if np.isfinite(values).any()
            }
        found["labels"] = {
            name: _reliability(undecided) for name, undecided in self._undecided.items()
        }
        return found

    def _put(self, kind: str, name: str, inside: np.ndarray, width: np.ndarray) -> None:
        for columns, values in ((self._inside, inside), (self._width, width)):
            mean = float(values.mean()) if values.size else float("nan")
            columns[kind].setdefault(name, []).append(mean)

    def _labels(self, knee: Knee) -> None:
        spread = self._uncertainty.surfaces
        assert spread is not None and knee.found is not None and knee.distances is not None
        fine, true = (surfaces.resized(x, _GRID) for x in (knee.found, knee.distances))
        labels, likely = surfaces.labels(true), spread.probabilities(fine)
        for name, codes in _OF_LABELS.items():
            chance = np.clip(sum(likely[code] for code in codes if code in likely), 0, 1)
            undecided = (chance > _UNDECIDED[0]) & (chance < _UNDECIDED[1])
            self._undecided.setdefault(name, []).append(
                (chance[undecided], np.isin(labels, codes)[undecided])
            )


def doubts(uncertainty: Uncertainty, dataset: str, split: str) -> list[str]:
    """Whether the intervals were fitted on knees of the split that tests them: one line, or none.

    Nothing is said of intervals whose split is unknown.
    """
    fitted = uncertainty.fitted
    if fitted is None or fitted.dataset != dataset:
        return []
    if fitted.split == split:
        return [f"the intervals were fitted on the split {split!r}: their coverage is in-sample"]
    if split_bases(fitted.split) & split_bases(split):
        return [
            f"the intervals were fitted on the split {fitted.split!r}, which may share knees with "
            f"the split {split!r}: their coverage may be in-sample"
        ]
    return []


def of_split(uncertainty: Uncertainty, model: LoadedModel, builder: Any, split: str) -> Coverage:
    """Measures the first MOST_KNEES knees of a split; raises InputError as `fit.knees`."""

    def one(knee: Knee) -> Coverage:
        alone = Coverage(uncertainty)
        alone.add(knee)
        return alone

    found, cores = Coverage(uncertainty), processor.cores()
    first = itertools.islice(knees(model, builder, split), MOST_KNEES)
    with ThreadPoolExecutor(cores) as pool:
        for alone in read_ahead.map_ahead(pool, one, first, cores):
            found.merge(alone)
    return found


def _estimate(values: Sequence[float], subjects: Sequence[str], seed: int) -> dict[str, Any]:
    known = np.isfinite(values)
    names = [name for name, good in zip(subjects, known, strict=True) if good]
    return statistics.estimate(np.asarray(values)[known], names, seed=seed)


def _reliability(undecided: Iterable[tuple[np.ndarray, np.ndarray]]) -> dict[str, Any]:
    chance, true = (np.concatenate(part) for part in zip(*undecided, strict=True))
    bins = reliability(chance, true.astype(np.int64), _BINS)
    return {
        "bins": {name: values.tolist() for name, values in bins.items()},
        "calibration_error": calibration_error(chance, true.astype(np.int64), _BINS),
    }
