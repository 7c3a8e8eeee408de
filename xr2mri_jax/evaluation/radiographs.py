"""Evaluates reconstructed radiographs of the auto-encoder, a PCA and the mean radiograph."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from xr2mri_jax.data import passes
from xr2mri_jax.evaluation import verdict
from xr2mri_jax.evaluation.result import Result, summarise, value_columns
from xr2mri_jax.metrics import image
from xr2mri_jax.models import baselines
from xr2mri_jax.presentation.model_and_controls import MODEL

Images = Callable[[np.ndarray], Any]

PCA_BYTES = 1 << 30

LABELS_IN_SENTENCE = {
    "mean_radiograph": "the mean radiograph",
    "pca": "the same number of principal components",
}
CONTROLS = {
    "mean_radiograph": "mean of the training radiographs, the same for every case",
    "pca": "as many principal components of the training radiographs as the auto-encoder has "
    "hidden variables, or as the training radiographs allow",
}


def evaluate(
    reconstruct: Images,
    hidden_variables: int,
    source: Any,
    *,
    split: str = "test",
    train_split: str = "train",
    batch_size: int = 16,
    seed: int = 0,
) -> Result:
    """Evaluates an auto-encoder of radiographs.

    Args:
      reconstruct: maps f32[b, h, w, 1] in [0, 1] to the same shape; called with b = batch_size,
        the last batch padded.
      hidden_variables: size of the bottleneck.
      source: a TFDS builder with both splits, or a dict of sequences of decoded examples by split.
      split: the split to evaluate.
      train_split: the split that the controls are fitted on.
      batch_size: radiographs per batch.
      seed: seed of the bootstrap.

    Returns:
      metrics with the keys verdict, n, convention, model, controls, differences, per_group,
      hidden_variables.

    Raises:
      InputError: if a split or a field is missing.
    """
    train, _ = _read(source, train_split, batch_size, "training radiographs")
    xrays, about = _read(source, split, batch_size, "radiographs")
    mean = train.mean(axis=0, dtype=np.float64).astype(np.float32)
    used = _within(train, PCA_BYTES)
    components = min(hidden_variables, len(used) - 1, used[0].size)
    sources: dict[str, Images] = {
        MODEL: reconstruct,
        "mean_radiograph": lambda batch: np.broadcast_to(mean, batch.shape),
    }
    if components > 0:
        pca = baselines.fit_pca(used, components)
        components = len(pca.components)
        sources["pca"] = pca.reconstruct

    def metrics_of(make: Images) -> Callable[[np.ndarray], dict[str, Any]]:
        return lambda positions: _metrics(_cut(make(xrays[positions])), xrays[positions])

    values = {
        name: passes.measure(metrics_of(make), len(xrays), batch_size, name)
        for name, make in sources.items()
    }
    convention = {**image.CONVENTION, "mask": "every pixel counts", "controls": CONTROLS}
    metrics = {
        "verdict": _verdict(values, about["subject"], seed),
        **summarise(values, about, convention, seed),
    }
    metrics["hidden_variables"] = {
        MODEL: hidden_variables,
        "pca": components,
        "pca_training_radiographs": len(used),
        "note": f"a PCA of {len(used)} radiographs has at most {len(used) - 1} components: "
        + (
            "it has as many as the auto-encoder"
            if components == hidden_variables
            else "it has fewer than the auto-encoder"
        ),
    }
    return Result(metrics, {**about, **value_columns(values)}, values, xrays)


def _verdict(
    values: dict[str, dict[str, np.ndarray]], subjects: list[str], seed: int
) -> dict[str, Any]:
    named = {
        LABELS_IN_SENTENCE[name]: found["mae"] for name, found in values.items() if name != MODEL
    }
    return verdict.judge_reconstruction(values[MODEL]["mae"], named, subjects, seed=seed)


def _read(
    source: Any, split: str, batch_size: int, title: str
) -> tuple[np.ndarray, dict[str, list[Any]]]:
    """Reads every radiograph of a split, f32[n, h, w, 1], and the columns of its case table."""
    table, xrays = passes.CaseTable(), []
    for batch in passes.batches(source, split, ("xray",), batch_size, title):
        table.add(batch)
        xrays.append(batch["xray"][batch["example_mask"] > 0])
    return np.concatenate(xrays), table.columns


def _within(images: np.ndarray, limit: int) -> np.ndarray:
    """All images, or evenly spaced ones if all exceed `limit` bytes."""
    most = max(limit // images[0].nbytes, 2)
    if len(images) <= most:
        return images
    return images[np.linspace(0, len(images) - 1, most).astype(np.int64)]


def _cut(images: Any) -> np.ndarray:
    return np.clip(np.asarray(images, np.float32), 0, 1)


@jax.jit
def _metrics(made: Any, real: Any) -> dict[str, Any]:
    return {
        "psnr": image.psnr(made, real),
        "ssim": image.ssim2d(made, real),
        "mae": image.mae(made, real),
    }
