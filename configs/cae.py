"""Recipes of the first stage: the auto-encoder of radiographs.

    python launch/prepare.py --dataset=knee_phantom/default --data_dir=DATA
    python launch/train.py --config=configs/cae.py --workdir=WORKDIR/cae --config.data.data_dir=DATA

Variants, as --config=configs/cae.py:VARIANT:
    quickstart  knees of 64 x 64 pixels, used by launch/quickstart.sh: 40 seconds on two CPU cores;
                26.8 dB on the validation split
    smoke       a few steps on 32 x 32 pixels, for tests
    paper       the authors' encoder of stride-2 convolutions; their seventh one, with 2048
                channels, needs 255 pixels or more: with 128 pixels there are six, and 1024 hidden
                variables
    real        unpaired real radiographs, one folder per grade; about 20 minutes on two CPU cores,
                26.8 dB on the validation split, where a PCA of the same size reaches 25.9 dB:
                python launch/prepare.py --dataset=knee_xray/square128 --data_dir=DATA --source=DIR
    pairs       the radiographs of real pairs, for the generator's variant of the same name:
                python launch/prepare.py --dataset=knee_pairs/default --data_dir=DATA --source=DIR
    shipped     the encoder of the shipped generator: simulated knees of knee_family/default and
                real radiographs of knee_xray/box128 in equal numbers

Every size in config.model.cae can be overridden, as in --config.model.cae.hidden_channels=64.
"""

import ml_collections

from xr2mri_jax.stages import cae
from xr2mri_jax.training import config as recipe


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    """The config of a variant; raises InputError if it is unknown."""
    return recipe.variant(variant, VARIANTS, "cae")


def _base(config: ml_collections.ConfigDict) -> None:
    _model(config, preset="compact", image_shape=(128, 128))
    config.loss.xray.update(l1=1.0, gradient_difference=0.25)
    config.optimizer.update(learning_rate=2e-3, warmup_steps=100)
    config.data.augment.update(shift=4.0, gamma=0.1, contrast=0.1, brightness=0.05)
    config.data.batch_size = 32
    config.update(steps=4000, log_every=50, eval_every=1000, checkpoint_every=500)


def _default(config: ml_collections.ConfigDict) -> None:
    _base(config)
    config.data.batch_size = 16
    config.optimizer.update(
        learning_rate=3e-3, muon_learning_rate=0.03, warmup_steps=50, ema_decay=0.98
    )
    config.update(steps=500, log_every=25, eval_every=500, checkpoint_every=250)


def _quickstart(config: ml_collections.ConfigDict) -> None:
    _base(config)
    _model(config, preset="compact", image_shape=(64, 64), channels=(16, 32, 64))
    config.data.update(dataset="knee_phantom/quickstart", batch_size=16, cache=True)
    config.data.augment.update(shift=0.0)
    config.optimizer.update(learning_rate=4e-3, warmup_steps=20, ema_decay=0.98)
    config.update(steps=300, log_every=50, eval_every=300, checkpoint_every=150)


def _smoke(config: ml_collections.ConfigDict) -> None:
    _base(config)
    _model(config, preset="compact", image_shape=(32, 32), channels=(4, 8, 8), hidden_channels=4)
    config.data.update(dataset="knee_phantom/smoke", batch_size=4)
    config.update(steps=4, log_every=2, eval_every=4, checkpoint_every=2)


def _paper(config: ml_collections.ConfigDict) -> None:
    _base(config)
    channels = (32, 64, 128, 256, 512, 1024)
    _model(config, preset="paper", image_shape=(128, 128), channels=channels)


def _real(config: ml_collections.ConfigDict) -> None:
    _base(config)
    _model(config, preset="compact", image_shape=(128, 128), hidden_channels=8)
    config.loss.xray.update(l1=0.0, mse=1.0, gradient_difference=0.0)
    config.optimizer.update(
        learning_rate=3e-3, muon_learning_rate=0.03, warmup_steps=50, ema_decay=0.99
    )
    config.data.update(
        dataset="knee_xray/square128", eval_split="validation", batch_size=16, cache=True
    )
    config.data.augment.update(shift=2.0)
    config.update(steps=2000, eval_every=500, checkpoint_every=250)


def _pairs(config: ml_collections.ConfigDict) -> None:
    _base(config)
    config.data.update(dataset="knee_pairs/default", eval_split="validation")
    config.data.augment.update(shift=2.0)


def _shipped(config: ml_collections.ConfigDict) -> None:
    _base(config)
    sizes = {"channels": (24, 48, 96, 144), "hidden_channels": 48}
    _model(config, preset="compact", image_shape=(128, 128), **sizes)
    config.data.update(
        dataset="knee_family/default", also="knee_xray/box128", eval_split="validation",
        batch_size=16, cache=True,
    )  # fmt: skip
    config.data.augment.update(shift=2.0, gamma=0.3, contrast=0.2, noise=0.03, blur=0.6)
    config.optimizer.update(
        learning_rate=3e-3, muon_learning_rate=0.03, warmup_steps=30, ema_decay=0.99
    )
    config.update(steps=400, log_every=20, eval_every=400, checkpoint_every=100)


def _model(config: ml_collections.ConfigDict, **spec: object) -> None:
    config.model.cae = recipe.model_spec(cae.full_spec(spec))


VARIANTS = {
    "": _default,
    "quickstart": _quickstart,
    "smoke": _smoke,
    "paper": _paper,
    "real": _real,
    "pairs": _pairs,
    "shipped": _shipped,
}
