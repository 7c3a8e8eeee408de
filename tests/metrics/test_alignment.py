"""Alignment of shapes that were turned, shifted and scaled by a known amount."""

import numpy as np
import pytest
from made_shapes import ellipsoid, surface
from scipy.spatial.transform import Rotation

from xr2mri_jax.errors import InputError
from xr2mri_jax.metrics.alignment import Similarity, align
from xr2mri_jax.metrics.surfaces import Surface, scores

AXES = (38.0, 30.0, 22.0)


@pytest.fixture(scope="module")
def shape() -> Surface:
    return surface(ellipsoid(AXES))


def everywhere(points):
    return np.ones(len(points), bool)


def moved(one: Surface, by: Similarity) -> Surface:
    return Surface(
        by.points(one.points), by.directions(one.normals), one.areas * by.scale**2,
        one.reach * by.scale,
    )  # fmt: skip


def assd(first: Surface, second: Surface) -> float:
    there, back = second.distance(first.points), first.distance(second.points)
    return scores(there, first.areas, back, second.areas).assd


def some_transform(seed: int, degrees: float, scale: float) -> Similarity:
    rng = np.random.default_rng(seed)
    axis = rng.normal(size=3)
    turn = Rotation.from_rotvec(np.radians(degrees) * axis / np.linalg.norm(axis))
    return Similarity(turn.as_matrix(), scale, rng.normal(size=3) * 5)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("degrees", [5.0, 30.0])
def test_a_rigid_move_is_undone(shape, seed, degrees):
    away = some_transform(seed, degrees, 1.0)
    found = align(moved(shape, away), shape, everywhere, everywhere, scale=False)
    assert found.scale == 1
    moved_back = found.points(away.points(shape.points))
    np.testing.assert_allclose(moved_back, shape.points, rtol=0, atol=0.1)


@pytest.mark.parametrize("scale", [0.8, 1.25])
def test_a_similarity_is_undone_and_its_numbers_are_told(shape, scale):
    away = some_transform(7, 15.0, scale)
    found = align(moved(shape, away), shape, everywhere, everywhere, scale=True)
    assert found.scale == pytest.approx(1 / scale, rel=2e-3)
    assert found.angle_deg() == pytest.approx(15.0, abs=0.3)
    moved_back = found.points(away.points(shape.points))
    np.testing.assert_allclose(moved_back, shape.points, rtol=0, atol=0.15)


def test_a_rigid_move_does_not_change_the_size(shape):
    found = align(moved(shape, Similarity(scale=1.1)), shape, everywhere, everywhere, scale=False)
    left = assd(moved(moved(shape, Similarity(scale=1.1)), found), shape)
    assert found.scale == 1 and 1.5 < left < 4


def test_both_directions_give_inverse_transforms():
    one, other = surface(ellipsoid(AXES)), surface(ellipsoid((36.0, 32.0, 22.0), centre=(3, 1, 2)))
    there = align(one, other, everywhere, everywhere, scale=True)
    back = align(other, one, everywhere, everywhere, scale=True)
    assert there.matrix() @ back.matrix() == pytest.approx(np.eye(4), abs=0.25)
    assert assd(moved(one, there), other) < assd(one, other) / 2


def test_what_lies_outside_the_field_pulls_nothing(shape):
    """The moving shape has a far, wrong part that the field leaves out."""
    away = some_transform(3, 10.0, 1.0)
    far = shape.points[:, 0] > 15
    wrong = Surface(shape.points + far[:, None] * (9.0, 4.0, 0.0), shape.normals, shape.areas, 2.0)

    def field(points):
        return points[:, 0] < 14

    def covered(points):
        return away.inverse_points(points)[:, 0] < 14

    found = align(moved(wrong, away), shape, field, covered, scale=False)
    near = shape.points[shape.points[:, 0] < 10]
    assert found.points(away.points(near)) == pytest.approx(near, abs=0.3)


def test_a_field_without_the_surface_is_refused(shape):
    with pytest.raises(InputError, match="0 points of the fixed surface in the common field"):
        align(shape, shape, lambda p: p[:, 0] > 500, everywhere, scale=True)
    with pytest.raises(InputError, match="expected 20 or more of each surface"):
        align(shape, shape, everywhere, lambda p: p[:, 0] > 500, scale=True)


def test_a_similarity_and_its_way_back():
    one = some_transform(1, 40.0, 1.3)
    points = np.random.default_rng(0).normal(size=(5, 3))
    assert one.inverse_points(one.points(points)) == pytest.approx(points)
    assert one.points(points) == pytest.approx(
        points @ one.matrix()[:3, :3].T + one.matrix()[:3, 3]
    )
