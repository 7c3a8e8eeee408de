"""Mergeable means against hand-computed values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xr2mri_jax.metrics import base


def test_mean_counts_only_masked_examples():
    values = np.array([1.0, 2.0, 9.0], np.float32)
    mean = base.Mean.from_values(values, np.array([1.0, 1.0, 0.0]))
    assert mean.compute() == 1.5
    assert float(mean.count) == 2.0


def test_padding_may_be_nan():
    mean = base.Mean.from_values(np.array([3.0, np.nan], np.float32), np.array([True, False]))
    assert mean.compute() == 3.0


def test_merge_is_the_mean_over_all_values_and_not_of_means():
    first = base.Mean.from_values(np.array([1.0, 2.0, 3.0]))
    second = base.Mean.from_values(np.array([10.0]))
    assert first.merge(second).compute() == 4.0
    assert base.Mean.empty().merge(first).compute() == 2.0


def test_same_numbers_inside_jit_and_as_a_pytree():
    values, mask = jnp.arange(4.0), jnp.array([1.0, 0.0, 1.0, 1.0])
    plain = base.Mean.from_values(values, mask)
    jitted = jax.jit(base.Mean.from_values)(values, mask)
    assert jitted.compute() == plain.compute() == pytest.approx(5 / 3)
    doubled = jax.tree.map(lambda x: 2 * x, plain)
    assert float(doubled.sum) == 10.0 and float(doubled.count) == 6.0


def test_dicts_merge_by_name():
    means = base.merge(
        base.from_batch({"a": np.array([1.0]), "b": np.array([5.0])}),
        base.from_batch({"a": np.array([3.0]), "b": np.array([5.0])}),
    )
    assert base.compute(means) == {"a": 2.0, "b": 5.0}
    with pytest.raises(ValueError, match="cannot merge"):
        base.merge(means, {"a": means["a"]})


def test_several_sums_at_once():
    mean = base.Mean.from_values(np.float32([[1, 2], [3, 4], [np.nan, 6]]), np.float32([1, 1, 0]))
    np.testing.assert_array_equal(mean.sum, [4, 6])
    assert float(mean.merge(mean).count) == 4


def test_wrong_shapes_and_an_empty_mean_raise():
    with pytest.raises(ValueError, match="one value per example"):
        base.Mean.from_values(np.zeros((2, 2, 2)))
    with pytest.raises(ValueError, match="example_mask"):
        base.Mean.from_values(np.zeros(2), np.zeros(3))
    with pytest.raises(ValueError, match="no values"):
        base.Mean.empty().compute()
