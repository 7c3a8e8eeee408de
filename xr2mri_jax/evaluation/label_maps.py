"""Dice of the label maps of a generator with surfaces, compared with controls."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from xr2mri_jax.data import passes
from xr2mri_jax.data.records import open_records
from xr2mri_jax.evaluation import statistics
from xr2mri_jax.evaluation.property_errors import LabelsOf
from xr2mri_jax.metrics.occupancy import dice
from xr2mri_jax.phantom import surfaces
from xr2mri_jax.phantom.tissues import CODES
from xr2mri_jax.runtime.progress import progress

Distances = Callable[[np.ndarray], np.ndarray]
PARTS: dict[str, tuple[str, ...]] = {
    **{name: (name,) for name in ("femur", "tibia", "patella", "fibula", "femoral_cartilage")},
    "tibial_cartilage": ("medial_tibial_cartilage", "lateral_tibial_cartilage"),
    "patellar_cartilage": ("patellar_cartilage",),
    "menisci": ("medial_meniscus", "lateral_meniscus"),
}
CONVENTION = (
    "Dice, per case, between the label map that `predict --labels` gives and the dataset's label "
    "map, on the volume's grid; cases whose true label map lacks the structure are excluded"
)


def mean_distances(source: Any, split: str) -> np.ndarray | None:
    """The mean signed distances f32[k, d, h, w] of a split in mm; None if it has no distances."""
    records = passes.part(source, split)
    features = records.info.features if hasattr(records, "info") else records[0]
    if "distances" not in features:
        return None
    opened, _ = open_records(records, split, ("distances",))
    total: Any = 0.0
    for index in progress(range(len(opened)), "mean surfaces", "knee", len(opened)):
        total = total + np.asarray(opened[index]["distances"], np.float64)
    return np.asarray(total / (len(opened) * surfaces.STEPS), np.float32)


def evaluate(
    distances: Distances,
    labels: LabelsOf,
    xrays: np.ndarray,
    partner: Sequence[int] | np.ndarray,
    mean: np.ndarray | None,
    subjects: Sequence[Any],
    seed: int = 0,
) -> dict[str, Any]:
    """Dice by structure of the model and its controls.

    Args:
      distances: maps an xray f32[1, h, w, 1] to signed distances f32[k, d', h', w'] in mm.
      labels: maps a position to the true label map u8[d, h, w].
      xrays: f32[n, h, w, 1], the cases' radiographs.
      partner: n positions of cases of another subject, for the control with shuffled radiographs.
      mean: the mean distances of training knees; None: without this control.
      subjects: n names.
      seed: seed of the bootstrap.

    Returns:
      {"convention", "n", and by "model", "mean_shape", "shuffled_xray": Dice by structure with
      its interval}.
    """
    shape = labels(0).shape

    def map_of(found: np.ndarray) -> np.ndarray:
        return surfaces.labels(surfaces.resized(np.asarray(found, np.float32), shape, order=3))

    made = [
        map_of(distances(xray[None])) for xray in progress(xrays, "label maps", "knee", len(xrays))
    ]
    sources: dict[str, Callable[[int], np.ndarray]] = {"model": lambda i: made[i]}
    if mean is not None:
        average = map_of(mean)
        sources["mean_shape"] = lambda i: average
    sources["shuffled_xray"] = lambda i: made[partner[i]]
    found: dict[str, Any] = {"convention": CONVENTION, "n": len(made)}
    for name, source in sources.items():
        rows = [dice_by_part(source(i), labels(i)) for i in range(len(made))]
        found[name] = _summary(rows, subjects, seed)
    return found


def dice_by_part(found: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """Dice of two label maps u8[d, h, w] by PARTS; NaN if the truth lacks the structure."""
    values = {}
    for name, tissues in PARTS.items():
        codes = [CODES[tissue] for tissue in tissues]
        one, other = np.isin(found, codes), np.isin(true, codes)
        values[name] = dice(one, other, np.ones_like(one)) if other.any() else float("nan")
    return values


def _summary(
    rows: Sequence[Mapping[str, float]], subjects: Sequence[Any], seed: int
) -> dict[str, Any]:
    summary = {}
    for name in PARTS:
        values = np.array([row[name] for row in rows])
        known = np.isfinite(values)
        if known.any():
            whose = [subject for subject, there in zip(subjects, known, strict=True) if there]
            summary[name] = statistics.estimate(values[known], whose, seed=seed)
    return summary
