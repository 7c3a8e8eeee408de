"""Pre-training of Siamese-GAP without grades: an auto-encoder of its input patches.

With `config.loss.mask_share` above 0 that share of the patches is hidden, and only the hidden part
is reconstructed; otherwise the whole patches are. A run of `siamese_gap` can start from such a run
by `config.classifier_workdir`.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from xr2mri_jax import losses
from xr2mri_jax.errors import InputError
from xr2mri_jax.metrics import image
from xr2mri_jax.models import branch_cae, classifiers, siamese_gap
from xr2mri_jax.stages import base, sample_pictures

DEFAULTS = {
    "model": {"classifier": {}, "decoder": {"hidden_channels": 32}},
    "loss": {"mask_share": 0.0, "mask_pixels": 8},
}


def resolve(config: dict[str, Any], stored: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The config with the full spec of the classifier; there is no earlier stage.

    Raises:
      InputError: the network is not siamese_gap, or a number is out of range.
    """
    del stored
    base.require_range(config, "loss.mask_share", 0, below=1)
    base.require_range(config, "loss.mask_pixels", 1)
    base.require_range(config, "model.decoder.hidden_channels", 1)
    spec = classifiers.full_spec(config["model"]["classifier"])
    if spec["kind"] != "siamese_gap":
        raise InputError(
            f"config.model.classifier.kind is {spec['kind']!r}, expected 'siamese_gap', whose "
            "branch is the encoder"
        )
    return {**config, "model": {**config["model"], "classifier": spec}}


class BranchCaeStage(base.AllTrained):
    """Reconstructs both patches of radiographs; parameters {"branch", "decoder"}."""

    name = "branch_cae"
    fields: tuple[str, ...] = ("xray",)

    def __init__(self, config: Any):
        """Takes a config's model (classifier, decoder), loss and precision."""
        self.spec = dict(config["model"]["classifier"])
        self.settings = dict(config["loss"])
        sizes = {name: value for name, value in self.spec.items() if name != "kind"}
        self.model = branch_cae.BranchCae(
            siamese_gap.read_spec(sizes),
            config["model"]["decoder"]["hidden_channels"],
            base.AXIS,
            base.compute_dtype(config["precision"]),
        )
        self._rebuilt = jax.jit(self._evaluated)

    def create(self, rng: jax.Array) -> tuple[Any, Any]:
        """See `base.Stage`."""
        patches = siamese_gap.patches(jnp.zeros((1, *self.spec["image_shape"], 1)))
        variables = self.model.init(rng, patches)
        return variables["params"], variables["batch_stats"]

    def init(self, rng: jax.Array, batch: base.Batch) -> tuple[Any, Any]:
        """See `base.Stage`."""
        shape = (*self.spec["image_shape"], 1)
        base.require_shape(batch, "xray", shape, "model.classifier.image_shape")
        return base.initialise(self, rng)

    def loss(
        self, params: Any, model_state: Any, batch: base.Batch, rng: jax.Array, train: bool
    ) -> tuple[jax.Array, tuple[Any, base.Values]]:
        """See `base.Stage`: the mean squared error of the hidden pixels, or of all pixels."""
        patches, shown, counted = self._patches(batch["xray"], rng)
        variables = {"params": params, "batch_stats": model_state}
        found, changed = self.model.apply(
            variables, shown, train, mutable=["batch_stats"] if train else []
        )
        value = losses.mse(*map(_by_example, (found, patches, counted)))
        return value, (changed.get("batch_stats", model_state), {})

    def evaluate(self, params: Any, model_state: Any, batch: base.Batch) -> base.Values:
        """The loss, and PSNR in dB of the whole patches; all patches have the same hidden part."""
        arrays = self._evaluated(params, model_state, batch["xray"])
        found, patches, _, counted = map(_by_example, arrays)
        return {"loss": losses.mse(found, patches, counted), "psnr": image.psnr(found, patches)}

    def pictures(self, params: Any, model_state: Any, batch: base.Batch) -> dict[str, np.ndarray]:
        """One row per patch: the visible part, the reconstruction, the patch."""
        xray = np.asarray(batch["xray"][: base.PICTURED])
        found, patches, shown, _ = map(np.asarray, self._rebuilt(params, model_state, xray))
        rows = [
            sample_pictures.in_row([image[..., 0] for image in row])
            for row in zip(shown, found, patches, strict=True)
        ]
        return {"shown, reconstructed, true": np.concatenate(rows)}

    def _evaluated(self, params: Any, model_state: Any, xray: Any) -> tuple[jax.Array, ...]:
        """The reconstruction and the outputs of `_patches`, with the same part hidden in all."""
        keys = jnp.broadcast_to(jax.random.key(0), len(xray))
        patches, shown, counted = self._patches(xray, keys)
        variables = {"params": params, "batch_stats": model_state}
        found: Any = self.model.apply(variables, shown)
        return found, patches, shown, counted

    def _patches(self, xray: Any, keys: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Both patches, their visible part, and the mask of the loss, all f32[2 b, p, p, 1]."""
        patches = siamese_gap.patches(xray)
        if not self.settings["mask_share"]:
            return patches, patches, jnp.ones_like(patches)
        both = jax.vmap(jax.random.split, out_axes=1)(keys).reshape(-1)
        hidden = branch_cae.hidden_cells(
            both, patches.shape[1:3], self.settings["mask_pixels"], self.settings["mask_share"]
        )
        return patches, jnp.where(hidden > 0, siamese_gap.MEAN_LEVEL, patches), hidden


def _by_example(patches: jax.Array) -> jax.Array:
    """[2 b, p, p, 1] as `siamese_gap.patches` gives them -> [b, 2 p, p, 1]."""
    return jnp.concatenate(jnp.split(patches, 2), axis=1)


STAGE = BranchCaeStage
