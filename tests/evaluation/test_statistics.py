"""Bootstrap intervals: hand-computed means, resampling by subject, coverage."""

import numpy as np
import pytest

from xr2mri_jax.evaluation import statistics


def test_mean_and_interval_of_two_subjects_by_hand():
    # Two subjects with one case each: samples are (0, 0), (0, 1), (1, 0), (1, 1).
    found = statistics.estimate([0.0, 1.0], ["a", "b"])
    assert found == {"mean": 0.5, "ci95": [0.0, 1.0]}


def test_cases_of_a_subject_stay_together():
    values = [0.0, 1.0] * 20
    by_case = statistics.estimate(values, list(range(40)))
    together = statistics.estimate(values, [0, 1] * 20)
    assert together["mean"] == by_case["mean"] == 0.5
    assert together["ci95"] == [0.0, 1.0]
    assert by_case["ci95"][0] > 0.3 and by_case["ci95"][1] < 0.7


def test_subjects_count_by_their_cases():
    found = statistics.estimate([3.0, 3.0, 3.0, 7.0], ["a", "a", "a", "b"])
    assert found["mean"] == 4.0
    assert found["ci95"] == [3.0, 7.0]


def test_interval_is_near_the_normal_one_and_seeded():
    values = np.random.default_rng(0).normal(5.0, 2.0, size=200)
    subjects = np.arange(200).tolist()
    found = statistics.estimate(values, subjects)
    half = 1.96 * values.std() / np.sqrt(200)
    np.testing.assert_allclose(
        found["ci95"], [values.mean() - half, values.mean() + half], atol=0.06
    )
    assert statistics.estimate(values, subjects) == found
    assert statistics.estimate(values, subjects, seed=1) != found


def test_one_subject_has_no_interval():
    assert statistics.estimate([1.0, 3.0], ["a", "a"]) == {"mean": 2.0, "ci95": None}


def test_paired_difference_is_narrow_where_cases_vary_together():
    rng = np.random.default_rng(0)
    level = rng.normal(0, 10, size=50)
    first = {"psnr": level + 1 + rng.normal(0, 0.1, size=50)}
    found = statistics.differences(first, {"psnr": level}, list(range(50)))["psnr"]
    assert found["mean"] == pytest.approx(1.0, abs=0.1)
    assert found["ci95"][1] - found["ci95"][0] < 0.1


def test_groups():
    found = statistics.by_group(
        {"psnr": [1.0, 2.0, 6.0]}, ["a", "b", "c"], ["right", "left", "right"]
    )
    assert list(found) == ["left", "right"]
    assert found["left"] == {"n": 1, "psnr": {"mean": 2.0, "ci95": None}}
    assert found["right"]["n"] == 2 and found["right"]["psnr"]["ci95"] == [1.0, 6.0]


@pytest.mark.parametrize(
    ("values", "subjects"), [([], []), ([1.0], ["a", "b"]), ([np.nan, 1.0], ["a", "b"])]
)
def test_nothing_mismatch_and_nan_raise(values, subjects):
    with pytest.raises(ValueError, match=r"subjects|finite"):
        statistics.estimate(values, subjects)
