"""Tests that the written gradients of products and biases are those of autodiff."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xr2mri_jax.models import product


def gradients(function, *arrays):
    """The output and the gradients on every argument, for a gradient that is not constant."""
    output, backward = jax.vjp(function, *arrays)
    return output, *backward(jnp.cos(output))


@pytest.mark.parametrize(("inputs", "outputs"), [(7, 3), (3, 7), (5, 5)])
@pytest.mark.parametrize("leading", [(11,), (2, 3, 4)])
def test_gradients_are_those_of_autodiff(leading, inputs, outputs):
    random = np.random.default_rng(inputs)
    x = random.standard_normal((*leading, inputs), np.float32)
    kernel = random.standard_normal((inputs, outputs), np.float32)
    bias = random.standard_normal(outputs, np.float32)

    def ours(x, kernel, bias):
        return product.add_bias(product.product(x, kernel), bias)

    found = jax.jit(lambda: gradients(ours, x, kernel, bias))()
    wanted = gradients(lambda x, kernel, bias: x @ kernel + bias, x, kernel, bias)
    for one, other in zip(found, wanted, strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_the_layer_is_flaxs(dtype, use_bias):
    options = {"features": 4, "use_bias": use_bias, "dtype": dtype}
    ours = product.Dense(kernel_init=nn.initializers.lecun_normal(), **options)
    x = np.random.default_rng(0).standard_normal((2, 3, 6), np.float32)
    variables = ours.init(jax.random.key(0), x)
    theirs = nn.Dense(**options)
    expected = jax.eval_shape(theirs.init, jax.random.key(0), x)
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(lambda leaf: leaf.shape, expected)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    found = ours.apply(variables, x)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, theirs.apply(variables, x))


def test_the_narrower_operand_is_transposed():
    def transposed(inputs, outputs):
        arrays = np.zeros((9, inputs), np.float32), np.zeros((9, outputs), np.float32)
        text = jax.jit(product.out_of_narrower).lower(*arrays).as_text()
        return f"tensor<{min(inputs, outputs)}x9xf32>" in text

    assert transposed(7, 3) and transposed(3, 7)
