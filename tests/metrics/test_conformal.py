"""Conformal sets of ordered grades: growth by hand, coverage on made data."""

import numpy as np
import pytest
from scipy import special

from xr2mri_jax.metrics import conformal


def grown(probability):
    """The scores of one row by a loop."""
    low = high = int(np.argmax(probability))
    found, mass = np.zeros(len(probability)), probability[low]
    while high - low + 1 < len(probability):
        below = probability[low - 1] if low else -1
        above = probability[high + 1] if high + 1 < len(probability) else -1
        place = low - 1 if below >= above else high + 1
        found[place] = mass
        mass += probability[place]
        low, high = min(low, place), max(high, place)
    return found


def made(count, seed):
    """Probabilities f64[count, 5] that are too sure, and grades drawn from the true ones."""
    random = np.random.default_rng(seed)
    centre = random.uniform(-0.5, 4.5, (count, 1))
    logits = -np.square(np.arange(5) - centre) / random.uniform(0.5, 3, (count, 1))
    true = special.softmax(logits, axis=1).cumsum(axis=1)
    label = np.minimum((random.random((count, 1)) > true).sum(axis=1), 4)
    return special.softmax(2 * logits, axis=1), label


def test_sets_grow_to_the_more_likely_neighbour():
    probability, _ = made(60, 0)
    wanted = np.stack([grown(row) for row in probability])
    np.testing.assert_allclose(conformal.scores(probability), wanted, atol=1e-12)
    row = np.array([[0.1, 0.3, 0.4, 0.15, 0.05]])
    np.testing.assert_allclose(conformal.scores(row), [[0.85, 0.4, 0.0, 0.7, 0.95]])
    assert conformal.sets(row, 0.5).tolist() == [[False, True, True, False, False]]
    assert conformal.sets(row, 0.0).sum() == 1 and conformal.sets(row, 1.0).all()
    with pytest.raises(ValueError, match="rows that sum to 1"):
        conformal.scores(2 * row)


def test_sets_have_no_gaps_and_hold_the_most_likely_grade():
    probability, _ = made(300, 1)
    for limit in (0.2, 0.7, 0.95):
        found = conformal.sets(probability, limit)
        edges = np.abs(np.diff(np.pad(found.astype(int), ((0, 0), (1, 1))), axis=1)).sum(axis=1)
        assert (edges == 2).all()
        assert found[np.arange(300), probability.argmax(axis=1)].all()


@pytest.mark.parametrize("coverage", [0.8, 0.9])
def test_sets_cover_as_often_as_asked(coverage):
    """Over many splits the mean coverage is in [c, c + 1 / (n + 1)], where scores are no ties."""
    found, sure = [], []
    for seed in range(40):
        probability, label = made(1400, 10 + seed)
        limit = conformal.fit(probability[:400], label[:400], coverage)
        included = conformal.sets(probability[400:], limit)
        found.append(included[np.arange(1000), label[400:]].mean())
        sure.append((probability.argmax(axis=1) == label).mean())
    assert np.mean(sure) < coverage - 0.05
    assert coverage - 0.006 < np.mean(found) < coverage + 0.009


def test_the_limit_is_a_score_by_rank():
    probability, label = made(9, 3)
    own = np.sort([grown(p)[y] for p, y in zip(probability, label, strict=True)])
    assert conformal.fit(probability, label, 0.9) == pytest.approx(own[8])
    assert conformal.fit(probability, label, 0.5) == pytest.approx(own[4])
    assert conformal.fit(probability, label, 0.95) == 1.0
    with pytest.raises(ValueError, match="labels of"):
        conformal.fit(probability, label[:3])
