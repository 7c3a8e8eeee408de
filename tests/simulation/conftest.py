"""Files of label maps of a knee made of boxes, with large voxels: quickly simulated."""

import numpy as np
import pytest

from xr2mri_jax import io
from xr2mri_jax.geometry import Volume, canonical_affine, mirror_volume

ZIB = {5: 1, 1: 2, 6: 3, 2: 4, 3: 4}


# Boxes of a right knee about the joint, mm along R, A, S: code, from, to. Later ones win.
BOXES = (
    (5, (-36, -25, 3), (36, 25, 30)),
    (5, (-16, -12, 30), (16, 14, 64)),
    (1, (-34, -20, 2), (34, 24, 5)),
    (6, (-36, -24, -30), (36, 22, -3)),
    (6, (-13, -12, -64), (13, 12, -30)),
    (2, (-32, -18, -5), (-6, 18, -2)),
    (3, (6, -18, -5), (32, 18, -2)),
)


@pytest.fixture(scope="session")
def knee_labels():
    affine = canonical_affine((32, 64, 32))
    empty = Volume(np.zeros((32, 64, 32), np.uint8), affine)
    places = empty.world(np.moveaxis(np.indices(empty.shape), 0, -1))
    labels = empty.array.copy()
    for code, low, high in BOXES:
        labels[((places > low) & (places < high)).all(axis=-1)] = code
    return Volume(labels, affine)


@pytest.fixture
def maps(tmp_path, knee_labels):
    """A folder with a right map of all labels, a left one with OAI-ZIB's, and broken ones."""
    folder = tmp_path / "maps"
    folder.mkdir()
    io.write_nifti(folder / "a.nii.gz", knee_labels)
    lookup = np.zeros(256, np.uint8)
    lookup[list(ZIB)] = list(ZIB.values())
    left = mirror_volume(knee_labels)
    io.write_nifti(folder / "b.nii", Volume(lookup[left.array], left.affine))
    (folder / "broken.nii.gz").write_bytes(b"\x1f\x8b no NIfTI")
    empty = Volume(np.zeros((8, 8, 8), np.uint8), np.eye(4))
    io.write_nifti(folder / "empty.nii", empty)
    (folder / "notes.txt").write_text("not a map")
    return folder
