"""Errors of the model and two controls by property of the knee, the input of the verdict."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from xr2mri_jax.data import passes
from xr2mri_jax.data.records import open_records
from xr2mri_jax.evaluation.verdict import MEAN, OTHER
from xr2mri_jax.evaluation.volume_store import VolumeStore
from xr2mri_jax.geometry import BOX_MM
from xr2mri_jax.metrics import structures
from xr2mri_jax.presentation.model_and_controls import MODEL
from xr2mri_jax.runtime import processor
from xr2mri_jax.runtime.progress import progress

LABELLED = ("bone shape", "joint space", "cartilage", "texture")
COARSE_MM = 20.0
UNLABELLED = ("coarse anatomy", "fine detail")
CONVENTION = {
    "error": "mean squared error of the intensities, per case, inside the acquired field",
    "bone shape": f"within {structures.SHELL_MM:g} mm, along each axis, of the surface of femur, "
    "tibia and patella",
    "joint space": "between femur and tibia along the leg, plus one voxel of each bone",
    "cartilage": "in the cartilage plates",
    "texture": f"in bone deeper than {structures.SHELL_MM:g} mm, wavelengths below "
    f"{structures.FINE_MM:g} mm",
    "without labels": f"only coarse anatomy (wavelengths above {COARSE_MM:g} mm) and fine detail "
    "(shorter wavelengths), in the whole field",
}

LabelsOf = Callable[[int], np.ndarray]
PropertyErrors = dict[str, dict[str, np.ndarray] | None]


def labels_of(source: Any, split: str) -> LabelsOf | None:
    """Label maps u8[d, h, w] of a split by position; None if the dataset has none."""
    records = passes.part(source, split)
    features = records.info.features if hasattr(records, "info") else records[0]
    if "labels" not in features:
        return None
    opened, _ = open_records(records, split, ("labels",))

    def labels(position: int) -> np.ndarray:
        array = np.asarray(opened[position]["labels"])
        return array.reshape(array.shape[:3])

    return labels


def volume_errors(
    store: VolumeStore, mean: np.ndarray, partner: np.ndarray, labels: LabelsOf | None
) -> PropertyErrors:
    """Errors of predicted volumes by property, for `verdict.judge`.

    Args:
      store: predictions, true volumes and masks of n cases.
      mean: f32[d, h, w, 1], the mean training volume.
      partner: i[n], the case whose radiograph replaces the case's own.
      labels: label maps by case; None: the properties that need them are None.

    Returns:
      f64[n] by property and source, NaN for a case without the region.
    """
    names = UNLABELLED if labels is None else LABELLED
    found = {n: {s: np.full(store.cases, np.nan) for s in (MODEL, MEAN, OTHER)} for n in names}

    def measure(case: int) -> None:
        at = np.array([case])
        true, mask = store.real(at)[0, ..., 0], store.mask(at)[0, ..., 0] > 0
        spacing = [extent / n for extent, n in zip(BOX_MM, true.shape, strict=True)]
        where = None if labels is None else structures.regions(labels(case), spacing)
        made = {
            MODEL: store.predicted(at)[0, ..., 0],
            MEAN: mean[..., 0],
            OTHER: store.predicted(partner[at])[0, ..., 0],
        }
        for source, volume in made.items():
            error = np.where(mask, volume - true, 0).astype(np.float32)
            for name, value in _measured(error, mask, where, spacing).items():
                found[name][source][case] = value

    with ThreadPoolExecutor(processor.cores()) as pool:
        done = pool.map(measure, range(store.cases))
        list(progress(done, "measuring properties", "case", store.cases))
    missing: PropertyErrors = dict.fromkeys(LABELLED) if labels is None else {}
    return {**found, **missing}


def _measured(
    error: np.ndarray,
    mask: np.ndarray,
    where: Mapping[str, np.ndarray] | None,
    spacing: list[float],
) -> dict[str, float]:
    if where is None:
        whole = {"all": np.ones_like(mask)}
        coarse = structures.smooth(error, COARSE_MM, spacing)
        parts = (coarse, error - coarse)
        return {
            name: structures.mean_squares(part, mask, whole)["all"]
            for name, part in zip(UNLABELLED, parts, strict=True)
        }
    fine = error - structures.smooth(error, structures.FINE_MM, spacing)
    plain = {name: where[name] for name in LABELLED if name != "texture"}
    return {
        **structures.mean_squares(error, mask, plain),
        **structures.mean_squares(fine, mask, {"texture": where["texture"]}),
    }
