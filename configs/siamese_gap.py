"""Recipes of Siamese-GAP: Kellgren-Lawrence grade 0 against 2, or all five, from a radiograph.

    python launch/prepare.py --dataset=knee_xray/square224 --data_dir=DATA --source=DIR
    python launch/train.py --config=configs/siamese_gap.py:real --workdir=DIR \\
        --config.data.data_dir=DATA

Patients held out from the training split (config.data.held_out) are evaluated during training. Of
the last config.keep checkpoints, launch/evaluate.py uses the one with the best AUC on them, or with
the best quadratic kappa if there are more than two grades.
Variants, as --config=configs/siamese_gap.py:VARIANT:
    real           real radiographs of 224 pixels, one folder per grade; mixup, strong augmentation
    small          a preview in a third of the time: radiographs of 128 pixels (knee_xray/square128)
                   with less augmentation and no mixup, 768 steps
    fine           as small but with 224 pixels and a smaller learning rate, starting from the
                   network in config.classifier_workdir
    grades         grades 0 to 4 with an ordinal head, on knee_xray/grades224 (train and
                   train_more), starting from the grader in config.classifier_workdir, for example
                   xr2mri_jax/inference/knee_grader; the checkpoint is chosen by quadratic kappa
    starts         as grades on knee_xray/grades128 with 320 steps: the comparison of starts, random
                   or from config.classifier_workdir (also a run of configs/branch_cae.py)
    starts_deep_siamese, starts_resnet18, starts_vgg
                   as starts, with another network; the last two see the whole crop
    compared       as small with 320 steps: the baseline of the following ablations
    gmp            as compared, with maximum pooling instead of average pooling
    concatenated   as compared, with the branches concatenated instead of added
    first_level, second_level, third_level, last_level
                   as compared, with the features of one block only
    deep_siamese, resnet18, vgg
                   as compared, with another network
    phantom        simulated knees of 128 pixels
    phantoms       grades 0 to 4 with an ordinal head, on simulated radiographs alone
                   (knee_family/radiographs128, framed as real ones) with strong augmentation; on
                   real radiographs: docs/results.md, "Phantoms alone"
    smoke          a few steps on 32 pixels, for tests
"""

from collections.abc import Callable

import ml_collections

from xr2mri_jax.models import classifiers
from xr2mri_jax.training import config as recipe


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    """The config of a variant; raises InputError if it is unknown."""
    return recipe.variant(variant, VARIANTS, "siamese_gap")


def _default(config: ml_collections.ConfigDict) -> None:
    _model(config, image_shape=(224, 224))
    config.data.update(dataset="knee_xray/square224", batch_size=32, cache=True)
    config.data.augment.update(
        shift=8.0, rotate=7.0, scale=0.08, gamma=0.2, contrast=0.2, brightness=0.08, noise=0.02
    )
    config.optimizer.update(
        learning_rate=2e-3,
        muon_learning_rate=0.02,
        warmup_steps=100,
        weight_decay=1e-2,
        clip_norm=5.0,
        ema_decay=0.99,
    )
    # 2040 of the 2400 training radiographs are not held out, so an epoch has 64 steps.
    config.update(steps=1280, log_every=16, eval_every=64, checkpoint_every=64, keep=8)
    config.cpu_devices = 0


def _real(config: ml_collections.ConfigDict) -> None:
    _default(config)
    config.data.mixup = 0.4
    config.data.augment.update(
        shift=12.0, rotate=12.0, scale=0.15, gamma=0.35, contrast=0.3, brightness=0.1, noise=0.04
    )
    # Mixed labels are already soft.
    config.loss.label_smoothing = 0.0
    config.optimizer.weight_decay = 0.1
    config.update(eval_every=80, checkpoint_every=80)


def _small(config: ml_collections.ConfigDict) -> None:
    _default(config)
    _model(config, image_shape=(128, 128))
    config.data.dataset = "knee_xray/square128"
    config.data.augment.update(shift=5.0)
    config.steps = 768


def _fine(config: ml_collections.ConfigDict) -> None:
    _default(config)
    config.optimizer.update(learning_rate=1e-3, muon_learning_rate=0.01, warmup_steps=32)
    config.steps = 384


