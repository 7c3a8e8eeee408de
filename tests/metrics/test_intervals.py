"""Quantiles for intervals, against hand-made numbers and against how often they hold."""

import numpy as np
import pytest

from xr2mri_jax.metrics import intervals


def test_the_quantile_of_a_group_is_drawn_towards_that_of_all():
    values, group = np.arange(101.0), np.repeat([0, 2], [50, 51])
    plain = intervals.grouped_quantile(values, group, 3, 0.5, weight=0.0)
    np.testing.assert_allclose(plain, [24.5, 50.0, 75.0])
    drawn = intervals.grouped_quantile(values, group, 3, 0.5, weight=50.0)
    np.testing.assert_allclose(drawn[:2], [(24.5 + 50) / 2, 50.0])
    with pytest.raises(ValueError, match="of groups"):
        intervals.grouped_quantile(values, group[:-1], 3)


def test_offsets_leave_out_the_tails():
    # 5 % of 40 are 2: from the second smallest to the second largest, 36 of 40 gaps between them.
    assert intervals.conformal_offsets(np.arange(39.0)) == (1.0, 37.0)
    assert intervals.conformal_offsets(np.arange(79.0)) == (3.0, 75.0)
    assert intervals.conformal_offsets(np.array([2.0])) == (2.0, 2.0)
    with pytest.raises(ValueError, match="finite"):
        intervals.conformal_offsets(np.array([np.nan]))


def test_a_new_number_lies_inside_as_often_as_promised():
    rng = np.random.default_rng(0)
    held = []
    for _ in range(400):
        low, high = intervals.conformal_offsets(rng.gamma(2.0, size=60))
        held.append(low <= rng.gamma(2.0) <= high)
    assert 0.87 < np.mean(held) < 0.97
