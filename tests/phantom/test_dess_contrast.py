"""The simulated DESS contrast against a real series: ratios to muscle within 25 %."""

import numpy as np
import pytest

from xr2mri_jax import io
from xr2mri_jax.phantom.mri import signal_table
from xr2mri_jax.phantom.tissues import CODES

# Regions of the real series: slice from the medial side on, rows from the top, columns from the
# front, close to the coil's wall or in the same part of its field as the muscle.
REGIONS = {
    "muscle": (52, (260, 340), (365, 395)),  # gastrocnemius
    "patellar_cartilage": (42, (175, 215), (134, 142)),
    "fluid": (25, (240, 280), (161, 167)),  # beside the trochlea
    "fat": (52, (290, 340), (130, 190)),  # Hoffa's fat pad
    "femur": (52, (240, 300), (200, 300)),  # marrow
}
AIR = (52, (300, 400), (10, 60))


@pytest.fixture(scope="module")
def real_levels(real_data):
    """Median signal of the tissues without the noise's share, relative to muscle."""
    series = np.asarray(io.read_volume(real_data / "knee_dess_dicom").array).transpose(2, 1, 0)

    def level(region):
        part, rows, columns = region
        return float(np.median(series[part, slice(*rows), slice(*columns)]))

    # Rician noise adds to the square of a magnitude.
    net = {name: np.sqrt(level(region) ** 2 - level(AIR) ** 2) for name, region in REGIONS.items()}
    return {name: value / net["muscle"] for name, value in net.items()}


@pytest.mark.parametrize("tissue", [name for name in REGIONS if name != "muscle"])
def test_a_tissues_signal_relative_to_muscle_is_that_of_a_real_series(real_levels, tissue):
    table = signal_table()
    simulated = table[CODES[tissue]] / table[CODES["muscle"]]
    assert simulated == pytest.approx(real_levels[tissue], rel=0.25)
