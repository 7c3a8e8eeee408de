"""Layers: sub-pixel phases equal the dilated transposed convolution; blocks start as identity."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xr2mri_jax.models import layers

_NAMES = {1: "W", 2: "HW", 3: "DHW"}


def _filled(module, x):
    """Noise for parameters: an initialisation would take seconds to compile."""
    random = np.random.default_rng(5)
    shapes = jax.eval_shape(module.init, jax.random.key(0), x)
    return jax.tree.map(lambda p: 0.3 * random.standard_normal(p.shape, np.float32), shapes)


def _dilated(x, kernel, padding):
    axes = _NAMES[x.ndim - 2]
    names = (f"N{axes}C", f"{axes}IO", f"N{axes}C")
    strides = (2,) * (x.ndim - 2)
    return jax.lax.conv_transpose(x, kernel, strides, padding, dimension_numbers=names)


def test_unit_rms_keeps_directions_and_zero():
    x = jnp.asarray([[3.0, -4.0], [0.0, 0.0], [300.0, -400.0]], jnp.bfloat16)
    found = layers.unit_rms(x)
    assert found.dtype == jnp.bfloat16
    wanted = np.array([[3.0, -4.0], [0.0, 0.0], [3.0, -4.0]]) / np.sqrt(12.5)
    np.testing.assert_allclose(np.asarray(found, np.float32), wanted, rtol=1e-2)


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize(
    ("size", "padding", "crop"),
    [(4, "SAME", (1, 1)), (2, "SAME", (0, 0)), (3, "VALID", (0, 1)), (4, "VALID", (0, 0))],
)
def test_phases_equal_the_dilated_convolution(dims, size, padding, crop):
    random = np.random.default_rng(dims * size)
    x = random.standard_normal((2, *(2, 3, 4)[:dims], 3)).astype(np.float32)
    kernel = random.standard_normal(((size,) * dims) + (3, 2)).astype(np.float32)
    weights = random.standard_normal(_dilated(x, kernel, padding).shape).astype(np.float32)

    def phases(x, kernel):
        return layers.transposed_convolution(x, kernel, (crop,) * dims)

    def both(function):
        output, backward = jax.vjp(function, x, kernel)
        return output, *backward(weights)

    found = jax.jit(lambda: both(phases))()
    expected = jax.jit(lambda: both(lambda x, kernel: _dilated(x, kernel, padding)))()
    np.testing.assert_allclose(phases(x, kernel), found[0], rtol=1e-4, atol=1e-4)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_one_pixel_is_spread_by_the_kernel():
    kernel = np.array([1.0, 2.0, 3.0, 4.0], np.float32).reshape(4, 1, 1)
    x = np.array([0.0, 1.0, 0.0], np.float32).reshape(1, 3, 1)
    # lax's orientation is that of a correlation over the dilated input: the kernel appears flipped.
    found = layers.transposed_convolution(x, kernel, ((1, 1),))
    np.testing.assert_array_equal(np.ravel(found), [0.0, 4.0, 3.0, 2.0, 1.0, 0.0])


def test_a_kernel_of_another_size_is_refused():
    with pytest.raises(ValueError, match="one size of 2, 3 or 4"):
        layers.transposed_convolution(
            jnp.zeros((1, 3, 3, 1)), jnp.zeros((5, 5, 1, 1)), ((0, 0),) * 2
        )


def test_depth_to_space_interleaves_the_phases():
    x = np.arange(8, dtype=np.float32).reshape(1, 2, 1, 4)
    found = np.asarray(layers.depth_to_space(x, 2))[0, :, :, 0]
    np.testing.assert_array_equal(found, [[0, 1], [2, 3], [4, 5], [6, 7]])


def test_activate_is_the_leaky_relu():
    np.testing.assert_allclose(layers.activate(jnp.array([-1.0, 0.0, 2.0])), [-0.2, 0.0, 2.0])


@pytest.mark.parametrize(
    ("block", "shape"),
    [(layers.ResidualBlock(5), (2, 4, 6, 3)), (layers.VolumeBlock(5), (2, 4, 6, 2, 3))],
)
def test_residual_blocks_start_as_the_identity(block, shape):
    x = np.random.default_rng(0).standard_normal(shape, np.float32)
    apply = jax.jit(block.apply)
    params = jax.jit(block.init)(jax.random.key(1), x)
    np.testing.assert_array_equal(apply(params, x), x)
    assert np.abs(np.asarray(apply(_filled(block, x), x) - x)).max() > 0.01


def test_volume_block_mixes_depths_within_a_column_and_a_neighbourhood_in_plane():
    block = layers.VolumeBlock(4)
    x = np.random.default_rng(0).standard_normal((1, 7, 7, 3, 2), np.float32)
    params, apply = _filled(block, x), jax.jit(block.apply)
    changed = x.copy()
    changed[0, 3, 3, 0, 0] += 1.0
    difference = np.abs(np.asarray(apply(params, changed) - apply(params, x)))[0]
    reached = difference.max(axis=(2, 3)) > 1e-5
    expected = np.zeros((7, 7), bool)
    expected[2:5, 2:5] = True
    np.testing.assert_array_equal(reached, expected)
    assert difference[3, 3].min() > 1e-5


def test_upsample_keeps_the_scale_of_its_input():
    x = np.random.default_rng(0).standard_normal((2, 6, 6, 6, 32), np.float32)
    module = layers.Upsample(32)
    output = jax.jit(module.apply)(jax.jit(module.init)(jax.random.key(1), x), x)
    assert output.shape == (2, 12, 12, 12, 32)
    assert 0.8 < float(output[:, 2:-2, 2:-2, 2:-2].std()) < 1.2


def test_lift_gives_each_pixel_its_column():
    module = layers.Lift(depth=3, features=2, width=4)
    x = np.random.default_rng(0).standard_normal((1, 5, 5, 2), np.float32)
    params, apply = _filled(module, x), jax.jit(module.apply)
    changed = x.copy()
    changed[0, 0, 0] += 1.0
    output = apply(params, x)
    assert output.shape == (1, 5, 5, 3, 2)
    reached = np.abs(np.asarray(apply(params, changed) - output))[0].max(axis=(2, 3)) > 1e-6
    assert reached[:2, :2].any() and not reached[2:].any() and not reached[:, 2:].any()


def test_the_gradient_of_activate_is_one_or_the_slope():
    gradient = jax.grad(lambda x: jnp.sum(jnp.array([1.0, 2.0, 3.0]) * layers.activate(x)))
    np.testing.assert_allclose(gradient(jnp.array([-1.0, 0.0, 2.0])), [0.2, 2.0, 3.0])
