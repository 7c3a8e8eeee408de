"""Signed distances against their exact values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xr2mri_jax.phantom import sdf

POINTS = np.random.default_rng(0).uniform(-3, 3, (3, 40)).astype(np.float32)


@pytest.mark.parametrize("compiled", [False, True])
def test_ellipsoid_with_equal_radii_is_a_sphere(compiled):
    function = jax.jit(sdf.ellipsoid) if compiled else sdf.ellipsoid
    exact = np.linalg.norm(POINTS, axis=0) - 2.0
    x, y, z = POINTS
    np.testing.assert_allclose(function(x, y, z, 2.0, 2.0, 2.0), exact, atol=1e-3)


def test_several_ellipsoids_equal_one_by_one():
    rows = np.array([(0.0, 1.0, -1.0, 1.0, 2.0, 3.0), (1.0, 0.0, 0.5, 2.0, 1.5, 1.0)], np.float32)
    x, y, z = POINTS
    both = sdf.ellipsoids(x, y, z, rows)
    for got, (cx, cy, cz, *radii) in zip(both, rows, strict=True):
        np.testing.assert_allclose(got, sdf.ellipsoid(x - cx, y - cy, z - cz, *radii), rtol=1e-5)


def test_tube_is_a_cylinder_where_radii_agree():
    exact = np.hypot(POINTS[0], POINTS[1]) - 1.5
    np.testing.assert_allclose(sdf.tube(POINTS[0], POINTS[1], 1.5, 1.5), exact, atol=1e-3)


def test_capsule_by_hand():
    x, y, z = jnp.array([0.0, 0.0, 3.0]), jnp.array([2.0, 0.0, 0.0]), jnp.array([1.0, 6.0, 4.0])
    (distance,) = sdf.capsules(x, y, z, np.array([[0, 0, 0, 0, 0, 4, 0.5]], np.float32))
    np.testing.assert_allclose(distance, [1.5, 1.5, 2.5], atol=1e-5)


def test_smooth_union_touches_the_minimum_and_swells_by_a_quarter():
    a, b = jnp.array([0.0, 1.0, 5.0]), jnp.array([10.0, 1.0, 5.5])
    np.testing.assert_allclose(sdf.smooth_union(a, b, 2.0), [0.0, 0.5, 4.71875], atol=1e-6)
    np.testing.assert_allclose(
        sdf.smooth_intersection(a, b, 2.0), -sdf.smooth_union(-a, -b, 2.0), atol=1e-6
    )


def test_smooth_step_runs_both_ways():
    t = jnp.array([-1.0, 0.0, 0.5, 1.0, 2.0])
    np.testing.assert_allclose(sdf.smooth_step(0.0, 1.0, t), [0, 0, 0.5, 1, 1])
    np.testing.assert_allclose(sdf.smooth_step(1.0, 0.0, t), [1, 1, 0.5, 0, 0])
