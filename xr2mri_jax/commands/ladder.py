"""Measures how much of the MRI's variance a radiograph explains, and draws one figure.

xr2mri ladder --workdir=GENERATOR_RUN --output=FOLDER [--split=test] [--also=RUN_25,RUN_50]
"""

from absl import flags

from xr2mri_jax.runtime import command_line

_WORKDIR = flags.DEFINE_string("workdir", "", "folder of a generator's training run")
_OUTPUT = flags.DEFINE_string("output", "", "folder for ladder.svg, ladder.png and ladder.json")
_SPLIT = flags.DEFINE_string("split", "test", "split to measure")
_ALSO = flags.DEFINE_list(
    "also", [], "runs of the same generator on parts of the training split, for the curve"
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "folder of the prepared dataset; default: as in training"
)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 4, "cases per batch")
_STEP = flags.DEFINE_integer("step", None, "checkpoint; default: the newest")


def main() -> None:
    """Writes the figure and prints the shares."""
    from xr2mri_jax.evaluation import ladder_run

    folder, content = ladder_run.write(
        _WORKDIR.value,
        _OUTPUT.value,
        split=_SPLIT.value,
        also=_ALSO.value,
        data_dir=_DATA_DIR.value,
        batch_size=_BATCH_SIZE.value,
        step=_STEP.value,
    )
    for line in ladder_run.findings(content):
        print(line)
    print(f"figure: {folder / 'ladder.svg'}")


def run() -> None:
    """The command line."""
    command_line.run(main, required=("workdir", "output"))
