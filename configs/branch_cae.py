"""Recipes of the pre-training of Siamese-GAP without grades, by auto-encoding what it sees.

    python launch/prepare.py --dataset=knee_xray/grades128 --data_dir=DATA --source=DIR
    python launch/train.py --config=configs/branch_cae.py:masked --workdir=DIR \\
        --config.data.data_dir=DATA
    python launch/train.py --config=configs/siamese_gap.py:starts --workdir=DIR2 \\
        --config.data.data_dir=DATA --config.classifier_workdir=DIR

Variants, as --config=configs/branch_cae.py:VARIANT:
    cae      both patches of the joint are reconstructed
    masked   60 % of the patches' cells of 8 pixels are hidden and reconstructed
    smoke    a few steps on 32 pixels, for tests
"""

import ml_collections

from xr2mri_jax.models import classifiers
from xr2mri_jax.training import config as recipe


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    """The config of a variant; raises InputError if it is unknown."""
    return recipe.variant(variant, VARIANTS, "branch_cae")


def _cae(config: ml_collections.ConfigDict) -> None:
    _model(config, image_shape=(128, 128))
    config.data.update(
        dataset="knee_xray/grades128", eval_split="validation", batch_size=32, cache=True
    )
    config.data.augment.update(shift=5.0, rotate=7.0, scale=0.08, contrast=0.2, brightness=0.08)
    config.optimizer.update(
        learning_rate=2e-3, muon_learning_rate=0.02, warmup_steps=30, weight_decay=1e-2,
        clip_norm=5.0, ema_decay=0.98,
    )  # fmt: skip
    config.update(steps=320, log_every=16, eval_every=320, checkpoint_every=160)


def _masked(config: ml_collections.ConfigDict) -> None:
    _cae(config)
    config.loss.mask_share = 0.6


def _smoke(config: ml_collections.ConfigDict) -> None:
    _masked(config)
    _model(config, image_shape=(32, 32), channels=(4, 4, 8, 8), convolutions=(1, 1, 1, 1))
    config.data.update(dataset="knee_phantom/smoke", batch_size=4)
    config.update(steps=4, log_every=2, eval_every=4, checkpoint_every=2)


def _model(config: ml_collections.ConfigDict, **spec: object) -> None:
    config.model.classifier = recipe.model_spec(classifiers.full_spec(spec))


VARIANTS = {"": _cae, "cae": _cae, "masked": _masked, "smoke": _smoke}
