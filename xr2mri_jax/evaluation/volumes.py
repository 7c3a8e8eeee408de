"""Evaluates predicted volumes: the model, three controls, retrieval, groups of knees."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from xr2mri_jax.data import passes
from xr2mri_jax.data.records import open_records
from xr2mri_jax.evaluation import controls, conventions, property_errors, retrieval, verdict
from xr2mri_jax.evaluation.result import Result, summarise, value_columns
from xr2mri_jax.evaluation.volume_store import SCALE, VolumeStore
from xr2mri_jax.metrics import image
from xr2mri_jax.presentation.model_and_controls import MODEL

Predict = Callable[[np.ndarray], Any]
Volumes = Callable[[np.ndarray], np.ndarray]

CONTROLS = {
    "mean_volume": "mean of the training volumes, voxel by voxel, the same for every case",
    "nearest_neighbour": "MRI of the training case of another subject with the nearest radiograph "
    "(Euclidean, downsampled by averaging to at most 32 x 32 pixels); the mean volume outside its "
    "acquired field",
    "shuffled_xray": "the model with the radiograph of another subject, each used once",
}
CONVENTION = {
    **image.CONVENTION,
    "controls": CONTROLS,
    "retrieval": "rank of the prediction's own volume among all true volumes of the split by mean "
    "squared error inside both masks; ties count against the model",
    "verdict": property_errors.CONVENTION,
}
FIELDS = ("xray", "mri", "mask")


def evaluate(
    predict: Predict,
    source: Any,
    store: VolumeStore,
    *,
    split: str = "test",
    train_split: str = "train",
    batch_size: int = 4,
    seed: int = 0,
    origin: str = "unknown",
    also: Sequence[str] = (),
) -> Result:
    """Evaluates a model that turns radiographs into volumes.

    Args:
      predict: maps xray f32[b, h, w, 1] in [0, 1] to f32[b, d, h, w, 1]; called with b =
        batch_size, the last batch padded.
      source: a TFDS builder with both splits, or a dict of sequences of decoded examples by split.
      store: a store for `passes.count(source, split)` cases; holds the predictions afterwards.
      split: the split to evaluate.
      train_split: the split that the controls are made from.
      batch_size: cases per batch.
      seed: seed of the shuffled radiographs and of the bootstrap.
      origin: origin of the knees for the verdict: "real", "simulated" or "unknown".
      also: additional metric conventions, see `metrics.conventions`.

    Returns:
      metrics with the keys n, convention, model, controls, differences, per_group, retrieval,
      verdict, conventions.

    Raises:
      InputError: if a split or a field is missing or a control cannot be made.
    """
    training = controls.TrainingSummary()
    for batch in passes.batches(source, train_split, FIELDS, batch_size, "training volumes"):
        training.add(batch)
    mean = training.mean_volume()
    conventions.require(also, mean.shape[:-1])
    about, xrays = _predict_all(predict, source, split, batch_size, store)
    partner = controls.shuffled(about["subject"], seed)
    neighbour = training.nearest(xrays, about["subject"])
    records, _ = open_records(passes.part(source, train_split), train_split, ("mri", "mask"))
    sources: dict[str, Volumes] = {
        MODEL: store.predicted,
        "mean_volume": lambda chosen: np.broadcast_to(mean, (len(chosen), *mean.shape)),
        "nearest_neighbour": lambda chosen: _volumes(records, neighbour[chosen], mean),
        "shuffled_xray": lambda chosen: store.predicted(partner[chosen]),
    }
    values = {
        name: passes.measure(_metrics_of(volumes, store), store.cases, batch_size, name)
        for name, volumes in sources.items()
    }
    other = conventions.measure(also, store, sources)
    rank = retrieval.ranks(retrieval.errors(store))
    errors = property_errors.volume_errors(
        store, mean, partner, property_errors.labels_of(source, split)
    )
    subjects = about["subject"]
    metrics = {
        "verdict": verdict.judge(errors, subjects, origin, seed=seed),
        **summarise(values, about, CONVENTION, seed),
        "retrieval": retrieval.summary(rank),
        "conventions": conventions.summarise(other, subjects, seed),
    }
    columns = {
        **about,
        **value_columns(values),
        **conventions.columns(other),
        "retrieval_rank": rank.tolist(),
        "nearest_training_index": neighbour.tolist(),
        "shuffled_with_index": [about["index"][i] for i in partner],
    }
    return Result(metrics, columns, values, xrays)


def _predict_all(
    predict: Predict, source: Any, split: str, batch_size: int, store: VolumeStore
) -> tuple[dict[str, list[Any]], np.ndarray]:
    """Fills the store; returns the columns of the case table, and the radiographs."""
    table, xrays = passes.CaseTable(), []
    for batch in passes.batches(source, split, FIELDS, batch_size, "predicting"):
        real = batch["example_mask"] > 0
        predicted = np.asarray(predict(batch["xray"]), np.float32)
        store.put(batch["index"][real], predicted[real], batch["mri"][real], batch["mask"][real])
        xrays.append(batch["xray"][real])
        table.add(batch)
    return table.columns, np.concatenate(xrays)


def _volumes(records: Any, positions: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Training volumes f32[b, d, h, w, 1]; the mean volume outside a case's acquired field."""
    chosen = [records[int(position)] for position in positions]
    return np.stack([np.where(r["mask"] > 0, r["mri"] / SCALE, mean) for r in chosen])


def _metrics_of(volumes: Volumes, store: VolumeStore) -> Callable[[np.ndarray], dict[str, Any]]:
    return lambda chosen: _metrics(volumes(chosen), store.real(chosen), store.mask(chosen))


@jax.jit
def _metrics(predicted: Any, real: Any, mask: Any) -> dict[str, Any]:
    return {
        "psnr": image.psnr(predicted, real, mask),
        "ssim3d": image.ssim3d(predicted, real, mask),
        "mae": image.mae(predicted, real, mask),
    }
