"""Fits the uncertainty of a trained generator on held-out knees, for predict and evaluate.

xr2mri calibrate --workdir=GENERATOR_RUN [--split=validation] [--data_dir=DATA]
"""

from absl import flags

from xr2mri_jax.runtime import command_line

_WORKDIR = flags.DEFINE_string("workdir", "", "folder of a generator's or joint training run")
_SPLIT = flags.DEFINE_string(
    "split", None, "split of held-out knees; default: the evaluation split of training"
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "folder of the prepared dataset; default: as in training"
)
_STEP = flags.DEFINE_integer("step", None, "checkpoint; default: the newest")


def main() -> None:
    """Writes WORKDIR/uncertainty.npz."""
    from xr2mri_jax.evaluation.uncertainty import fit

    path, made = fit.calibrate(_WORKDIR.value, _SPLIT.value, _DATA_DIR.value, _STEP.value)
    print(f"{path}: 90 % intervals, fitted on {made.knees} knees")


def run() -> None:
    """The command line."""
    command_line.run(main, required=("workdir",))
