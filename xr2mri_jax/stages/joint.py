"""The third stage: encoder, decoder and generator together, with the hybrid loss."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from xr2mri_jax import losses, workdir
from xr2mri_jax.metrics import image
from xr2mri_jax.models import cae, generator
from xr2mri_jax.stages import base, earlier_run, sample_pictures
from xr2mri_jax.stages.cae import COMMAND as CAE_COMMAND
from xr2mri_jax.stages.generator import COMMAND as GENERATOR_COMMAND
from xr2mri_jax.stages.generator import (
    require_pair,
    split,
    surface_loss,
    surface_metrics,
    trainable_generator,
    volume_metrics,
    volume_pictures,
    volume_weights,
    without_thin_cartilage,
)

MODELS = ("cae", "generator")
DEFAULTS = {
    "model": {"cae": {}, "generator": {}},
    "loss": {
        "xray": losses.DEFAULT_WEIGHTS,
        "mri": losses.DEFAULT_WEIGHTS,
        "mri_weight": 1.0,
        "surfaces": 1.0,
    },
    "cae_workdir": "",
    "generator_workdir": "",
}


def resolve(config: dict[str, Any], stored: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The config with both models' specs from the generator's workdir.

    The decoder comes from `cae_workdir`, by default the one of the generator's encoder.

    Args:
      config: plain values.
      stored: the resolved config of the run to continue; None for a new run.

    Raises:
      InputError: if a workdir is missing or disagrees with a given spec.
    """
    given = config["model"]
    if stored is not None:
        where = "the run to continue"
        model = {
            n: earlier_run.require_same_spec(stored["model"][n], n, given[n], where) for n in MODELS
        }
        folders = {key: stored[key] for key in ("generator_workdir", "cae_workdir")}
        return {**config, "model": model, **folders}
    source = earlier_run.workdir_of(
        "generator_workdir", config["generator_workdir"], GENERATOR_COMMAND
    )
    model = {name: earlier_run.model_spec(source, name, given[name]) for name in MODELS}
    inherited = workdir.read_config(source).get("cae_workdir", "")
    decoder = earlier_run.workdir_of("cae_workdir", config["cae_workdir"] or inherited, CAE_COMMAND)
    earlier_run.model_spec(decoder, "cae", model["cae"])
    folders = {"generator_workdir": str(source.resolve()), "cae_workdir": str(decoder.resolve())}
    return {**config, "model": model, **folders}


