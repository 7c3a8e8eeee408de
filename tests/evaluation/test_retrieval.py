"""Retrieval against a loop over pairs, and its rules for ties and masks."""

import tempfile

import numpy as np
import pytest

from xr2mri_jax.errors import WorkError
from xr2mri_jax.evaluation import retrieval
from xr2mri_jax.evaluation.volume_store import VolumeStore

SHAPE = (3, 4, 5, 1)


def _filled(predicted, real, mask):
    store = VolumeStore(len(predicted))
    # In two batches, the second first.
    for part in (np.array([2, 3]), np.array([0, 1])):
        store.put(part, predicted[part], real[part], mask[part])
    return store


def test_errors_equal_a_loop_over_pairs(monkeypatch):
    monkeypatch.setattr(retrieval, "BLOCK", 7)
    rng = np.random.default_rng(0)
    predicted, real = rng.random((2, 4, *SHAPE), dtype=np.float32)
    mask = (rng.random((4, *SHAPE)) < 0.6).astype(np.float32)
    with _filled(predicted, real, mask) as store:
        found = retrieval.errors(store)
    for i in range(4):
        for j in range(4):
            both = (mask[i] * mask[j]) > 0
            expected = np.mean((predicted[i] - real[j])[both] ** 2)
            assert found[i, j] == pytest.approx(expected, abs=2e-5)


def test_masks_that_share_nothing_are_infinitely_far():
    volumes = np.zeros((4, *SHAPE), np.float32)
    mask = np.zeros_like(volumes)
    mask[0, 0], mask[1, 1], mask[2:] = 1, 1, 1
    with _filled(volumes, volumes, mask) as store:
        found = retrieval.errors(store)
    assert np.isinf(found[0, 1]) and found[0, 2] == 0


def test_ranks_and_summary_by_hand():
    error = np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0], [1.0, 3.0, 3.0]])
    rank = retrieval.ranks(error)
    # The last row ties with another volume, which counts as nearer.
    assert rank.tolist() == [1, 2, 3]
    assert retrieval.summary(rank) == {
        "n": 3,
        "top1": 1 / 3,
        "top5": 1.0,
        "mean_rank": 2.0,
        "chance": {"top1": 1 / 3, "top5": 1.0, "mean_rank": 2.0},
    }


def test_store_gives_back_what_it_took_and_goes_away(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    rng = np.random.default_rng(1)
    predicted = rng.random((4, *SHAPE), dtype=np.float32) * 1.5 - 0.2
    real = rng.integers(0, 65536, (4, *SHAPE)).astype(np.float32) / np.float32(65535)
    mask = (rng.random((4, *SHAPE)) < 0.5).astype(np.float32)
    with _filled(predicted, real, mask) as store:
        cases = np.array([3, 0])
        np.testing.assert_array_equal(store.real(cases), real[cases])
        np.testing.assert_array_equal(store.mask(cases), mask[cases])
        cut = np.clip(predicted[cases], 0, 1)
        np.testing.assert_allclose(store.predicted(cases), cut, atol=1e-5)
    assert not list(tmp_path.iterdir())


def test_store_refuses_other_shapes_and_nan():
    volume = np.zeros((1, *SHAPE), np.float32)
    with VolumeStore(1) as store:
        with pytest.raises(ValueError, match="shapes differ"):
            store.put(np.array([0]), volume[:, :2], volume, volume)
        with pytest.raises(WorkError, match=r"split's examples \[0\] is not finite"):
            store.put(np.array([0]), volume + np.nan, volume, volume)
