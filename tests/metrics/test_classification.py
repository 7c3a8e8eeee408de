"""Classification metrics against hand-computed values, and their mergeable forms."""

import jax
import numpy as np
import pytest

from xr2mri_jax.metrics import classification as c
from xr2mri_jax.metrics.base import Mean


def test_accuracies_by_hand():
    score, label = [0.9, 0.4, 0.5, 0.2, 0.6], [1, 1, 0, 0, 0]
    found = c.accuracies(score, label)
    wanted = {
        "accuracy": 2 / 5,
        "balanced_accuracy": (1 / 2 + 1 / 3) / 2,
        "sensitivity": 1 / 2,
        "specificity": 1 / 3,
    }
    assert found == pytest.approx(wanted)
    assert c.accuracies(score, label, 0.4)["sensitivity"] == 1.0


def test_auc_counts_pairs_and_halves_of_ties():
    random = np.random.default_rng(0)
    score, label = random.integers(0, 9, 80) / 9, random.integers(0, 2, 80)
    high, low = score[label == 1][:, None], score[label == 0][None]
    assert c.auc(score, label) == pytest.approx(np.mean((high > low) + (high == low) / 2))
    assert c.auc([0.1, 0.9], [0, 1]) == 1 and c.auc([0.3, 0.3], [0, 1]) == 0.5


@pytest.mark.parametrize(
    ("score", "label"), [([0.1, 0.2], [0, 0]), ([0.1], [0, 1]), ([0.1, 0.2], [0, 2])]
)
def test_labels_that_cannot_be_used_are_refused(score, label):
    with pytest.raises(ValueError, match="expected"):
        c.auc(score, label)


def test_quadratic_kappa_by_hand():
    # Disagreement seen 1 / 2; by chance, from shares 1/4, 1/2, 1/4 and 1/2, 1/2, 0, it is 1.
    assert c.quadratic_kappa([0, 1, 1, 2], [0, 0, 1, 1], 3) == pytest.approx(0.5)
    assert c.quadratic_kappa([0, 1, 1, 2], [0, 0, 1, 0], 3) == pytest.approx(0.0)
    assert c.quadratic_kappa([0, 1, 2], [0, 1, 2], 3) == 1.0
    assert c.quadratic_kappa([1, 1], [1, 1], 3) == 1.0
    with pytest.raises(ValueError, match="two rows of equal length"):
        c.quadratic_kappa([3], [0], 3)


def test_threshold_reaches_the_sensitivity():
    score = np.linspace(0.0, 0.9, 10)
    label = np.array([0, 1] * 5)
    for wanted in (0.2, 0.6, 1.0):
        threshold = c.threshold_for_sensitivity(score, label, wanted)
        assert c.accuracies(score, label, threshold)["sensitivity"] == pytest.approx(wanted)
    with pytest.raises(ValueError, match="sensitivity 0"):
        c.threshold_for_sensitivity(score, label, 0)


def test_histograms_merge_to_the_whole():
    random = np.random.default_rng(1)
    label = random.integers(0, 2, 400)
    score = np.clip(random.normal(0.45 + 0.1 * label, 0.2), 0, 1).astype("f4")
    total = None
    for part in (slice(0, 100), slice(100, 400)):
        counts = jax.jit(c.histogram)(score[part], label[part])
        means = {name: Mean.from_values(value) for name, value in counts.items()}
        total = means if total is None else {n: total[n].merge(m) for n, m in means.items()}
    found = c.from_histogram(total["positives"].sum, total["negatives"].sum)
    assert found["auc"] == pytest.approx(c.auc(score, label), abs=1e-3)
    wanted = c.accuracies(score, label)["balanced_accuracy"]
    assert found["balanced_accuracy"] == pytest.approx(wanted)
    assert c.from_histogram(np.zeros(4), np.ones(4)) == {}


def test_masked_examples_are_in_no_histogram():
    counts = c.histogram(np.float32([0.1, 0.9, 1.0]), np.float32([0, 1, 1]))
    kept = Mean.from_values(counts["positives"], np.float32([1, 1, 0]))
    assert float(np.sum(kept.sum)) == 1 and float(kept.count) == 2


def test_youdens_threshold_against_all_thresholds():
    random = np.random.default_rng(3)
    for _ in range(20):
        label = np.append(random.integers(0, 2, 30), [0, 1])
        score = np.round(random.normal(label, 1.0), 1)
        found = c.threshold_by_youden(score, label)
        tried = np.append(np.unique(score), np.inf)
        best = max(c.accuracies(score, label, t)["balanced_accuracy"] for t in tried)
        reached = c.accuracies(score, label, found)["balanced_accuracy"]
        assert reached == pytest.approx(best)
    assert c.threshold_by_youden([0.1, 0.2, 0.6, 0.9], [0, 0, 1, 1]) == 0.4
