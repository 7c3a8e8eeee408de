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
    assert conformal.sets(row, [0.5] * 5).tolist() == [[False, True, True, False, False]]
    assert conformal.sets(row, [0.0] * 5).sum() == 1 and conformal.sets(row, [1.0] * 5).all()
    # What lies between two grades of a set belongs to it.
    assert conformal.sets(row, [0.9, 0.0, 0.0, 0.5, 0.9]).tolist() == [
        [True, True, True, False, False]
    ]
    with pytest.raises(ValueError, match="rows that sum to 1"):
        conformal.scores(2 * row)


def test_sets_have_no_gaps_and_hold_the_most_likely_grade():
    probability, _ = made(300, 1)
    for limits in ([0.2] * 5, [0.7] * 5, [0.95, 0.2, 0.1, 0.6, 0.9]):
        found = conformal.sets(probability, limits)
        edges = np.abs(np.diff(np.pad(found.astype(int), ((0, 0), (1, 1))), axis=1)).sum(axis=1)
        assert (edges == 2).all()
        assert found[np.arange(300), probability.argmax(axis=1)].all()


@pytest.mark.parametrize("coverage", [0.8, 0.9])
def test_sets_cover_each_grade_as_often_as_asked_whatever_their_shares(coverage):
    """Over many splits the mean coverage of a grade is in [c, c + 1 / (m + 1)], but for ties."""
    found, sure = [], []
    for seed in range(40):
        probability, label = made(1400, 10 + seed)
        limits = conformal.fit(probability[:400], label[:400], coverage)
        included = conformal.sets(probability[400:], limits)
        own = included[np.arange(1000), label[400:]]
        found.append([own[label[400:] == grade].mean() for grade in range(5)])
        sure.append((probability.argmax(axis=1) == label).mean())
    assert np.mean(sure) < coverage - 0.05
    # Gaps that are filled add to the coverage of the middle grades.
    assert (np.mean(found, axis=0) > coverage - 0.02).all()
    assert np.mean(found) < coverage + 0.04


def test_the_limits_are_scores_by_rank():
    probability, label = made(90, 3)
    own = np.array([grown(p)[y] for p, y in zip(probability, label, strict=True)])
    for grade in range(5):
        ranked = np.sort(own[label == grade])
        rank = int(np.ceil((len(ranked) + 1) * 0.5))
        assert conformal.fit(probability, label, 0.5)[grade] == pytest.approx(ranked[rank - 1])
    assert (conformal.fit(probability, label, 0.99) == 1.0).all()
    some = label != 3
    assert conformal.fit(probability[some], label[some])[3] == 1.0
    with pytest.raises(ValueError, match="labels of"):
        conformal.fit(probability, label[:3])
