"""Recipes of the third stage: encoder, decoder and generator fine-tuned together.

    python launch/train.py --config=configs/joint.py --workdir=WORKDIR/joint \
        --config.data.data_dir=DATA --config.generator_workdir=WORKDIR/generator

The loss is L_radiograph + lambda L_mri with lambda in config.loss.mri_weight. All sizes are read
from config.generator_workdir. The decoder comes from the auto-encoder that the generator started
from, unless config.cae_workdir is given. Without a variant: after configs/generator.py without
one, 20 minutes on a CPU core.

Variants, as --config=configs/joint.py:VARIANT:
    quickstart  volumes of 32 x 64 x 64 voxels, for two CPU cores
    smoke       a few steps on 16 x 32 x 32 voxels, for tests
    pairs       real pairs, after configs/generator.py:pairs
"""

import ml_collections

from xr2mri_jax.training import config as recipe


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    """The config of a variant; raises InputError if it is unknown."""
    return recipe.variant(variant, VARIANTS, "joint")


def _base(config: ml_collections.ConfigDict) -> None:
    config.loss.xray.update(l1=1.0, gradient_difference=0.25)
    config.loss.mri.update(l1=1.0, gradient_difference=0.25)
    config.loss.mri_weight = 1.0
    config.optimizer.update(learning_rate=2e-4, warmup_steps=100)
    config.data.augment.update(shift=4.0, gamma=0.1, contrast=0.1, brightness=0.05)
    config.data.batch_size = 8
    config.update(steps=4000, log_every=50, eval_every=1000, checkpoint_every=500)


def _default(config: ml_collections.ConfigDict) -> None:
    _base(config)
    config.loss.surfaces = 0.02
    config.data.batch_size = 4
    config.data.augment.update(shift=0.0)
    config.optimizer.update(
        learning_rate=1e-3, muon_learning_rate=0.01, warmup_steps=50, ema_decay=0.99
    )
    config.update(steps=800, log_every=25, eval_every=400, checkpoint_every=200)


def _quickstart(config: ml_collections.ConfigDict) -> None:
    _base(config)
    config.data.update(dataset="knee_phantom/quickstart", batch_size=4, cache=True)
    config.optimizer.update(warmup_steps=20, ema_decay=0.98)
    config.update(steps=100, log_every=25, eval_every=100, checkpoint_every=50)


def _smoke(config: ml_collections.ConfigDict) -> None:
    _base(config)
    config.data.update(dataset="knee_phantom/smoke", batch_size=4)
    config.update(steps=4, log_every=2, eval_every=4, checkpoint_every=2)


def _pairs(config: ml_collections.ConfigDict) -> None:
    _base(config)
    config.data.update(dataset="knee_pairs/default", eval_split="validation")
    config.data.augment.update(shift=2.0)


VARIANTS = {"": _default, "quickstart": _quickstart, "smoke": _smoke, "pairs": _pairs}
