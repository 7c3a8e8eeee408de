"""Measured comparisons, PyTorch side by side where the extra [bench] is installed.

xr2mri benchmark --suite=generator --output=benchmark.json
xr2mri benchmark --suite=grade [--images=500] [--real=DIR] --output=grade.json
xr2mri benchmark --suite=joint_space --real=DIR --output=joint_space.json
xr2mri benchmark --suite=knee_finder --real=DIR --pictures=DIR --output=knee_finder.json
xr2mri benchmark --suite=prepare --pairs=200 --output=prepare.json
xr2mri benchmark --suite=siamese_gap --output=siamese_gap.json
xr2mri benchmark --suite=siamese_gap_epoch --repeats=3 --output=siamese_gap_epoch.json
"""

from absl import flags

from xr2mri_jax.runtime import command_line, host_memory, processor
from xr2mri_jax.tools.benchmarks import suites

_SUITE = flags.DEFINE_string("suite", None, "which comparison: " + ", ".join(suites.NAMES))
_OUTPUT = flags.DEFINE_string("output", None, "JSON file for the measurements")
_REPEATS = flags.DEFINE_integer("repeats", 5, "timed calls of each function; the median counts")
_BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", None, "batch size of the training step; default 2 of the generator, else 32"
)
_IMAGE_SIZE = flags.DEFINE_integer(
    "image_size", 224, "pixels of the siamese_gap suites' radiograph"
)
_STEPS = flags.DEFINE_integer(
    "steps", None, "training steps that siamese_gap_epoch times; default: a whole epoch"
)
_VOLUME_SHAPE = flags.DEFINE_list("volume_shape", ["64", "128", "128"], "d,h,w in voxels")
_FILMS = flags.DEFINE_integer("films", 200, "phantom films of the suite knee_finder")
_REAL = flags.DEFINE_string(
    "real", None, "folder of real files for knee_finder, grade or joint_space"
)
_PICTURES = flags.DEFINE_string("pictures", None, "folder for the pictures of knee_finder")
_PAIRS = flags.DEFINE_integer("pairs", 200, "pairs that the suite `prepare` prepares")
_IMAGES = flags.DEFINE_integer("images", 500, "radiographs that the suite `grade` grades")
_MODEL = flags.DEFINE_string("model", None, "what the suite `grade` grades with; default shipped")
_NUM_WORKERS = flags.DEFINE_integer(
    "num_workers", processor.cores(), "processes of the suite `prepare`"
)


def main() -> None:
    """Runs the suite, prints its table and writes its JSON."""
    # For both sides: without it much of a step is the kernel clearing pages.
    host_memory.keep_freed_memory()
    suites.run(
        _SUITE.value,
        _OUTPUT.value,
        repeats=_REPEATS.value,
        batch_size=_BATCH_SIZE.value,
        volume_shape=_VOLUME_SHAPE.value,
        image_size=_IMAGE_SIZE.value,
        films=_FILMS.value,
        real=_REAL.value,
        pictures=_PICTURES.value,
        pairs=_PAIRS.value,
        num_workers=_NUM_WORKERS.value,
        images=_IMAGES.value,
        model=_MODEL.value,
        steps=_STEPS.value,
    )


def run() -> None:
    """The command line."""
    command_line.run(main, required=("suite", "output"))
