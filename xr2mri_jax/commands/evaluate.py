"""Evaluates a trained stage on a held-out split or on real pairs, and writes a report.

xr2mri evaluate --workdir=DIR [--split=test] [--output=DIR/evaluation]
    [--page=REPORT.html]
    [--conventions=x2ct_gan,no_data_range,monai,further]
xr2mri evaluate --workdir=CAE_RUN --linear_probe --split=validation
xr2mri evaluate --workdir=CLASSIFIER_RUN --views --split=validation
xr2mri evaluate --pairs=PAIRS.csv --output=NEW_FOLDER [--workdir=GENERATOR_RUN]
    [--step=N] [--exclude_subjects=A,B]
"""

from absl import flags

from xr2mri_jax.errors import InputError
from xr2mri_jax.runtime import command_line

_WORKDIR = flags.DEFINE_string("workdir", "", "folder of the training run")
_SPLIT = flags.DEFINE_string("split", "test", "split to evaluate on")
_PAIRS = flags.DEFINE_string(
    "pairs",
    None,
    "CSV table (subject,side,visit,xray,labels,kl) of radiographs and MRI segmentations of the "
    "same knees; without --workdir the shipped generator is evaluated",
)
_TABLE = flags.DEFINE_string(
    "table", "auto", "with --pairs: label table of the true segmentations, as for simulate"
)
_EXCLUDE_SUBJECTS = flags.DEFINE_list(
    "exclude_subjects", [], "with --pairs: subjects of the table to leave out, such as A,B"
)
_OUTPUT = flags.DEFINE_string("output", None, "folder for the report; default: WORKDIR/evaluation")
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "folder of the prepared dataset; default: as in training"
)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", None, "cases per batch")
_STEP = flags.DEFINE_integer(
    "step",
    None,
    "checkpoint; default: the newest, for a classifier the one with the best AUC, or the best "
    "quadratic kappa with more than two grades",
)
_LINEAR_PROBE = flags.DEFINE_bool(
    "linear_probe",
    False,
    "auto-encoder: evaluate a logistic regression of Kellgren-Lawrence grade 2 against 0 on its "
    "hidden variables, fitted on the training split",
)
_VIEWS = flags.DEFINE_bool(
    "views",
    False,
    "classifier: average over slightly moved views of each radiograph (test-time augmentation)",
)
_CONVENTIONS = flags.DEFINE_list(
    "conventions",
    [],
    "volumes: also measure by other conventions: x2ct_gan (PSNR with peak 4095, SSIM of slices), "
    "no_data_range (scikit-image without a data range), monai (with MS-SSIM), further (NMSE, NMI, "
    "HFEN)",
)

_PAGE = flags.DEFINE_string(
    "page", None, "also write the report as one HTML file under 30 MB, with as many cases as fit"
)
# Flags that apply only with --pairs, and only without it.
_OF_PAIRS = (_TABLE, _EXCLUDE_SUBJECTS)
_OF_SPLITS = (_SPLIT, _DATA_DIR, _BATCH_SIZE, _LINEAR_PROBE, _VIEWS, _CONVENTIONS)


def main() -> None:
    """Reads the flags and evaluates."""
    _require_applicable()
    if _PAIRS.value:
        _evaluate_pairs()
        return
    if not _WORKDIR.value:
        raise InputError("--workdir is missing: folder of the training run, or give --pairs")
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
        page=_PAGE.value,
        conventions=_CONVENTIONS.value,
    )
    print(f"report: {report}")


def _require_applicable() -> None:
    """Raises InputError for a flag that the chosen evaluation would ignore."""
    there, needed = ("with", "without") if _PAIRS.value else ("without", "with")
    for flag in _OF_SPLITS if _PAIRS.value else _OF_PAIRS:
        if flag.present:
            raise InputError(
                f"--{flag.name}: found {flag.value!r} {there} --pairs, expected it {needed} --pairs"
            )


def _evaluate_pairs() -> None:
    if not _OUTPUT.value:
        raise InputError("--output is missing: with --pairs a new folder for the report")
    from xr2mri_jax.evaluation.real_pairs import run

    report = run.evaluate_pairs(
        str(_PAIRS.value),
        _OUTPUT.value,
        _WORKDIR.value or None,
        _TABLE.value,
        step=_STEP.value,
        exclude_subjects=_EXCLUDE_SUBJECTS.value,
        single=_PAGE.value,
    )
    print(f"report: {report}")


def run() -> None:
    """The command line."""
    command_line.run(main)