def _grades(config: ml_collections.ConfigDict) -> None:
    _real(config)
    _model(config, image_shape=(224, 224), classes=5, head="ordinal")
    config.data.update(
        dataset="knee_xray/grades224",
        grades=(0, 1, 2, 3, 4),
        mixup=0.0,
        # Half way between the dataset's 2286, 1046, 1516, 757 and 173 training radiographs (Chen
        # 2018, doi 10.17632/56rmx5bjcr.1) and equal shares: their square roots.
        prevalence=(0.299, 0.202, 0.244, 0.172, 0.083),
    )
    config.optimizer.update(learning_rate=1e-3, muon_learning_rate=0.01, warmup_steps=32)
    # 3462 radiographs are not held out; balanced, an epoch has about 200 steps.
    config.update(steps=600, log_every=15, eval_every=75, checkpoint_every=75)


def _starts(**spec: object) -> Callable[[ml_collections.ConfigDict], None]:
    def start(config: ml_collections.ConfigDict) -> None:
        _compared(config)
        _model(config, image_shape=(128, 128), classes=5, head="ordinal", **spec)
        config.data.update(dataset="knee_xray/grades128", grades=(0, 1, 2, 3, 4))
        config.update(eval_every=40, checkpoint_every=40)

    return start


def _phantom(config: ml_collections.ConfigDict) -> None:
    _small(config)
    config.data.update(
        dataset="knee_phantom/default", eval_split="validation", held_out=0.0, batch_size=16
    )


def _phantoms(config: ml_collections.ConfigDict) -> None:
    _default(config)
    _model(config, image_shape=(128, 128), classes=5, head="ordinal")
    config.data.update(
        dataset="knee_family/radiographs128",
        eval_split="validation",
        held_out=0.0,
        grades=(0, 1, 2, 3, 4),
    )
    config.data.augment.update(
        shift=6.0,
        rotate=5.0,
        scale=0.1,
        elastic=1.0,
        clahe=0.8,
        gamma=0.5,
        contrast=0.4,
        brightness=0.1,
        noise=0.08,
        blur=0.8,
        erase=0.1,
    )
    config.update(steps=320, log_every=10, eval_every=40, checkpoint_every=40)


def _smoke(config: ml_collections.ConfigDict) -> None:
    _phantom(config)
    config.data.update(dataset="knee_phantom/smoke", batch_size=4, grades=(0, 1, 2, 3, 4))
    _model(
        config, image_shape=(32, 32), channels=(4, 4, 8, 8), convolutions=(1, 1, 1, 1), classes=5
    )
    config.update(steps=4, log_every=2, eval_every=4, checkpoint_every=2)


def _compared(config: ml_collections.ConfigDict) -> None:
    _small(config)
    config.steps = 320


def _changed(**spec: object) -> Callable[[ml_collections.ConfigDict], None]:
    def change(config: ml_collections.ConfigDict) -> None:
        _compared(config)
        _model(config, image_shape=(128, 128), **spec)

    return change


def _model(config: ml_collections.ConfigDict, **spec: object) -> None:
    config.model.classifier = recipe.model_spec(classifiers.full_spec(spec))


VARIANTS = {
    "": _real,
    "real": _real,
    "small": _small,
    "fine": _fine,
    "grades": _grades,
    "starts": _starts(),
    "starts_deep_siamese": _starts(kind="deep_siamese"),
    "starts_resnet18": _starts(kind="resnet18"),
    "starts_vgg": _starts(kind="vgg"),
    "compared": _compared,
    "gmp": _changed(pooling="maximum"),
    "concatenated": _changed(branches="concatenated"),
    "first_level": _changed(levels=(1,)),
    "second_level": _changed(levels=(2,)),
    "third_level": _changed(levels=(3,)),
    "last_level": _changed(levels=(4,)),
    "deep_siamese": _changed(kind="deep_siamese"),
    "resnet18": _changed(kind="resnet18"),
    "vgg": _changed(kind="vgg"),
    "phantom": _phantom,
    "phantoms": _phantoms,
    "smoke": _smoke,
}
