"""The second stage: a generator turns the frozen encoder's hidden variables into MRI volumes."""

from collections.abc import Iterable, Mapping
from typing import Any

import jax
import numpy as np

from xr2mri_jax import losses
from xr2mri_jax.metrics import image
from xr2mri_jax.models import cae, generator
from xr2mri_jax.stages import base
from xr2mri_jax.stages.cae import COMMAND as CAE_COMMAND

COMMAND = "python launch/train.py --config=configs/generator.py --workdir=DIR"


def full_spec(spec: Mapping[str, Any]) -> dict[str, Any]:
    """A generator's spec with every size written out; wrong: InputError."""
    return base.plain_fields(generator.read_spec(spec))


def resolve(config: dict[str, Any], stored: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The config with the encoder's spec as the auto-encoder's workdir has it.

    Args:
      config: plain values; where `model.cae` is empty it is read from `cae_workdir`.
      stored: the resolved config of the run that is continued, which then stands for the
        auto-encoder's workdir; None for a new run.

    Raises:
      InputError: where the workdir is missing, or `model.cae` is given and disagrees with it.
    """
    given = config["model"]["cae"]
    if stored is None:
        source = base.earlier_workdir("cae_workdir", config["cae_workdir"], CAE_COMMAND)
        spec, folder = base.model_spec(source, "cae", given), str(source.resolve())
    else:
        spec = base.agreed(stored["model"]["cae"], "cae", given, "the run to continue")
        folder = stored["cae_workdir"]
    model = {"cae": spec, "generator": full_spec(config["model"]["generator"])}
    return {**config, "model": model, "cae_workdir": folder}


class GeneratorStage:
    """Volumes from radiographs; parameters {"encoder", "generator"}, the encoder frozen."""

    name = "generator"
    fields: tuple[str, ...] = ("xray", "mri", "mask")

    def __init__(self, config: Any):
        """Takes a resolved config's model, loss.mri (weights by term), precision, cae_workdir."""
        self.cae_spec = dict(config["model"]["cae"])
        self.spec = dict(config["model"]["generator"])
        self.weights = dict(config["loss"]["mri"])
        self.cae_workdir = config["cae_workdir"]
        dtype = base.compute_dtype(config["precision"])
        self.encoder = cae.make_encoder(self.cae_spec, dtype)
        self.generator = generator.make(self.spec, dtype)
        self._predict = jax.jit(self.predict)

    def create(self, rng: jax.Array) -> tuple[Any, Any]:
        """See `base.Stage`."""
        height, width = self.cae_spec["image_shape"]
        xray = np.zeros((1, height, width, 1), np.float32)
        encoder_rng, generator_rng = (jax.random.fold_in(rng, i) for i in range(2))
        encoder = self.encoder.init(encoder_rng, xray)
        hidden = self.encoder.apply(encoder, xray)
        made = self.generator.init(generator_rng, hidden)
        return {"encoder": encoder["params"], "generator": made["params"]}, {}

    def init(self, rng: jax.Array, batch: base.Batch) -> tuple[Any, Any]:
        """See `base.Stage`: the encoder is the (averaged) one of the auto-encoder's workdir."""
        require_pair(batch, self.cae_spec, self.spec)
        params, model_state = base.created(self, rng)
        source = base.earlier_workdir("cae_workdir", self.cae_workdir, CAE_COMMAND)
        loaded = base.averaged_params(source)
        return base.replaced(params, "encoder", loaded["encoder"], source), model_state

    def fitted(self, params: Any, batches: Iterable[base.Batch]) -> Any:
        """The generator's template becomes the mean training volume inside the acquired field."""
        shape = (*self.spec["volume_shape"], 1)
        total, count = np.zeros(shape, np.float64), np.zeros(shape, np.float64)
        for batch in batches:
            kept = batch["mask"] * batch["example_mask"][:, None, None, None, None]
            total += np.sum(batch["mri"] * kept, axis=0, dtype=np.float64)
            count += np.sum(kept, axis=0, dtype=np.float64)
        mean = (total / np.maximum(count, 1.0)).astype(np.float32)
        part = generator.with_mean_volume(params["generator"], self.spec, mean)
        return {**params, "generator": part}

    def trainable(self, params: Any) -> Any:
        """The generator alone."""
        return {name: base.constant(part, name == "generator") for name, part in params.items()}

    def predict(self, params: Any, model_state: Any, xray: Any) -> Any:
        """See `base.Predicts`."""
        hidden = self.encoder.apply({"params": params["encoder"]}, xray)
        return self.generator.apply({"params": params["generator"]}, jax.lax.stop_gradient(hidden))

    def loss(
        self, params: Any, model_state: Any, batch: base.Batch, rng: jax.Array, train: bool
    ) -> tuple[jax.Array, tuple[Any, base.Values]]:
        """See `base.Stage`: the weighted terms of config.loss.mri inside the acquired field."""
        del rng, train
        found = self.predict(params, model_state, batch["xray"])
        value = losses.weighted(self.weights, found, batch["mri"], batch["mask"])
        return value, (model_state, {"l1": losses.l1(found, batch["mri"], batch["mask"])})

    def evaluate(self, params: Any, model_state: Any, batch: base.Batch) -> base.Values:
        """PSNR in dB, 3D SSIM, MAE inside the acquired field, and the loss."""
        found = self.predict(params, model_state, batch["xray"])
        return {
            "loss": losses.weighted(self.weights, found, batch["mri"], batch["mask"]),
            **volume_metrics(found, batch),
        }

    def pictures(self, params: Any, model_state: Any, batch: base.Batch) -> dict[str, np.ndarray]:
        """Two rows a knee: its radiograph with the true, then with the predicted middle planes."""
        xray = np.asarray(batch["xray"][: base.PICTURED])
        found = np.asarray(self._predict(params, model_state, xray))
        return volume_pictures(xray, np.asarray(batch["mri"][: base.PICTURED]), found)


def require_pair(batch: base.Batch, cae_spec: Any, spec: Any) -> None:
    """Holds radiographs and volumes of a batch to the sizes in the config; raises InputError."""
    base.require_shape(batch, "xray", (*cae_spec["image_shape"], 1), "model.cae.image_shape")
    shape = (*spec["volume_shape"], 1)
    for field in ("mri", "mask"):
        base.require_shape(batch, field, shape, "model.generator.volume_shape")


def volume_metrics(found: jax.Array, batch: base.Batch) -> base.Values:
    """PSNR, 3D SSIM and MAE of predicted volumes f32[b, d, h, w, 1] inside the acquired field."""
    target, mask = batch["mri"], batch["mask"]
    return {
        "psnr": image.psnr(found, target, mask),
        "ssim3d": image.ssim3d(found, target, mask),
        "mae": image.mae(found, target, mask),
    }


def volume_pictures(xray: np.ndarray, true: np.ndarray, found: np.ndarray) -> dict[str, np.ndarray]:
    """Radiograph beside coronal, sagittal and axial middle planes, true above predicted."""
    rows = [
        base.in_row([x[..., 0], *base.middle_planes(volume[..., 0])])
        for x, t, f in zip(xray, true, found, strict=True)
        for volume in (t, f)
    ]
    return {"radiograph, coronal, sagittal, axial; true above predicted": np.concatenate(rows)}
