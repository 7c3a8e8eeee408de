"""Packages a siamese_gap training run as the grader that `xr2mri grade` uses.

xr2mri ship_grader --workdir=RUN [--output=NEW_FOLDER] [--equalised] [--views] [--compact]
"""

from absl import flags

from xr2mri_jax.runtime import command_line

_WORKDIR = flags.DEFINE_string("workdir", "", "folder of the training run")
_OUTPUT = flags.DEFINE_string("output", None, "new folder; default: the package's own model")
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "folder of the prepared dataset; default: as in training"
)
_STEP = flags.DEFINE_integer("step", None, "checkpoint; default: the one that evaluate uses")
_EQUALISED = flags.DEFINE_bool(
    "equalised", False, "record that the source files already had adaptive equalisation"
)
_VIEWS = flags.DEFINE_bool(
    "views", False, "average over slightly moved views of each radiograph (test-time augmentation)"
)
_COMPACT = flags.DEFINE_bool(
    "compact", False, "round the kernels further, which halves the file size"
)


def main() -> None:
    """Packages the grader and prints its calibration."""
    from xr2mri_jax.evaluation import ship_grader

    grader, folder = ship_grader.ship(
        _WORKDIR.value,
        _OUTPUT.value,
        _DATA_DIR.value,
        _STEP.value,
        _EQUALISED.value,
        _VIEWS.value,
        _COMPACT.value,
    )
    found = grader.calibration
    assert found is not None
    print(
        f"{folder}: step {grader.training['step']}, calibrated on {found.knees} held-out knees of "
        f"{found.subjects} subjects: temperature {found.temperature:.3f}, calibration error "
        f"{found.error_before:.3f} before and {found.error_after:.3f} after"
    )
    for row in found.thresholds:
        print(
            f"  threshold {row['probability']:.3f}: sensitivity {row['sensitivity']:.3f} "
            f"(required {row['sensitivity_wanted']:g}), specificity {row['specificity']:.3f}"
        )


def run() -> None:
    """The command line."""
    command_line.run(main, required=("workdir",))
