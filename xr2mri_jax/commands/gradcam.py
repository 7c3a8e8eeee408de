"""Averages Grad-CAM maps of a classifier over a split, with a check by randomised weights.

xr2mri gradcam --workdir=RUN --split=validation --output=DIR
"""

from absl import flags

from xr2mri_jax.evaluation import gradcam_report
from xr2mri_jax.runtime import command_line

WORKDIR = flags.DEFINE_string("workdir", None, "folder of a siamese_gap training run")
SPLIT = flags.DEFINE_string("split", "validation", "split of the dataset")
OUTPUT = flags.DEFINE_string("output", None, "folder for the pictures and gradcam.json")
DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "folder of the prepared dataset; default: as in training"
)


def main() -> None:
    """Writes the files and prints the numbers."""
    report = gradcam_report.write(
        WORKDIR.value or "", SPLIT.value or "", OUTPUT.value or "", DATA_DIR.value
    )
    print(gradcam_report.table(report))
    print(f"pictures in {OUTPUT.value}")


def run() -> None:
    """The command line."""
    command_line.run(main, required=("workdir", "output"))
