"""What commands read, made once: a prepared dataset, radiographs, a label map."""

from pathlib import Path

import numpy as np
import pytest
from command_process import done

from xr2mri_jax import samples
from xr2mri_jax.geometry import Volume, canonical_affine
from xr2mri_jax.io import write_nifti
from xr2mri_jax.phantom.case import simulate_case
from xr2mri_jax.simulation.label_tables import TABLES

LABELS_SHAPE = (32, 64, 64)


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    """Folder of the dataset knee_phantom/smoke."""
    folder = tmp_path_factory.mktemp("data")
    done("prepare", "--dataset=knee_phantom/smoke", f"--data_dir={folder}", "--num_workers=1")
    return folder


@pytest.fixture(scope="session")
def xrays(tmp_path_factory) -> Path:
    """A folder with three copies of the sample."""
    folder = tmp_path_factory.mktemp("xrays")
    for number in range(3):
        (folder / f"{number}.png").write_bytes(samples.KNEE.read_bytes())
    return folder


@pytest.fixture(scope="session")
def labels(tmp_path_factory) -> Path:
    """A label map of a simulated right knee."""
    path = tmp_path_factory.mktemp("labels") / "labels.nii.gz"
    codes = simulate_case(7, 4, LABELS_SHAPE)["labels"]
    codes = np.where(codes <= max(TABLES["pymskt"]), codes, 0).astype(np.uint8)
    write_nifti(path, Volume(codes, canonical_affine(LABELS_SHAPE)))
    return path
