"""Distances between surfaces of shapes whose distance is known."""

import math

import numpy as np
import pytest
from made_shapes import box, map_of, sphere, surface

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import Volume, canonical_affine
from xr2mri_jax.metrics import surfaces
from xr2mri_jax.metrics.occupancy import dice, occupancies, resampled
from xr2mri_jax.metrics.surfaces import scores, surface_of


def compared(first, second):
    return scores(second.distance(first.points), first.areas, first.distance(second.points),
                  second.areas)  # fmt: skip


@pytest.mark.parametrize("shape", [(128, 128, 128), (64, 128, 128), (96, 192, 192)])
def test_a_sphere_has_its_area_radius_and_outward_normals(shape):
    found = surface(sphere(25, shape=shape))
    assert found.areas.sum() == pytest.approx(4 * math.pi * 25**2, rel=0.03)
    radius = np.linalg.norm(found.points, axis=1)
    assert np.average(radius, weights=found.areas) == pytest.approx(25, abs=0.15)
    outwards = np.einsum("ij,ij->i", found.normals, found.points / radius[:, None])
    assert np.average(outwards, weights=found.areas) > 0.97


def test_normals_point_outwards_in_a_mirrored_grid_too():
    labels = sphere(20, (10.0, 0.0, 0.0))
    mirrored = Volume(labels.array, np.diag((-1.0, 1.0, 1.0, 1.0)) @ labels.affine)
    found = surface_of(Volume(mirrored.array.astype(np.float32), mirrored.affine))
    assert np.average(found.points[:, 0], weights=found.areas) == pytest.approx(-10, abs=0.05)
    away = np.einsum("ij,ij->i", found.normals, found.points - (-10, 0, 0))
    assert (away > 0).all()


def test_distance_to_a_sphere_has_sub_voxel_precision_and_a_sign():
    found = surface(sphere(25))
    for wanted in (-6.3, -0.4, 0.0, 0.7, 12.2):
        directions = np.random.default_rng(0).normal(size=(500, 3))
        points = directions / np.linalg.norm(directions, axis=1, keepdims=True) * (25 + wanted)
        signed = found.signed_distance(points)
        assert np.mean(signed) == pytest.approx(wanted, abs=0.15)
        assert np.abs(signed - wanted).max() < 0.45


def test_concentric_spheres_lie_their_radii_apart():
    found = compared(surface(sphere(25)), surface(sphere(21.5)))
    assert found.assd == pytest.approx(3.5, abs=0.05)
    assert found.hd95 == pytest.approx(3.5, abs=0.35)
    assert found.hd == pytest.approx(3.5, abs=0.6)
    assert found.nsd == 0


def test_a_shifted_sphere_has_the_mean_distance_of_the_formula():
    """The mean over directions u of | |R u + t| - R |, with radius R and shift t."""
    shift, radius = 4.0, 25.0
    cosine = np.linspace(-1, 1, 20001)
    exact = np.abs(np.sqrt(radius**2 + shift**2 + 2 * radius * shift * cosine) - radius)
    found = compared(surface(sphere(radius)), surface(sphere(radius, (shift, 0, 0))))
    assert found.assd == pytest.approx(exact.mean(), abs=0.05)
    assert found.hd == pytest.approx(shift, abs=0.3)
    assert found.hd95 == pytest.approx(np.percentile(exact, 95), abs=0.15)
    assert found.nsd == pytest.approx((exact <= surfaces.TOLERANCE_MM).mean(), abs=0.03)


def test_the_same_surface_has_no_distance():
    one = surface(sphere(20))
    found = compared(one, one)
    assert (found.assd, found.hd, found.hd95, found.nsd) == pytest.approx((0, 0, 0, 1), abs=1e-9)


def test_a_box_that_is_longer_at_one_end_is_far_there_alone():
    """30 x 30 x 40 mm against 30 x 30 x 50: only the added 10 mm lie outside the other."""
    short, long = surface(box((30, 30, 40), (0, 0, -5))), surface(box((30, 30, 50)))
    found = compared(short, long)
    # The middle of the long box's top lies 10 mm above the short one's.
    assert found.hd == pytest.approx(10, abs=0.5)
    bottom = short.points[:, 2] < -20
    assert long.distance(short.points[bottom]).max() < 0.3


