"""Recipes of the second stage: the generator of MRI volumes from an encoder's hidden variables.

    python launch/train.py --config=configs/generator.py --workdir=WORKDIR/generator \
        --config.data.data_dir=DATA --config.cae_workdir=WORKDIR/cae

The encoder of the auto-encoder is frozen; its sizes are read from config.cae_workdir. Without a
variant: volumes of 64 x 128 x 128 voxels and the surfaces of bones, cartilages and menisci
(knee_phantom/default, after configs/cae.py without a variant); 40 minutes on two CPU cores.

Variants, as --config=configs/generator.py:VARIANT:
    quickstart  volumes of 32 x 64 x 64 voxels, used by launch/quickstart.sh: 2.4 minutes on two CPU
                cores; 26.2 dB on the test split, where the mean volume reaches 22.9 dB
    smoke       a few steps on 16 x 32 x 32 voxels, for tests
    vector      the paper's form: the bottleneck alone, as one global vector
    pairs       real pairs (docs/use/own_data.md describes their preparation), from an auto-encoder
                of configs/cae.py:pairs; not measured yet, because such files were not available
    shape       the shipped generator: surfaces from a statistical model of knee_family/default,
                and the volume computed from them; the encoder of configs/cae.py:shipped is trained
                further. launch/ship_generator.py --reading_knees replaces the trained reading of
                the hidden variables by a linear one

Every size in config.model.generator can be overridden on the command line.
"""

import ml_collections

from xr2mri_jax.stages import generator
from xr2mri_jax.training import config as recipe


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    """The config of a variant; raises InputError if it is unknown."""
    return recipe.variant(variant, VARIANTS, "generator")


def _base(config: ml_collections.ConfigDict) -> None:
    _model(config, form="pyramid", volume_shape=(64, 128, 128))
    config.loss.mri.update(l1=1.0, gradient_difference=0.25)
    config.optimizer.update(learning_rate=2e-3, warmup_steps=100)
    config.data.augment.update(shift=4.0, gamma=0.1, contrast=0.1, brightness=0.05)
    config.data.batch_size = 8
    config.update(steps=10000, log_every=50, eval_every=1000, checkpoint_every=500)


def _default(config: ml_collections.ConfigDict, form: str = "pyramid") -> None:
    _base(config)
    _model(config, form=form, volume_shape=(64, 128, 128), surfaces=9)
    config.loss.surfaces = 0.02
    config.data.batch_size = 4
    config.data.augment.update(shift=0.0)
    config.optimizer.update(muon_learning_rate=0.02, warmup_steps=50, ema_decay=0.99)
    config.update(steps=3000, log_every=25, eval_every=1000, checkpoint_every=250)


def _quickstart(config: ml_collections.ConfigDict) -> None:
    _base(config)
    sizes = {"channels": (8, 12, 16), "widths": (64, 96, 128), "blocks": (1, 1, 1)}
    _model(config, form="pyramid", volume_shape=(32, 64, 64), **sizes)
    config.loss.mri.update(l1=0.0, mse=1.0, gradient_difference=0.0)
    config.data.update(dataset="knee_phantom/quickstart", batch_size=4, cache=True)
    config.data.augment.update(shift=0.0)
    config.optimizer.update(
        learning_rate=5e-3, muon_learning_rate=0.05, warmup_steps=20, ema_decay=0.98
    )
    config.update(steps=800, log_every=50, eval_every=800, checkpoint_every=400)


def _smoke(config: ml_collections.ConfigDict) -> None:
    _base(config)
    sizes = {"channels": (4, 4, 8), "widths": (8, 8, 8), "blocks": (1, 0, 1)}
    _model(config, form="pyramid", volume_shape=(16, 32, 32), **sizes)
    config.data.update(dataset="knee_phantom/smoke", batch_size=4)
    config.update(steps=4, log_every=2, eval_every=4, checkpoint_every=2)


def _vector(config: ml_collections.ConfigDict) -> None:
    _default(config, form="vector")


def _pairs(config: ml_collections.ConfigDict) -> None:
    _base(config)
    config.data.update(dataset="knee_pairs/default", eval_split="validation")
    config.data.augment.update(shift=2.0)


def _shape(config: ml_collections.ConfigDict) -> None:
    _base(config)
    _model(
        config, form="shape", volume_shape=(64, 128, 128), surfaces=9, coefficients=64,
        surface_width=256,
    )  # fmt: skip
    config.freeze_encoder = False
    config.data.update(
        dataset="knee_family/default", eval_split="validation", batch_size=16, cache=True
    )
    config.data.augment.update(
        shift=0.0, gamma=0.4, contrast=0.3, brightness=0.1, noise=0.05, blur=0.8, erase=0.05
    )
    config.optimizer.update(
        learning_rate=2e-3, muon_learning_rate=0.02, warmup_steps=50, ema_decay=0.99
    )
    config.update(steps=1000, log_every=20, eval_every=250, checkpoint_every=100)


def _model(config: ml_collections.ConfigDict, **spec: object) -> None:
    config.model.generator = recipe.model_spec(generator.full_spec(spec))


VARIANTS = {
    "": _default,
    "quickstart": _quickstart,
    "smoke": _smoke,
    "vector": _vector,
    "pairs": _pairs,
    "shape": _shape,
}
