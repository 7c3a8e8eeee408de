"""Winograd's form of the 3x3 convolution against XLA's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xr2mri_jax.models import convolution, winograd

SHAPES = [(2, 8, 12, 5, 3), (1, 1, 2, 3, 2), (5, 13, 11, 2, 3)]


def _case(shape, dtype=np.float32):
    batch, height, width, inputs, outputs = shape
    random = np.random.default_rng(0)
    x = random.standard_normal((batch, height, width, inputs)).astype(dtype)
    kernel = random.standard_normal((3, 3, inputs, outputs)).astype(dtype)
    return x, kernel, random.standard_normal((batch, height, width, outputs)).astype(dtype)


def _own(x, kernel):
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), ((1, 1), (1, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def test_matrices_of_one_dimension_give_the_three_taps():
    random = np.random.default_rng(1)
    window, taps = random.standard_normal(6), random.standard_normal(3)
    found = winograd.OUTPUT @ ((winograd.KERNEL @ taps) * (winograd.INPUT @ window))
    wanted = [window[i : i + 3] @ taps for i in range(4)]
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_values_and_gradients_are_those_of_xla(shape):
    x, kernel, given = _case(shape)
    wanted, vjp = jax.vjp(_own, x, kernel)
    by_x, by_kernel = vjp(given)
    found, transformed = jax.jit(winograd.convolve_kept)(x, kernel)
    np.testing.assert_allclose(found, wanted, atol=2e-4)
    found_by_x, found_by_kernel = jax.jit(winograd.gradients)(transformed, given)
    np.testing.assert_allclose(found_by_x, by_x, atol=2e-4)
    np.testing.assert_allclose(found_by_kernel, by_kernel, atol=2e-4)
    alone = jax.jit(winograd.kernel_gradient)(x, given)
    np.testing.assert_allclose(alone, by_kernel, atol=2e-4)


def test_wide_convolutions_and_their_gradients_are_those_of_xla():
    x, kernel, given = _case((2, 7, 8, convolution.WIDE, convolution.WIDE + 8))
    wanted, wanted_vjp = jax.vjp(_own, x, kernel)
    found, found_vjp = jax.vjp(lambda x, k: convolution.convolve(x, k, 1), x, kernel)
    np.testing.assert_allclose(found, wanted, atol=1e-3)
    for ours, theirs in zip(found_vjp(given), wanted_vjp(given), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-3)


def test_half_precision_stays_with_xla():
    x, kernel, _ = _case((1, 4, 4, convolution.WIDE, convolution.WIDE))
    x, kernel = jnp.asarray(x, jnp.bfloat16), jnp.asarray(kernel, jnp.bfloat16)
    np.testing.assert_array_equal(convolution.convolve(x, kernel, 1), _own(x, kernel))


def test_without_gradients_convolutions_are_xlas():
    x, kernel, _ = _case((1, 4, 4, convolution.WIDE, convolution.WIDE))
    np.testing.assert_array_equal(convolution.convolve(x, kernel, 1), _own(x, kernel))
    text = jax.jit(lambda x, k: convolution.convolve(x, k, 1)).lower(x, kernel).as_text()
    assert text.count("stablehlo.convolution") == 1 and "dot_general" not in text
    grad = jax.grad(lambda k: convolution.convolve(x, k, 1).sum())
    assert "stablehlo.convolution" not in jax.jit(grad).lower(kernel).as_text()
