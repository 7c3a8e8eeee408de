"""A table of pairs of made knees, and a model that answers with the true ones."""

from pathlib import Path

import nibabel as nib
import numpy as np
from layered_knees import made_knee
from made_uncertainty import uncertainty
from PIL import Image

from xr2mri_jax.evaluation.real_pairs.table import COLUMNS
from xr2mri_jax.geometry import mirror_volume
from xr2mri_jax.inference.label_prediction import LabelPrediction, LabelPredictor

KNEES = {"a": (66.0, 3.0), "b": (72.0, 4.5), "c": (78.0, 6.0)}  # width, medial joint space
DOUBT = "no knee was found; the middle of the image was used"
SEEN = np.tile(np.arange(32, dtype=np.uint8), (32, 1))


def write_table(folder: Path, left: str = "") -> Path:
    """Three subjects with a radiograph, one without; those in `left` have left knees."""
    lines = [",".join(COLUMNS)]
    for i, (name, (width, medial)) in enumerate({**KNEES, "d": (70.0, 5.0)}.items()):
        knee, side = made_knee(width, medial, lean=4.0 * i), "right"
        if name in left:
            knee, side = mirror_volume(knee, 0.0), "left"
        nib.save(nib.Nifti1Image(knee.array, knee.affine), folder / f"{name}.nii.gz")
        Image.fromarray(np.full((64, 64), 40 * i, np.uint8)).save(folder / f"{name}.png")
        xray = "" if name == "d" else f"{name}.png"
        lines.append(f"{name},{side},00m,{xray},{name}.nii.gz,{i}")
    path = folder / "pairs.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def perfect(xray, side):
    """The true knee of a radiograph, from its name, as a right knee."""
    width, medial = KNEES[xray.stem]
    lean = 4.0 * list(KNEES).index(xray.stem)
    labels = made_knee(width, medial, lean=lean)
    return LabelPrediction(labels.array, (128 / 96,) * 3, SEEN)


def predictor(predict):
    return LabelPredictor(
        predict, {"workdir": "made", "stage": "generator"}, "made", uncertainty(mm=1.0)
    )