def test_distance_weights_are_areas_not_points():
    first, areas = np.array([1.0, 3.0]), np.array([3.0, 1.0])
    found = scores(first, areas, np.array([0.0]), np.array([4.0]))
    assert found.assd == pytest.approx((1 * 3 + 3 * 1 + 0) / 8)
    assert found.nsd == pytest.approx(7 / 8)
    assert found.hd == 3
    assert found.hd95 == 3


def test_spread_points_stand_for_the_chosen_area():
    one = surface(sphere(25))
    upper = one.points[:, 2] > 0
    points, areas = surfaces.area_sample(one, upper, 400)
    assert (points[:, 2] > 0).all() and 300 < len(points) <= 400
    assert areas.sum() == pytest.approx(one.areas[upper].sum())
    assert np.average(points, axis=0, weights=areas) == pytest.approx([0, 0, 12.5], abs=0.5)


def test_empty_and_full_structures_and_no_shared_field_are_refused():
    grid = np.zeros((16, 16, 16), np.float32)
    for array, share in ((grid, "0%"), (grid + 1, "100%")):
        with pytest.raises(InputError, match=f"femur: found {share} of the box occupied"):
            surface_of(Volume(array, np.eye(4)), "femur")
    nothing = np.zeros(0)
    with pytest.raises(InputError, match="0 and 1 surface points in the common field"):
        scores(nothing, nothing, np.ones(1), np.ones(1))


def test_occupancy_counts_the_share_of_a_voxel():
    fine = np.zeros((256, 256, 256), np.uint8)
    fine[:129] = 1  # half a millimetre past the middle
    labels = Volume(fine, canonical_affine(fine.shape))
    found = occupancies(labels, {"front": (1,), "other": (2,)})
    assert found["front"].array[:64].min() == 1
    assert found["front"].array[64] == pytest.approx(0.5)
    assert found["front"].array[65:].max() == 0
    assert found["other"].array.max() == 0


def test_dice_of_shifted_boxes_and_of_a_field():
    first, second = box((20, 20, 20)), box((20, 20, 20), (5, 0, 0))
    everywhere = np.ones(first.shape, bool)
    a, b = first.array > 0, second.array > 0
    assert dice(a, b, everywhere) == pytest.approx(15 / 20)
    moved = np.eye(4)
    moved[0, 3] = 5
    as_float = Volume(first.array.astype(np.float32), first.affine)
    assert dice(resampled(as_float, second, moved), b, everywhere) == 1
    right_of = np.zeros(first.shape, bool)
    right_of[:, :, : 64 - 5] = True  # beyond x = 5: 5 of 10 mm of the first, 10 of the second
    assert dice(a, b, right_of) == pytest.approx(2 * 5 / (5 + 10))
    with pytest.raises(InputError, match="both structures empty"):
        dice(a & False, b & False, everywhere)


def test_a_thin_plate_keeps_its_occupancy():
    plate = map_of(np.zeros((128, 128, 128), bool))
    plate.array[:, 60:62] = 1
    assert occupancies(plate, {"p": (1,)})["p"].array.sum() == pytest.approx(2 * 128 * 128)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_parallel_and_slightly_oblique_grids_give_the_same_occupancies(order):
    """Grids with parallel axes are looked up axis by axis, others as a whole."""
    array = np.random.default_rng(0).integers(0, 3, (40, 60, 50)).astype(np.uint8)
    affine = np.eye(4)
    affine[:3, :3] = np.diag([2.1, -1.3, 1.7])[:, list(order)]
    affine[:3, 3] = -affine[:3, :3] @ (np.array(array.shape) / 2 - 0.37)
    oblique = affine.copy()
    oblique[0, :3] += 1e-3 * np.abs(affine[:3, :3]).max(axis=0)
    first, second = (
        occupancies(Volume(array, grid), {"part": (1,)})["part"].array for grid in (affine, oblique)
    )
    assert first.mean() > 0.05
    assert np.mean(first != second) < 0.1 and np.abs(first - second).mean() < 0.02
