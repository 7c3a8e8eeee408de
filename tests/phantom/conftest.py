"""A segmented knee, as annotators make it, from the phantom."""

import numpy as np
import pytest

from xr2mri_jax.geometry import Volume, canonical_affine
from xr2mri_jax.phantom.case import simulate_case

CENTRE = (72.0, -12.0, 30.0)


@pytest.fixture(scope="session")
def phantom_case():
    """Knee 0, a right one, on voxels of 2 mm."""
    return simulate_case(3, 0, (64, 64, 64))


@pytest.fixture(scope="session")
def knee_labels(phantom_case):
    """Bones, cartilages and menisci of it, on its canonical grid away from the origin."""
    labels = np.where(phantom_case["labels"] <= 10, phantom_case["labels"], 0)
    return Volume(labels.astype(np.uint8), canonical_affine(labels.shape, CENTRE))
