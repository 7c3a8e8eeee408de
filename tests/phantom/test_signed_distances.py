"""Tests of labels from signed distances, on shapes made by hand."""

import numpy as np
import pytest

from xr2mri_jax.errors import InputError
from xr2mri_jax.phantom import surfaces
from xr2mri_jax.phantom.surfaces import NAMES
from xr2mri_jax.phantom.tissues import CODES


def layered(n=16, step=2.0):
    """Femur above, tibia below the middle, each with 3 mm of cartilage; nothing else."""
    height = ((np.arange(n) + 0.5) * step - n * step / 2)[None, :, None] * np.ones((n, 1, n))
    distances = np.full((len(NAMES), n, n, n), surfaces.LIMIT_MM, np.float32)
    distances[NAMES.index("femur")] = height + 4
    distances[NAMES.index("femoral_outer")] = height + 1
    distances[NAMES.index("tibia")] = 4 - height
    distances[NAMES.index("tibial_outer")] = 1 - height
    return distances


def test_cartilage_is_what_the_outer_surface_adds_to_the_bone():
    codes = surfaces.labels(surfaces.resized(layered(), (16, 64, 16)))
    column = codes[8, :, 12]
    # Voxels of 0.5 mm: bone ends 4 mm, cartilage 1 mm from the middle.
    assert (column[:24] == CODES["femur"]).all()
    assert (column[24:30] == CODES["femoral_cartilage"]).all()
    assert (column[30:34] == 0).all()
    assert (column[34:40] == CODES["medial_tibial_cartilage"]).all()
    assert (column[40:] == CODES["tibia"]).all()
    assert (codes[8, 34:40, :8] == CODES["lateral_tibial_cartilage"]).all()


def test_stored_distances_come_back_within_a_step_and_are_cut_off():
    distances = np.array([-30.0, -1.03, 0.0, 2.5, 30.0])
    back = surfaces.stored(distances) / surfaces.STEPS
    np.testing.assert_allclose(back, [-7.5, -1.03, 0.0, 2.5, 7.5], atol=0.5 / surfaces.STEPS)


@pytest.mark.parametrize("order", [1, 3])
def test_resizing_keeps_what_is_linear_and_the_place_of_the_box(order):
    x = (np.arange(8) + 0.5) / 8
    ramp = np.broadcast_to(x, (1, 8, 8, 8)).astype(np.float32)
    fine = surfaces.resized(ramp, (8, 8, 32), order)
    wanted = (np.arange(32) + 0.5) / 32
    np.testing.assert_allclose(fine[0, 3, 4, 8:24], wanted[8:24], atol=0.003)
    np.testing.assert_array_equal(surfaces.resized(ramp, (8, 8, 8), order), ramp)


def test_halving_takes_the_mean_of_blocks():
    values = np.arange(64, dtype=np.float32).reshape(1, 4, 4, 4)
    halved = surfaces.halved(values)
    assert halved.shape == (1, 2, 2, 2)
    assert halved[0, 0, 0, 0] == np.mean([0, 1, 4, 5, 16, 17, 20, 21])


def test_another_number_of_surfaces_is_refused():
    with pytest.raises(InputError, match="found 2 surfaces, expected 9"):
        surfaces.labels(np.zeros((2, 4, 4, 4), np.float32))
