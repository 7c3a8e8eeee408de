"""Controls: the mean inside masks, the nearest radiograph, an exchange without anybody's own."""

import numpy as np
import pytest

from xr2mri_jax.errors import InputError
from xr2mri_jax.evaluation import controls


def _batch(xray, mri, mask, subjects, indices, real=None):
    count = len(xray)
    return {
        "xray": np.asarray(xray, np.float32),
        "mri": np.asarray(mri, np.float32),
        "mask": np.asarray(mask, np.float32),
        "subject": np.array(subjects),
        "index": np.array(indices),
        "example_mask": np.ones(count) if real is None else np.array(real),
    }


def test_mean_volume_counts_only_voxels_inside_masks():
    mri = np.array([0.2, 0.9, 0.4, 0.6, 1.0, 1.0]).reshape(3, 2, 1, 1, 1)
    mask = np.array([1, 0, 1, 0, 1, 1]).reshape(3, 2, 1, 1, 1)
    summary = controls.TrainingSummary()
    xray = np.zeros((2, 2, 2, 1))
    summary.add(_batch(xray, mri[:2], mask[:2], ["a", "b"], [0, 1]))
    summary.add(_batch(xray, mri[1:], mask[1:], ["b", "p"], [2, -1], real=[1, 0]))
    np.testing.assert_allclose(
        summary.mean_volume().ravel(), [(0.2 + 0.4 + 0.4) / 3, 0.0], rtol=1e-6
    )


def test_nearest_is_the_nearest_of_another_subject():
    xray = np.stack([np.full((2, 2, 1), level) for level in (0.1, 0.5, 0.52, 0.9)])
    volume = np.zeros((4, 1, 1, 1, 1))
    summary = controls.TrainingSummary()
    summary.add(_batch(xray, volume, volume + 1, ["a", "b", "c", "d"], [10, 11, 12, 13]))
    asked = np.stack([np.full((2, 2, 1), level, np.float32) for level in (0.2, 0.5, 0.5, 1.0)])
    found = summary.nearest(asked, ["x", "x", "b", "d"])
    assert found.tolist() == [10, 11, 12, 12]


def test_a_training_split_of_one_subject_has_no_other_knee():
    summary = controls.TrainingSummary()
    zero = np.zeros((1, 1, 1, 1, 1))
    summary.add(_batch(np.zeros((1, 2, 2, 1)), zero, zero, ["a"], [0]))
    with pytest.raises(InputError, match="one subject"):
        summary.nearest(np.zeros((1, 2, 2, 1), np.float32), ["a"])


def test_shrinking_averages_blocks():
    image = np.arange(64 * 40, dtype=np.float32).reshape(1, 64, 40, 1)
    small = controls.shrink(image)
    assert small.shape == (1, 32 * 20)
    assert small[0, 0] == image[0, :2, :2].mean()
    tiny = np.random.default_rng(0).random((2, 5, 7, 1), dtype=np.float32)
    np.testing.assert_array_equal(controls.shrink(tiny), tiny.reshape(2, -1))


@pytest.mark.parametrize("seed", range(5))
def test_nobody_keeps_a_radiograph_of_his_own(seed):
    subjects = ["a", "a", "b", "c", "c", "c", "d", "e"]
    partner = controls.shuffled(subjects, seed)
    assert sorted(partner) == list(range(8))
    assert all(subjects[i] != subjects[j] for i, j in enumerate(partner))
    np.testing.assert_array_equal(partner, controls.shuffled(subjects, seed))


def test_the_seed_changes_the_exchange():
    subjects = list("abcdefghij")
    assert len({tuple(controls.shuffled(subjects, seed)) for seed in range(10)}) > 5


def test_no_exchange_where_one_subject_owns_most():
    with pytest.raises(InputError, match="2 of 3 cases belong to a"):
        controls.shuffled(["a", "a", "b"], 0)
