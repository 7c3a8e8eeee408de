"""The first stage: an auto-encoder of radiographs, also of radiographs without an MRI."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from xr2mri_jax import losses
from xr2mri_jax.metrics import image
from xr2mri_jax.models import cae
from xr2mri_jax.stages import base, sample_pictures

COMMAND = "python launch/train.py --config=configs/cae.py --workdir=DIR"
DEFAULTS = {"model": {"cae": {}}, "loss": {"xray": losses.DEFAULT_WEIGHTS}}


def full_spec(spec: Mapping[str, Any]) -> dict[str, Any]:
    """An auto-encoder's spec with all sizes of its preset filled in; raises InputError."""
    return base.plain_fields(cae.read_spec(spec))


def resolve(config: dict[str, Any], stored: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The config with the full spec; there is no earlier stage."""
    del stored
    return {**config, "model": {"cae": full_spec(config["model"]["cae"])}}


class CaeStage(base.AllTrained):
    """Reconstructs radiographs; parameters {"encoder", "decoder"}."""

    name = "cae"
    fields: tuple[str, ...] = ("xray",)

    def __init__(self, config: Any):
        """Takes config.model.cae, config.loss.xray (weights by term) and config.precision."""
        self.spec = dict(config["model"]["cae"])
        self.weights = dict(config["loss"]["xray"])
        self.model = cae.make(self.spec, base.compute_dtype(config["precision"]))
        self._reconstruct = jax.jit(self.reconstruct)

    def create(self, rng: jax.Array) -> tuple[Any, Any]:
        """See `base.Stage`."""
        height, width = self.spec["image_shape"]
        variables = self.model.init(rng, np.zeros((1, height, width, 1), np.float32))
        return variables["params"], {}

    def init(self, rng: jax.Array, batch: base.Batch) -> tuple[Any, Any]:
        """See `base.Stage`."""
        base.require_shape(batch, "xray", (*self.spec["image_shape"], 1), "model.cae.image_shape")
        return base.initialise(self, rng)

    def reconstruct(self, params: Any, xray: Any) -> Any:
        """xray f32[b, h, w, 1] in [0, 1] to its reconstruction of the same shape."""
        return self.model.apply({"params": params}, xray)

    def hidden(self, params: Any, xray: Any) -> Any:
        """xray f32[b, h, w, 1] in [0, 1] to the bottleneck's map f32[b, h', w', c]."""
        return self.model.apply({"params": params}, xray, method="encode")[-1]

    def loss(
        self, params: Any, model_state: Any, batch: base.Batch, rng: jax.Array, train: bool
    ) -> tuple[jax.Array, tuple[Any, base.Values]]:
        """See `base.Stage`: the weighted terms of config.loss.xray."""
        del rng, train
        found = self.reconstruct(params, batch["xray"])
        value = losses.weighted(self.weights, found, batch["xray"])
        return value, (model_state, {"mse": losses.mse(found, batch["xray"])})

    def evaluate(self, params: Any, model_state: Any, batch: base.Batch) -> base.Values:
        """PSNR in dB, SSIM, MAE of the reconstruction, and the loss."""
        xray, found = batch["xray"], self.reconstruct(params, batch["xray"])
        return {
            "loss": losses.weighted(self.weights, found, xray),
            "psnr": image.psnr(found, xray),
            "ssim": image.ssim2d(found, xray),
            "mae": image.mae(found, xray),
        }

    def pictures(self, params: Any, model_state: Any, batch: base.Batch) -> dict[str, np.ndarray]:
        """One row per radiograph: original, reconstruction, absolute difference."""
        xray = np.asarray(batch["xray"][: base.PICTURED])
        found = np.asarray(self._reconstruct(params, xray))
        rows = [
            sample_pictures.in_row([x[..., 0], f[..., 0], np.abs(x - f)[..., 0]])
            for x, f in zip(xray, found, strict=True)
        ]
        return {"radiograph, reconstruction, difference": np.concatenate(rows)}


STAGE = CaeStage
