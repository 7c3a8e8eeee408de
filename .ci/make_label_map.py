"""Writes a label map of a simulated right knee, with what an annotator draws.

python .ci/make_label_map.py OUT.nii.gz
"""

import sys

import numpy as np

from xr2mri_jax.geometry import Volume, canonical_affine
from xr2mri_jax.io import write_nifti
from xr2mri_jax.phantom.case import simulate_case
from xr2mri_jax.simulation.label_tables import TABLES

SEED, INDEX, SHAPE = 7, 4, (32, 64, 64)


def main(out: str) -> None:
    """Bones, cartilages and menisci alone."""
    labels = simulate_case(SEED, INDEX, SHAPE)["labels"]
    labels = np.where(labels <= max(TABLES["pymskt"]), labels, 0).astype(np.uint8)
    write_nifti(out, Volume(labels, canonical_affine(SHAPE)))


if __name__ == "__main__":
    main(sys.argv[1])
