"""The second stage: a generator turns the frozen encoder's hidden variables into MRI volumes."""

from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from xr2mri_jax import losses
from xr2mri_jax.errors import InputError
from xr2mri_jax.metrics import image
from xr2mri_jax.models import cae, generator, shape_generator
from xr2mri_jax.phantom import surfaces
from xr2mri_jax.stages import base, earlier_run, sample_pictures
from xr2mri_jax.stages.cae import COMMAND as CAE_COMMAND

COMMAND = "python launch/train.py --config=configs/generator.py --workdir=DIR"
DEFAULTS = {
    "model": {"cae": {}, "generator": {}},
    "loss": {"mri": losses.DEFAULT_WEIGHTS, "surfaces": 1.0},
    "cae_workdir": "",
    "freeze_encoder": True,
}


def full_spec(spec: Mapping[str, Any]) -> dict[str, Any]:
    """A generator's spec with all sizes filled in; raises InputError."""
    return base.plain_fields(generator.read_spec(spec))


def resolve(config: dict[str, Any], stored: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The config with the encoder's spec from the auto-encoder's workdir.

    Args:
      config: plain values; an empty `model.cae` is read from `cae_workdir`.
      stored: the resolved config of the run to continue, used instead of the auto-encoder's
        workdir; None for a new run.

    Raises:
      InputError: if the workdir is missing, or disagrees with `model.cae`.
    """
    given = config["model"]["cae"]
    if stored is None:
        source = earlier_run.workdir_of("cae_workdir", config["cae_workdir"], CAE_COMMAND)
        spec, folder = earlier_run.model_spec(source, "cae", given), str(source.resolve())
    else:
        spec = earlier_run.require_same_spec(
            stored["model"]["cae"], "cae", given, "the run to continue"
        )
        folder = stored["cae_workdir"]
    model = {"cae": spec, "generator": full_spec(config["model"]["generator"])}
    return {**config, "model": model, "cae_workdir": folder}


class GeneratorStage:
    """Predicts volumes from radiographs; parameters {"encoder", "generator"}."""

    name = "generator"
    fields: tuple[str, ...] = ("xray", "mri", "mask")

    def __init__(self, config: Any):
        """Takes a resolved config's model, loss.mri (weights by term), precision, cae_workdir."""
        self.cae_spec = dict(config["model"]["cae"])
        self.spec = dict(config["model"]["generator"])
        self.weights = volume_weights(config["loss"]["mri"], self.spec)
        self.surface_weight = config["loss"].get("surfaces", 1.0)
        self.frozen = config.get("freeze_encoder", True)
        self.cae_workdir = config["cae_workdir"]
        if self.spec.get("surfaces"):
            self.fields = (*self.fields, "distances")
        self.train_fields = self.fields
        if self.spec.get("form") == "shape":
            self.train_fields = ("xray", "distances")
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
        made = self.generator.init(generator_rng, generator.input_of(self.spec, hidden, xray))
        return {"encoder": encoder["params"], "generator": made["params"]}, {}

    def init(self, rng: jax.Array, batch: base.Batch) -> tuple[Any, Any]:
        """See `base.Stage`: with the averaged encoder of the auto-encoder's workdir."""
        require_pair(batch, self.cae_spec, self.spec)
        params, model_state = base.initialise(self, rng)
        source = earlier_run.workdir_of("cae_workdir", self.cae_workdir, CAE_COMMAND)
        loaded = earlier_run.averaged_params(source)
        return earlier_run.replace_part(params, "encoder", loaded["encoder"], source), model_state

    def fitted(self, params: Any, batches: Iterable[base.Batch]) -> Any:
        """Sets the templates to the mean training volume inside its field and mean distances."""
        if self.spec.get("form") == "shape":
            return self._fitted_shape(params, batches)
        shape = (*self.spec["volume_shape"], 1)
        total, count = np.zeros(shape, np.float64), np.zeros(shape, np.float64)
        near, cases = None, 0.0
        for batch in batches:
            if "distances" in batch:
                weight = batch["example_mask"]
                summed = np.tensordot(weight, batch["distances"], axes=1)
                near, cases = (summed if near is None else near + summed), cases + weight.sum()
            kept = batch["mask"] * batch["example_mask"][:, None, None, None, None]
            total += np.sum(batch["mri"] * kept, axis=0, dtype=np.float64)
            count += np.sum(kept, axis=0, dtype=np.float64)
        mean = (total / np.maximum(count, 1.0)).astype(np.float32)
        part = generator.with_mean_volume(params["generator"], self.spec, mean)
        if near is not None:
            part = generator.with_mean_distances(part, self.spec, near / max(cases, 1.0))
        return {**params, "generator": part}

    def _fitted_shape(self, params: Any, batches: Iterable[base.Batch]) -> Any:
        spec = generator.read_spec(self.spec)
        if spec.reading == "linear":
            raise InputError(
                "generator.reading: found 'linear', expected 'network': a linear reading is not "
                "trained, it is fitted by launch/ship_generator.py --reading_knees=N"
            )
        fit = shape_generator.Fit(generator.surface_shape(spec), spec.volume_shape)
        for batch in batches:
            fit.add(batch)
        part = {**params["generator"], **fit.params(spec.coefficients)}
        return {**params, "generator": part}

    def trainable(self, params: Any) -> Any:
        """The generator, and the encoder unless frozen; not the fitted parameters."""
        return {
            "encoder": base.constant(params["encoder"], not self.frozen),
            "generator": trainable_generator(params["generator"], self.spec),
        }

    def outputs(self, params: Any, xray: Any) -> tuple[Any, Any]:
        """xray f32[b, h, w, 1] to volumes f32[b, d, h, w, 1], and signed distances or None."""
        hidden = self.encoder.apply({"params": params["encoder"]}, xray)
        if self.frozen:
            hidden = jax.lax.stop_gradient(hidden)
        given = generator.input_of(self.spec, hidden, xray)
        return split(self.generator.apply({"params": params["generator"]}, given))

    def predict(self, params: Any, model_state: Any, xray: Any) -> Any:
        """See `base.Predicts`."""
        return self.outputs(params, xray)[0]

    def surfaces(self, params: Any, model_state: Any, xray: Any) -> tuple[Any, Any]:
        """See `base.Surfaces`."""
        volume, distances = self.outputs(params, xray)
        return volume, without_thin_cartilage(distances, self.spec)

    def hidden(self, params: Any, xray: Any) -> Any:
        """See `base.Encodes`: f32[b, h', w', c]."""
        return self.encoder.apply({"params": params["encoder"]}, xray)[-1]

    def loss(
        self, params: Any, model_state: Any, batch: base.Batch, rng: jax.Array, train: bool
    ) -> tuple[jax.Array, tuple[Any, base.Values]]:
        """See `base.Stage`: the weighted terms of config.loss.mri inside the acquired field."""
        del rng, train
        found, distances = self.outputs(params, batch["xray"])
        value, values = jnp.zeros(len(batch["xray"])), {}
        if "mri" in batch:
            value = losses.weighted(self.weights, found, batch["mri"], batch["mask"])
            values["l1"] = losses.l1(found, batch["mri"], batch["mask"])
        if distances is not None:
            values["surface_mm"] = surface_loss(distances, batch["distances"])
            value = value + self.surface_weight * values["surface_mm"]
        return value, (model_state, values)

    def evaluate(self, params: Any, model_state: Any, batch: base.Batch) -> base.Values:
        """PSNR in dB, 3D SSIM, MAE inside the acquired field, and the loss."""
        found, distances = self.outputs(params, batch["xray"])
        value = losses.weighted(self.weights, found, batch["mri"], batch["mask"])
        values = volume_metrics(found, batch)
        if distances is not None:
            values |= surface_metrics(distances, batch["distances"])
            value = value + self.surface_weight * surface_loss(distances, batch["distances"])
        return {"loss": value, **values}

    def pictures(self, params: Any, model_state: Any, batch: base.Batch) -> dict[str, np.ndarray]:
        """Two rows per knee: radiograph with true, and with predicted middle planes."""
        xray = np.asarray(batch["xray"][: base.PICTURED])
        found = np.asarray(self._predict(params, model_state, xray))
        return volume_pictures(xray, np.asarray(batch["mri"][: base.PICTURED]), found)


def volume_weights(weights: Mapping[str, float], spec: Mapping[str, Any]) -> dict[str, float]:
    """Weights of the volume's loss by term: 0 for the form `shape`, which computes volumes.

    There they follow from the surfaces and are not learned.
    """
    return dict.fromkeys(weights, 0.0) if spec.get("form") == "shape" else dict(weights)


def trainable_generator(params: Mapping[str, Any], spec: Mapping[str, Any]) -> dict[str, Any]:
    """Whether each of the generator's parameters is trained: all but those that were fitted."""
    fixed = shape_generator.FIXED if spec.get("form") == "shape" else ()
    return {name: base.constant(part, name not in fixed) for name, part in params.items()}


def split(answer: Any) -> tuple[Any, Any]:
    """A generator's output as (volume, distances); the distances may be None."""
    return answer if isinstance(answer, tuple) else (answer, None)


def without_thin_cartilage(distances: Any, spec: Mapping[str, Any]) -> Any:
    """Removes spuriously thin cartilage from predicted signed distances.

    The surfaces of bone and cartilage are predicted independently, so they differ slightly where
    bone is bare, and labels would show cartilage there. Where cartilage is thinner than COVERED_MM,
    its outer surface moves inwards by COVERED_MM, so that interpolation between voxels finds none.
    The form `shape` predicts whole knees, whose thin margins are real: they stay unchanged.

    Args:
      distances: f32[b, k, d, h, w] in mm, as `surfaces.NAMES`, or None.
      spec: the generator's spec.

    Returns:
      The same shape, or None; bones, menisci and thicker cartilage stay as they are.
    """
    if distances is None or spec["form"] == "shape":
        return distances
    for outer, bone in surfaces.CARTILAGES:
        film = distances[:, bone] - distances[:, outer] < surfaces.COVERED_MM
        distances = distances.at[:, outer].add(film * surfaces.COVERED_MM)
    return distances


def surface_loss(found: Any, target: Any) -> Any:
    """f32[b] in mm: errors of the surfaces, of cartilage thickness and of the joint space."""
    near = losses.surface_distance(found, target, surfaces.LIMIT_MM, surfaces.CARTILAGES)
    joint = surfaces.NAMES.index("femur"), surfaces.NAMES.index("tibia")
    return near + losses.gap_distance(found, target, surfaces.LIMIT_MM, joint)


def surface_metrics(found: Any, target: Any) -> base.Values:
    """Dice of femur, tibia and their cartilages, f32[b], from distances f32[b, k, d, h, w]."""
    values = {}
    found, target = (_finer(x) for x in (found, target))
    for name in ("femur", "tibia"):
        index = surfaces.NAMES.index(name)
        values[f"dice_{name}"] = _dice(found[:, index] < 0, target[:, index] < 0)
    for name, (outer, bone) in zip(("femoral", "tibial"), surfaces.CARTILAGES, strict=False):
        shells = [(x[:, outer] < 0) & (x[:, bone] >= 0) for x in (found, target)]
        values[f"dice_{name}_cartilage"] = _dice(*shells)
    return values


def _finer(x: Any) -> Any:
    """The distances, linearly interpolated to voxels of half the size."""
    for axis in (2, 3, 4):
        weights = surfaces.linear_weights(x.shape[axis], 2 * x.shape[axis])
        x = jnp.moveaxis(jnp.tensordot(x, weights, axes=(axis, 1)), -1, axis)
    return x


def _dice(found: Any, target: Any) -> Any:
    both, one, other = (
        jnp.sum(x, axis=(1, 2, 3), dtype=jnp.float32) for x in (found & target, found, target)
    )
    return 2 * both / jnp.maximum(one + other, 1.0)


def require_pair(batch: base.Batch, cae_spec: Any, spec: Any) -> None:
    """Raises InputError if a batch does not have the sizes in the config."""
    base.require_shape(batch, "xray", (*cae_spec["image_shape"], 1), "model.cae.image_shape")
    shape = (*spec["volume_shape"], 1)
    for field in ("mri", "mask"):
        base.require_shape(batch, field, shape, "model.generator.volume_shape")
    if spec.get("surfaces"):
        wanted = generator.surface_shape(generator.read_spec(spec))
        base.require_shape(batch, "distances", wanted, "model.generator (surfaces, volume_shape)")


def volume_metrics(found: jax.Array, batch: base.Batch) -> base.Values:
    """PSNR, 3D SSIM and MAE of predicted volumes f32[b, d, h, w, 1] inside the acquired field."""
    target, mask = batch["mri"], batch["mask"]
    return {
        "psnr": image.psnr(found, target, mask),
        "ssim3d": image.ssim3d(found, target, mask),
        "mae": image.mae(found, target, mask),
    }


def volume_pictures(xray: np.ndarray, true: np.ndarray, found: np.ndarray) -> dict[str, np.ndarray]:
    """Radiograph with coronal, sagittal and axial middle planes, true above predicted."""
    rows = [
        sample_pictures.in_row([x[..., 0], *sample_pictures.middle_planes(volume[..., 0])])
        for x, t, f in zip(xray, true, found, strict=True)
        for volume in (t, f)
    ]
    return {"radiograph, coronal, sagittal, axial; true above predicted": np.concatenate(rows)}


STAGE = GeneratorStage
