"""Runs a benchmark, compared with PyTorch if the extra `bench` is installed.

xr2mri benchmark --suite=anatomy --real=DIR --output=anatomy.json
xr2mri benchmark --suite=film --real=DIR --output=film.json
xr2mri benchmark --suite=frontal --real=DIR --output=frontal.json
xr2mri benchmark --suite=generator --output=benchmark.json
xr2mri benchmark --suite=gpu [--seconds=540] [--tiny] --output=gpu.json
xr2mri benchmark --suite=unlikeness --real=DIR [--films=200] [--images=500] --output=unlikeness.json
xr2mri benchmark --suite=grade [--images=500] [--real=DIR] --output=grade.json
xr2mri benchmark --suite=input [--repeats=15] --output=input.json
xr2mri benchmark --suite=latency [--repeats=5] [--real=DIR] --output=latency.json
xr2mri benchmark --suite=folder [--images=100] [--repeats=3] [--real=DIR] --output=folder.json
xr2mri benchmark --suite=joint_space --real=DIR --output=joint_space.json
xr2mri benchmark --suite=knee_finder --real=DIR --pictures=DIR --output=knee_finder.json
xr2mri benchmark --suite=long_run [--steps=3000] --output=long_run.json
xr2mri benchmark --suite=prepare --pairs=200 --output=prepare.json
xr2mri benchmark --suite=siamese_gap --output=siamese_gap.json
xr2mri benchmark --suite=siamese_gap_epoch --repeats=3 --output=siamese_gap_epoch.json
xr2mri benchmark --suite=volume_grade --real=DIR --output=volume_grade.json
"""

from absl import flags

from xr2mri_jax.runtime import command_line, host_memory, processor
from xr2mri_jax.tools.benchmarks import suites

_SUITE = flags.DEFINE_string("suite", None, "the benchmark to run: " + ", ".join(suites.NAMES))
_OUTPUT = flags.DEFINE_string("output", None, "JSON file for the measurements")
_REPEATS = flags.DEFINE_integer("repeats", 5, "timed calls per function; the median is reported")
_BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", None, "batch size of the training step; default: 2 for generator, else 32"
)
_IMAGE_SIZE = flags.DEFINE_integer(
    "image_size", 224, "input, siamese_gap, siamese_gap_epoch: radiograph size in pixels"
)
_STEPS = flags.DEFINE_integer(
    "steps",
    None,
    "siamese_gap_epoch: number of training steps to time; default: a full epoch. long_run: number "
    "of training steps; default: 3000",
)
_VOLUME_SHAPE = flags.DEFINE_list(
    "volume_shape", ["64", "128", "128"], "generator: volume size d,h,w in voxels"
)
_FILMS = flags.DEFINE_integer("films", 200, "knee_finder, unlikeness: number of phantom films")
_REAL = flags.DEFINE_string(
    "real",
    None,
    "anatomy, film, folder, frontal, grade, joint_space, knee_finder, latency, "
    "unlikeness, volume_grade: folder of real files",
)
_PICTURES = flags.DEFINE_string("pictures", None, "knee_finder: folder for pictures")
_PAIRS = flags.DEFINE_integer("pairs", 200, "prepare: number of pairs")
_IMAGES = flags.DEFINE_integer("images", 500, "folder, grade, unlikeness: number of radiographs")
_MODEL = flags.DEFINE_string(
    "model", None, "grade: folder of a grader or of a training run; default: the shipped grader"
)
_SECONDS = flags.DEFINE_integer("seconds", 540, "gpu: time for all rows, in seconds")
_TINY = flags.DEFINE_bool("tiny", False, "gpu: tiny sizes, as on a machine without an accelerator")
_NUM_WORKERS = flags.DEFINE_integer(
    "num_workers", processor.cores(), "prepare: number of processes"
)


def main() -> None:
    """Runs the benchmark, prints its table and writes its JSON file."""
    # For JAX and PyTorch alike: otherwise clearing memory pages takes much of a step.
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
        seconds=_SECONDS.value,
        tiny=_TINY.value,
    )


def run() -> None:
    """The command line."""
    command_line.run(main, required=("suite", "output"))
