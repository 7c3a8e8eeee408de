"""Boxes that cut shapes of known area and distance."""

import math

import numpy as np
import pytest
from made_shapes import box, sphere, surface
from scipy.spatial.transform import Rotation

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import Volume, canonical_affine
from xr2mri_jax.metrics.box import Box
from xr2mri_jax.metrics.occupancy import occupancies, softened
from xr2mri_jax.metrics.surfaces import scores

SHAPE = (128, 128, 128)


def closed(labels, field):
    occupied = softened(occupancies(labels, {"shape": (1,)})["shape"], labels)
    return field.closed(surface(labels), occupied, 0.5)


def compared(first, second):
    return scores(second.distance(first.points), first.areas, first.distance(second.points),
                  second.areas)  # fmt: skip


def test_a_cut_sphere_is_a_zone_and_two_caps():
    field = Box(np.array([-50.0, -50, -8]), np.array([50.0, 50, 10]))
    found = closed(sphere(25), field)
    assert field(found.points).all()
    upper = (found.points[:, 2] == 10) & (found.normals[:, 2] == 1)
    lower = (found.points[:, 2] == -8) & (found.normals[:, 2] == -1)
    assert found.areas[upper].sum() == pytest.approx(math.pi * (25**2 - 10**2), rel=0.01)
    assert found.areas[lower].sum() == pytest.approx(math.pi * (25**2 - 8**2), rel=0.01)
    zone = found.areas[~upper & ~lower].sum()
    assert zone == pytest.approx(2 * math.pi * 25 * 18, rel=0.04)


def test_a_shape_inside_keeps_its_surface_and_one_outside_is_refused():
    field = Box.around(48.0)
    assert len(closed(sphere(25), field).points) == len(surface(sphere(25)).points)
    with pytest.raises(InputError, match="no part of the structure inside the field"):
        closed(sphere(10, (30, 30, 30)), Box.around(8.0))


def test_bars_cut_by_one_field_have_no_distance_at_their_ends():
    """Bars that leave the field: longer ones differ nowhere inside, thicker ones at the sides."""
    field = Box.around(30.0)
    short, long, thick = (closed(box(size), field)
                          for size in ((20, 20, 80), (20, 20, 110), (24, 24, 80)))  # fmt: skip
    assert compared(short, long).assd < 0.02
    found = compared(short, thick)
    # The sides lie 2 mm apart; of the thick bar's ends only the rim lies outside the other's.
    sides = (4 * 20 * 60 + 4 * 24 * 60) * 2.0
    rim = 2 * (24**2 - 20**2) * 1.0
    area = 4 * 20 * 60 + 2 * 20**2 + 4 * 24 * 60 + 2 * 24**2
    assert found.assd == pytest.approx((sides + rim) / area, abs=0.06)


def test_bars_that_end_apart_have_the_distance_of_their_ends():
    field = Box.around(40.0)
    first, second = closed(box((20, 20, 60)), field), closed(box((20, 20, 70)), field)
    found = compared(first, second)
    assert found.hd == pytest.approx(5.0, abs=0.4)
    ends = first.points[first.points[:, 2] > 29.0]
    inner = ends[(np.abs(ends[:, :2]) < 4).all(axis=1)]
    assert second.distance(inner) == pytest.approx(5.0, abs=0.4)


def test_the_box_of_a_grid_is_the_grid_without_its_margin():
    volume = Volume(np.zeros((40, 60, 100), np.uint8), np.diag((2.0, 1.0, 1.0, 1.0)))
    shifted = volume.affine.copy()
    shifted[:3, 3] = (-39.0, -29.5, -80.0)
    found = Box.of(Volume(volume.array, shifted), 4.0, 48.0)
    assert found.low == pytest.approx([-36, -26, -48])
    assert found.high == pytest.approx([36, 26, 15.5])


@pytest.mark.parametrize("degrees", [-14.0, 8.0, 25.0])
def test_the_box_of_an_oblique_grid_lies_inside_it(degrees):
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("zx", [degrees, degrees / 3], degrees=True).as_matrix()
    affine[:3, :3] *= (1, -1, 1)
    affine[:3, 3] = -affine[:3, :3] @ np.full(3, 69.5)
    volume = Volume(np.zeros((140, 140, 140), np.uint8), affine)
    found = Box.of(volume, 2.0, 48.0)
    corners = np.array(np.meshgrid(*zip(found.low, found.high, strict=True))).reshape(3, 8).T
    index = volume.index(corners)
    assert (index >= 1.5 - 1e-6).all() and (index <= 137.5 + 1e-6).all()
    assert (found.high - found.low > 40).all()


def test_a_joint_at_the_end_of_its_map_is_refused():
    volume = Volume(np.zeros((50, 50, 50), np.uint8), np.eye(4))
    with pytest.raises(InputError, match="the joint at the border of the label map"):
        Box.of(volume, 4.0, 48.0)


def test_the_mask_of_a_grid_holds_the_points_inside():
    grid = Volume(np.zeros((16, 32, 64), bool), canonical_affine((16, 32, 64)))
    field = Box(np.array([-20.0, -33, -5]), np.array([11.0, 40, 60]))
    index = np.moveaxis(np.indices(grid.shape), 0, -1).reshape(-1, 3)
    assert np.array_equal(field.mask(grid).ravel(), field(grid.world(index)))
    assert field.scaled(1.5)(np.array([[16.0, 59, 89], [17.0, 0, 0]])).tolist() == [True, False]
