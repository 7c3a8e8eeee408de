"""The novelty score: by hand, shrunken covariance, other radiographs, refused input."""

import numpy as np
import pytest

from xr2mri_jax.inference import novelty


def test_shrinkage_is_that_of_the_paper():
    centred = np.random.default_rng(0).normal(size=(12, 5)) * [1, 2, 3, 1, 1]
    centred -= centred.mean(axis=0)
    found, share = novelty.shrunken_covariance(centred)
    sample = centred.T @ centred / 12
    level = np.trace(sample) / 5
    apart = np.sum((sample - level * np.eye(5)) ** 2)
    error = sum(np.sum((np.outer(row, row) - sample) ** 2) for row in centred) / 12**2
    assert 0 < share < 1 and share == pytest.approx(error / apart)
    np.testing.assert_allclose(found, (1 - share) * sample + share * level * np.eye(5))


def test_distance_is_mahalanobis_over_the_held_out_quantile():
    rng = np.random.default_rng(1)
    mixing = rng.normal(size=(4, 4))
    trained, held_out = rng.normal(size=(4000, 4)) @ mixing, rng.normal(size=(4000, 4)) @ mixing
    novelty_detector = novelty.fit(trained, held_out)
    inverse = np.linalg.inv(np.cov(trained.T))
    gap = held_out - trained.mean(axis=0)
    wanted = np.sqrt(np.einsum("bi,ij,bj->b", gap, inverse, gap))
    found = novelty_detector.distance(held_out)
    np.testing.assert_allclose(found * novelty_detector.scale, wanted, rtol=0.02)
    assert np.quantile(found, 0.99) == pytest.approx(1.0)
    assert novelty_detector.distance(trained.mean(axis=0)[None] + 10 * mixing[:1])[0] > 2


def test_more_features_than_radiographs_and_a_dead_one():
    rng = np.random.default_rng(2)
    trained = np.concatenate([rng.normal(size=(10, 30)), np.zeros((10, 1))], axis=1)
    novelty_detector = novelty.fit(trained, trained)
    assert (
        np.isfinite(novelty_detector.distance(trained)).all()
        and novelty_detector.deviation.min() > 0
    )
    assert novelty_detector.distance(trained[:1] + np.eye(31)[30:])[0] > 1


def test_wrong_features_are_refused():
    good = np.random.default_rng(3).normal(size=(5, 3))
    for features, held_out in ((good[:1], good), (good, good[:, :2]), (good, good[:0])):
        with pytest.raises(ValueError, match="features"):
            novelty.fit(features, held_out)
    with pytest.raises(ValueError, match="all the same"):
        novelty.fit(np.ones((4, 2)), np.ones((4, 2)))
