"""Grades radiographs of knees: Kellgren-Lawrence grades 0 to 4, and grade 2 against 0.

xr2mri grade --xray=FILE_OR_DIR --output=OUT.csv [--model=DIR|kl2] [--gradcam_dir=DIR]
    [--html=PAGE.html] [--side=right] [--spacing=MM] [--batch_size=8] [--clahe] [--volume]
"""

from absl import flags

from xr2mri_jax.runtime import command_line

_XRAY = flags.DEFINE_string(
    "xray", "", "radiograph, or folder of radiographs, of one or both knees"
)
_OUTPUT = flags.DEFINE_string("output", "", "table to write, ending in .csv")
_MODEL = flags.DEFINE_string(
    "model",
    None,
    "folder of a grader or of a training run, or kl2: the shipped grader of only grades 0 and 2; "
    "default: the shipped grader of five grades",
)
_GRADCAM_DIR = flags.DEFINE_string("gradcam_dir", None, "folder for Grad-CAM pictures of all knees")
_HTML = flags.DEFINE_string("html", None, "report page to write, ending in .html")
_SIDE = flags.DEFINE_enum(
    "side", None, ["left", "right"], "side of the knee to grade; default: all"
)
_SPACING = flags.DEFINE_float("spacing", None, "pixel spacing in mm; overrides the files")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 8, "knees per batch")
_CLAHE = flags.DEFINE_bool(
    "clahe", False, "equalise the contrast adaptively, like that of the training radiographs"
)
_FORCE = flags.DEFINE_bool(
    "force",
    False,
    "grade the middle of the image if no frontal knee is found in it; also accept a tilted joint "
    "line or an impossible --spacing",
)
_VOLUME = flags.DEFINE_bool(
    "volume",
    False,
    "also predict each knee's volume, and report the joint space between its bones and the grade "
    "that this joint space suggests",
)


def main() -> None:
    """Grades the radiographs and prints how many were graded."""
    # Imported here, so that wrong flags are reported immediately.
    from xr2mri_jax.inference.grade import GradeOptions, grade
    from xr2mri_jax.inference.grade_output import GradeOutput
    from xr2mri_jax.presentation.pluralise import pluralise
    from xr2mri_jax.runtime import compilation_cache, host_memory

    options = GradeOptions(
        _SIDE.value,
        _SPACING.value,
        _BATCH_SIZE.value,
        _CLAHE.value,
        _FORCE.value,
        _VOLUME.value,
    )
    output = GradeOutput.of(_OUTPUT.value, _GRADCAM_DIR.value, _HTML.value)
    host_memory.keep_freed_memory()
    compilation_cache.use()
    rows = grade(_XRAY.value, output, _MODEL.value, options)
    done = sum(row.probability is not None for row in rows)
    print(
        f"{_OUTPUT.value}: {pluralise(done, 'knee')} graded, {pluralise(len(rows) - done, 'row')} "
        "not - research only, not for diagnosis"
    )


def run() -> None:
    """The command line."""
    command_line.run(main, required=("xray", "output"))
