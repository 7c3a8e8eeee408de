"""Positions and their interpolation against SciPy, and the smooth deformation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage
from scipy.interpolate import BSpline

from xr2mri_jax.data import augment, warp


@pytest.mark.parametrize("border", ["zero", "edge"])
def test_linear_values_are_scipys(border):
    rng = np.random.default_rng(0)
    planes = rng.random((2, 7, 9)).astype(np.float32)
    rows, columns = (
        rng.uniform(-2, size + 1, (7, 9)).astype(np.float32) for size in planes.shape[1:]
    )
    found = jax.jit(warp.linear, static_argnums=2)(
        planes, warp.Source(rows, columns), border == "zero"
    )
    for plane, one in zip(planes, found, strict=True):
        wanted = ndimage.map_coordinates(plane, [rows, columns], order=1, mode="nearest")
        if border == "zero":
            wanted *= (rows >= 0) & (rows <= 6) & (columns >= 0) & (columns <= 8)
        np.testing.assert_allclose(one, wanted, atol=1e-6)


def test_nearest_values_are_scipys_and_zero_outside():
    rng = np.random.default_rng(0)
    planes = rng.integers(1, 9, (2, 7, 9)).astype(np.uint8)
    rows, columns = (
        rng.uniform(-2, size + 1, (7, 9)).astype(np.float32) for size in planes.shape[1:]
    )
    found = warp.nearest(jnp.asarray(planes), warp.Source(jnp.asarray(rows), jnp.asarray(columns)))
    assert found.dtype == np.uint8
    inside = (rows >= 0) & (rows <= 6) & (columns >= 0) & (columns <= 8)
    for plane, one in zip(planes, found, strict=True):
        wanted = ndimage.map_coordinates(plane, [rows, columns], order=0, mode="nearest")
        np.testing.assert_array_equal(one, wanted * inside)


def _source(shape, shift=(0, 0), angle=0.0, magnification=1.0):
    return warp.positions(shape, jnp.array(shift), jnp.float32(angle), jnp.float32(magnification))


def test_a_quarter_turn_is_numpys():
    plane = jnp.arange(25, dtype=np.float32).reshape(1, 5, 5)
    turned = warp.linear(plane, _source((5, 5), angle=np.pi / 2), False)
    np.testing.assert_allclose(turned[0], np.rot90(plane[0]), atol=1e-4)


def test_magnification_by_two_about_the_centre():
    plane = jnp.arange(5, dtype=np.float32) * np.ones((1, 5, 1), np.float32)
    wider = warp.linear(plane, _source((5, 5), magnification=2.0), False)
    np.testing.assert_allclose(wider[0, 2], [1.0, 1.5, 2.0, 2.5, 3.0], atol=1e-6)


def test_a_shift_is_by_whole_pixels_and_repeats_the_radiographs_border():
    plane = np.arange(12, dtype=np.float32).reshape(3, 4)
    shift = jnp.array([1, -1])
    edge = warp._shifted(plane[..., None], "xray", shift, 2)[..., 0]
    np.testing.assert_array_equal(edge, [[1, 2, 3, 3], [1, 2, 3, 3], [5, 6, 7, 7]])
    wanted = [[0, 0, 0, 0], [1, 2, 3, 0], [5, 6, 7, 0]]
    zero = warp._shifted(plane[None, ..., None], "mri", shift, 2)[0, ..., 0]
    np.testing.assert_array_equal(zero, wanted)
    labels = warp._shifted(plane[None].astype(np.uint8), "labels", shift, 2)[0]
    np.testing.assert_array_equal(labels, wanted)
    gone = warp._shifted(plane[None, ..., None], "mri", jnp.array([9, 0]), 9)
    np.testing.assert_array_equal(gone, np.zeros((1, 3, 4, 1)))


def _applied(batch, keys, strength):
    found = augment.strengths(strength)
    return np.asarray(jax.jit(lambda *given: augment.apply(*given, found)["xray"])(batch, keys))


def test_shifts_alone_are_those_of_interpolation():
    rng = np.random.default_rng(1)
    batch = {"xray": rng.random((8, 12, 10, 1)).astype(np.float32)}
    keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(3), i))(np.arange(8))
    found = _applied(batch, keys, {"shift": 4})
    # A rotation too small to see makes the same shifts take the other way.
    turned = _applied(batch, keys, {"shift": 4, "rotate": 1e-7})
    np.testing.assert_allclose(found, turned, atol=1e-5)
    shifts = {
        next(
            (down, right)
            for down in range(-4, 5)
            for right in range(-4, 5)
            if np.array_equal(
                ndimage.shift(image[..., 0], (down, right), order=0, mode="nearest"), one[..., 0]
            )
        )
        for image, one in zip(batch["xray"], found, strict=True)
    }
    assert len(shifts) > 3


def test_the_basis_is_that_of_cubic_splines():
    basis = warp.cubic_basis(50, 8)
    places = (np.arange(50) + 0.5) / 50 * 5
    for number in range(8):
        spline = BSpline.basis_element(np.arange(5) + number - 3, extrapolate=False)
        np.testing.assert_allclose(basis[:, number], np.nan_to_num(spline(places)), atol=1e-6)
    np.testing.assert_allclose(basis.sum(axis=1), 1, atol=1e-6)


def test_a_deformation_is_smooth_and_no_larger_than_its_controls():
    controls = np.random.default_rng(0).uniform(-5, 5, (20, 8, 8)).astype(np.float32)
    fields = np.asarray(warp.deformation(controls, (60, 40)))[:, None]
    assert 1.5 < np.abs(fields).max() <= 5
    steady = warp.deformation(np.full((1, 8, 8), 3, np.float32), (60, 40))
    np.testing.assert_allclose(steady, 3, atol=1e-5)
    # A spline's slope is at most twice the largest control over the distance between controls.
    assert np.abs(np.diff(fields, axis=2)).max() < 2 * 5 / (60 / 5)
    assert np.abs(np.diff(fields, n=2, axis=3)).max() < 4 * 5 / (40 / 5) ** 2


def test_an_elastic_example_moves_by_no_more_than_the_strength():
    rows = np.broadcast_to(np.arange(32, dtype=np.float32)[:, None, None] / 32, (8, 32, 32, 1))
    keys = jax.random.split(jax.random.key(0), 8)
    moved = 32 * (_applied({"xray": rows}, keys, {"elastic": 2.0}) - rows)
    assert 0.5 < np.abs(moved).max() <= 2.0001
    assert np.abs(moved).max(axis=(1, 2, 3)).min() < 0.5