# Fitted values are those of the generator's workdir.
class JointStage(base.AllTrained):
    """Fine-tunes all parts; parameters {"encoder", "decoder", "generator"}."""

    name = "joint"
    fields: tuple[str, ...] = ("xray", "mri", "mask")

    def __init__(self, config: Any):
        """Takes a resolved config's model, loss {xray, mri, mri_weight}, precision, workdirs."""
        self.cae_spec = dict(config["model"]["cae"])
        self.spec = dict(config["model"]["generator"])
        self.xray_weights = dict(config["loss"]["xray"])
        self.mri_weights = volume_weights(config["loss"]["mri"], self.spec)
        self.mri_weight = float(config["loss"]["mri_weight"])
        self.surface_weight = config["loss"].get("surfaces", 1.0)
        if self.spec.get("surfaces"):
            self.fields = (*self.fields, "distances")
        self.cae_workdir = config["cae_workdir"]
        self.generator_workdir = config["generator_workdir"]
        dtype = base.compute_dtype(config["precision"])
        self.cae = cae.make(self.cae_spec, dtype)
        self.generator = generator.make(self.spec, dtype)
        self._outputs = jax.jit(self.outputs)

    def create(self, rng: jax.Array) -> tuple[Any, Any]:
        """See `base.Stage`."""
        height, width = self.cae_spec["image_shape"]
        xray = np.zeros((1, height, width, 1), np.float32)
        cae_rng, generator_rng = (jax.random.fold_in(rng, i) for i in range(2))
        variables = self.cae.init(cae_rng, xray)
        hidden = self.cae.apply(variables, xray, method="encode")
        made = self.generator.init(generator_rng, generator.input_of(self.spec, hidden, xray))
        return {**variables["params"], "generator": made["params"]}, {}

    def init(self, rng: jax.Array, batch: base.Batch) -> tuple[Any, Any]:
        """See `base.Stage`: encoder and generator from one workdir, decoder from the other."""
        require_pair(batch, self.cae_spec, self.spec)
        params, model_state = base.initialise(self, rng)
        source = earlier_run.workdir_of(
            "generator_workdir", self.generator_workdir, GENERATOR_COMMAND
        )
        loaded = earlier_run.averaged_params(source)
        for name in ("encoder", "generator"):
            params = earlier_run.replace_part(params, name, loaded[name], source)
        source = earlier_run.workdir_of("cae_workdir", self.cae_workdir, CAE_COMMAND)
        loaded = earlier_run.averaged_params(source)
        return earlier_run.replace_part(params, "decoder", loaded["decoder"], source), model_state

    def trainable(self, params: Any) -> Any:
        """All parameters but the generator's fitted ones."""
        free = base.constant(params, True)
        return {**free, "generator": trainable_generator(params["generator"], self.spec)}

    def outputs(self, params: Any, xray: Any) -> tuple[Any, Any, Any]:
        """xray f32[b, h, w, 1] to its reconstruction, volume, and signed distances or None."""
        variables = {"params": {name: params[name] for name in ("encoder", "decoder")}}
        hidden = self.cae.apply(variables, xray, method="encode")
        decoded = self.cae.apply(variables, hidden[-1], method="decode")
        given = generator.input_of(self.spec, hidden, xray)
        return decoded, *split(self.generator.apply({"params": params["generator"]}, given))

    def predict(self, params: Any, model_state: Any, xray: Any) -> Any:
        """See `base.Predicts`."""
        return self.outputs(params, xray)[1]

    def surfaces(self, params: Any, model_state: Any, xray: Any) -> tuple[Any, Any]:
        """See `base.Surfaces`."""
        _, volume, distances = self.outputs(params, xray)
        return volume, without_thin_cartilage(distances, self.spec)

    def hidden(self, params: Any, xray: Any) -> Any:
        """See `base.Encodes`: f32[b, h', w', c]."""
        variables = {"params": {"encoder": params["encoder"]}}
        return self.cae.apply(variables, xray, method="encode")[-1]

    def loss(
        self, params: Any, model_state: Any, batch: base.Batch, rng: jax.Array, train: bool
    ) -> tuple[jax.Array, tuple[Any, base.Values]]:
        """See `base.Stage`: L = L_radiograph + lambda L_mri, lambda in config.loss.mri_weight."""
        del rng, train
        decoded, found, distances = self.outputs(params, batch["xray"])
        xray_loss = losses.weighted(self.xray_weights, decoded, batch["xray"])
        mri_loss = losses.weighted(self.mri_weights, found, batch["mri"], batch["mask"])
        value = xray_loss + self.mri_weight * mri_loss
        values = {"loss_xray": xray_loss, "loss_mri": mri_loss}
        if distances is not None:
            values["surface_mm"] = surface_loss(distances, batch["distances"])
            value = value + self.surface_weight * values["surface_mm"]
        return value, (model_state, values)

    def evaluate(self, params: Any, model_state: Any, batch: base.Batch) -> base.Values:
        """The volumes' metrics as in the generator stage, the radiographs' PSNR, and the loss."""
        decoded, found, distances = self.outputs(params, batch["xray"])
        xray_loss = losses.weighted(self.xray_weights, decoded, batch["xray"])
        mri_loss = losses.weighted(self.mri_weights, found, batch["mri"], batch["mask"])
        values = {"xray_psnr": image.psnr(decoded, batch["xray"]), **volume_metrics(found, batch)}
        value = xray_loss + self.mri_weight * mri_loss
        if distances is not None:
            values |= surface_metrics(distances, batch["distances"])
            value = value + self.surface_weight * surface_loss(distances, batch["distances"])
        return {"loss": value, **values}

    def pictures(self, params: Any, model_state: Any, batch: base.Batch) -> dict[str, np.ndarray]:
        """The generator stage's pictures, and radiographs with their reconstructions."""
        xray = np.asarray(batch["xray"][: base.PICTURED])
        decoded, found = (np.asarray(x) for x in self._outputs(params, xray)[:2])
        true = np.asarray(batch["mri"][: base.PICTURED])
        rows = [
            sample_pictures.in_row([x[..., 0], f[..., 0]])
            for x, f in zip(xray, decoded, strict=True)
        ]
        return {
            **volume_pictures(xray, true, found),
            "radiograph, reconstruction": np.concatenate(rows),
        }


STAGE = JointStage
