"""The simulated DESS contrast against a real series: ratios to muscle within 25 %."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from xr2mri_jax import io
from xr2mri_jax.phantom import anatomy, fibres
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
# Hoffa's fat pad in two slices, and the muscle behind the joint: their fibres show on 1 mm.
FAT_PADS = (REGIONS["fat"], (42, (290, 340), (120, 170)))
CALF = (25, (300, 420), (340, 430))


@pytest.fixture(scope="module")
def series(real_data):
    """The real series as [slice, row, column], float."""
    array = np.asarray(io.read_volume(real_data / "knee_dess_dicom").array)
    return array.transpose(2, 1, 0).astype(float)


def part_of(series, region):
    part, rows, columns = region
    return series[part, slice(*rows), slice(*columns)]


def without_noise(level, series):
    # Rician noise adds to the square of a magnitude.
    return np.sqrt(np.maximum(level**2 - np.median(part_of(series, AIR)) ** 2, 0))


@pytest.fixture(scope="module")
def real_levels(series):
    """Median signal of the tissues without the noise's share, relative to muscle."""
    net = {
        name: without_noise(np.median(part_of(series, region)), series)
        for name, region in REGIONS.items()
    }
    return {name: value / net["muscle"] for name, value in net.items()}


@pytest.mark.parametrize("tissue", [name for name in REGIONS if name != "muscle"])
def test_a_tissues_signal_relative_to_muscle_is_that_of_a_real_series(real_levels, tissue):
    table = signal_table()
    simulated = table[CODES[tissue]] / table[CODES["muscle"]]
    assert simulated == pytest.approx(real_levels[tissue], rel=0.25)


@pytest.fixture(scope="module")
def smooth(series):
    """The real series without the noise's share, averaged to about 1 mm within a slice."""
    return without_noise(ndimage.uniform_filter(series, (0, 3, 3)), series)


@pytest.fixture(scope="module")
def simulated_fibres():
    """Signal of fat and of muscle with fibres on voxels of 1 mm, 20 mm and more under the skin."""
    shape = (24, 64, 64)
    relative = [0.4 + jnp.arange(n) / extent for n, extent in zip(shape, (128.0,) * 3, strict=True)]
    textures, fields = jax.random.split(jax.random.key(0))
    rough, grain = anatomy.textures(textures, relative)
    bend, bundles = fibres.fields(fields, relative)
    skin = jnp.broadcast_to(-20.0 - jnp.arange(64.0), shape[1:])
    far = jnp.full((len(anatomy.SOFT), *shape[1:]), 1e3)

    def slab(noise):
        rough, grain, bend, bundles = noise
        signal = anatomy.soft_layers(far, rough, grain, 1.0)[1]
        return fibres.add(signal, skin, skin + 8.0, (bend, bundles, grain))

    signal = np.asarray(jax.lax.map(slab, (rough, grain, bend, bundles)))
    return {name: signal[:, list(anatomy.SOFT).index(name)] for name in ("fat", "muscle")}


def test_fat_has_strands_as_bright_as_in_the_fat_pad_of_a_real_series(smooth, simulated_fibres):
    real = [np.percentile(p, 90) / np.median(p) for p in (part_of(smooth, r) for r in FAT_PADS)]
    fat = simulated_fibres["fat"]
    assert np.percentile(fat, 90) / np.median(fat) == pytest.approx(np.mean(real), rel=0.25)


def test_muscle_has_streaks_as_dark_as_in_a_real_series(smooth, simulated_fibres):
    calf, muscle = part_of(smooth, CALF), simulated_fibres["muscle"]
    real = np.percentile(calf, 5) / np.median(calf)
    assert np.percentile(muscle, 5) / np.median(muscle) == pytest.approx(real, rel=0.25)
