"""Makes docs/simulate.png: a phantom's segmentation, and the pair that `simulate` makes of it.

python docs/simulate_figure.py [OUT.png]
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from xr2mri_jax.geometry import Volume, canonical_affine, resample
from xr2mri_jax.io import read_radiograph, read_volume, write_nifti
from xr2mri_jax.phantom.case import simulate_case
from xr2mri_jax.simulation.files import PairFiles, simulate_file
from xr2mri_jax.simulation.label_tables import TABLES

SEED, INDEX, SHAPE = 7, 4, (128, 128, 128)
SHOWN = (256, 256, 256)  # voxels of the box that planes are taken from
LATERAL, COLUMNS = -22.0, 2.0  # mm from the joint: the sagittal plane, and voxels a mm
HEIGHT, DPI = 3.4, 100


def main(out: Path) -> None:
    """Writes the label map, simulates it by the command's own function and draws planes."""
    labels = simulate_case(SEED, INDEX, SHAPE)["labels"]
    # What an annotator draws: bones, cartilages, menisci.
    labels = np.where(labels <= max(TABLES["pymskt"]), labels, 0).astype(np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        write_nifti(work / "labels.nii.gz", Volume(labels, canonical_affine(SHAPE)))
        files = PairFiles.named(work / "x.png", work / "m.nii.gz")
        record = simulate_file(work / "labels.nii.gz", files, table="pymskt")
        centre = record["joint_centre_mm"]
        grid = canonical_affine(SHOWN, centre), SHOWN
        mri = resample(read_volume(files.mri), *grid)[0].array
        drawn = resample(read_volume(work / "labels.nii.gz"), *grid, order=0)[0].array
        xray = read_radiograph(files.xray).array
    middle = SHOWN[0] // 2
    sagittal = middle + round(LATERAL * COLUMNS)
    white = float(np.percentile(mri, 99.7))
    panels = (
        ("label map, coronal", np.ma.masked_equal(drawn[middle], 0), "tab20", 0, 20),
        ("simulated radiograph", xray, "gray", 0, 65535),
        ("simulated MRI, coronal", mri[middle], "gray", 0, white),
        ("simulated MRI, sagittal", mri[:, :, sagittal].T, "gray", 0, white),
    )
    figure = Figure(figsize=(HEIGHT * len(panels), HEIGHT * 1.09), facecolor="black", dpi=DPI)
    FigureCanvasAgg(figure)
    figure.subplots_adjust(left=0.005, right=0.995, top=0.9, bottom=0.01, wspace=0.02)
    for axes, (title, pixels, colours, low, high) in zip(
        figure.subplots(1, len(panels)), panels, strict=True
    ):
        axes.imshow(pixels, cmap=colours, vmin=low, vmax=high, interpolation="nearest")
        axes.set_title(title, color="white", fontsize=12)
        axes.set_axis_off()
    figure.savefig(out, facecolor="black")


if __name__ == "__main__":
    default = Path(__file__).with_name("simulate.png")
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else default)
