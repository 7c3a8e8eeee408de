"""Tests of the way from an MRI volume to the canonical volume and back."""

import json

import numpy as np
import pytest

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import Volume, canonical_affine
from xr2mri_jax.preprocess.volume import source_values, standardise_volume
from xr2mri_jax.tools.benchmarks.joint_centre import simulated_scan

SHAPE = (8, 16, 16)
WHOLE = (0.0, 100.0)


def made(shape=SHAPE, center=(0, 0, 0)):
    values = np.random.default_rng(0).uniform(50, 2000, shape).astype(np.float32)
    return Volume(values, canonical_affine(shape, center))


def test_own_grid_keeps_voxels_and_undoes():
    volume = made()
    standard = standardise_volume(volume, "right", (0, 0, 0), SHAPE, WHOLE)
    assert standard.mask.all()
    assert standard.array.dtype == np.float32
    assert (standard.array.min(), standard.array.max()) == (0.0, 1.0)
    record = json.loads(json.dumps(standard.record, allow_nan=False))
    np.testing.assert_allclose(source_values(record, standard.array), volume.array, atol=1e-2)


def test_left_knees_are_mirrored_about_the_centre():
    volume = made(center=(30, 5, -9))
    right = standardise_volume(volume, "right", (30, 5, -9), SHAPE)
    left = standardise_volume(volume, "left", (30, 5, -9), SHAPE)
    np.testing.assert_array_equal(left.array, right.array[:, :, ::-1])
    assert left.record["mirrored"] and not right.record["mirrored"]


def test_outside_the_field_is_zero_and_takes_no_part_in_the_window():
    volume = made()
    half = Volume(volume.array[4:], canonical_affine(SHAPE) @ _shift(4))
    standard = standardise_volume(half, "right", (0, 0, 0), SHAPE, WHOLE)
    assert not standard.mask[:4].any() and standard.mask[4:].all()
    assert (standard.array[:4] == 0).all()
    assert standard.record["field"] == 0.5
    assert standard.record["window"]["low"] == pytest.approx(volume.array[4:].min())


def test_single_bright_voxels_are_clipped():
    volume = made()
    volume.array[3, 3, 3] = 1e6
    standard = standardise_volume(volume, "right", (0, 0, 0), SHAPE)
    assert standard.record["window"]["high"] < 2001
    assert standard.array[3, 3, 3] == 1.0


def test_a_box_beside_the_volume_is_refused():
    with pytest.raises(InputError, match="contains no voxel"):
        standardise_volume(made(), "right", (500, 0, 0), SHAPE)


def test_a_constant_volume_is_refused():
    with pytest.raises(InputError, match="constant"):
        standardise_volume(
            Volume(np.full(SHAPE, 3.0), canonical_affine(SHAPE)), "left", (0, 0, 0), SHAPE
        )


def _shift(steps):
    matrix = np.eye(4)
    matrix[0, 3] = steps
    return matrix


def test_the_centre_is_found_where_none_is_given():
    volume, side, truth = simulated_scan(78, 1, "sag_dess", 48)
    standard = standardise_volume(volume, side, None, SHAPE)
    np.testing.assert_allclose(standard.record["centre_mm"], truth, atol=6)
    assert standard.record["centre_found"]["confidence"] > 0.5
    given = standardise_volume(volume, side, standard.record["centre_mm"], SHAPE)
    assert given.record["centre_found"] is None
    np.testing.assert_array_equal(given.array, standard.array)
