"""Evaluates a trained stage on held-out cases, with controls, and writes a report.

xr2mri evaluate --workdir=DIR [--split=test] [--output=DIR/evaluation]
xr2mri evaluate --workdir=CAE_RUN --linear_probe --split=validation
xr2mri evaluate --workdir=CLASSIFIER_RUN --views --split=validation
"""

from absl import flags

from xr2mri_jax.runtime import command_line

_WORKDIR = flags.DEFINE_string("workdir", "", "folder of the training run")
_SPLIT = flags.DEFINE_string("split", "test", "split to evaluate on")
_OUTPUT = flags.DEFINE_string("output", None, "folder for the files; default WORKDIR/evaluation")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "where the dataset is; default as in training")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", None, "cases at a time")
_STEP = flags.DEFINE_integer(
    "step", None, "checkpoint; default the newest, of a classifier the best by AUC"
)
_LINEAR_PROBE = flags.DEFINE_bool(
    "linear_probe",
    False,
    "of an auto-encoder: a logistic regression on its hidden variables, fitted on the training "
    "split, that tells Kellgren-Lawrence grade 2 from 0",
)
_VIEWS = flags.DEFINE_bool(
    "views",
    False,
    "of a classifier: average over moved views of each radiograph (test-time augmentation)",
)


def main() -> None:
    """Reads the flags and evaluates."""
    from xr2mri_jax.evaluation import run

    report = run.evaluate_workdir(
        _WORKDIR.value,
        split=_SPLIT.value,
        output=_OUTPUT.value,
        data_dir=_DATA_DIR.value,
        batch_size=_BATCH_SIZE.value,
        step=_STEP.value,
        linear_probe=_LINEAR_PROBE.value,
        views=_VIEWS.value,
    )
    print(f"report: {report}")


def run() -> None:
    """The command line."""
    command_line.run(main, required=("workdir",))
