"""Metrics of ordered grades against loops by hand, and their mergeable form."""

import jax
import numpy as np
import pytest

from xr2mri_jax.metrics import classification, grading
from xr2mri_jax.metrics.base import Mean


@pytest.fixture(scope="module")
def called_and_label():
    random = np.random.default_rng(0)
    label = random.integers(0, 5, 200)
    return np.clip(label + random.integers(-2, 3, 200), 0, 4), label


def test_confusion_has_true_grades_in_rows():
    found = grading.confusion([0, 1, 1, 2], [0, 0, 1, 1], 3)
    assert found.tolist() == [[1, 1, 0], [0, 1, 1], [0, 0, 0]]
    with pytest.raises(ValueError, match=r"expected two rows in 0\.\.2"):
        grading.confusion([3], [0], 3)


def test_metrics_of_a_confusion_matrix_by_hand(called_and_label):
    called, label = called_and_label
    found = grading.from_confusion(grading.confusion(called, label, 5))
    recall = [np.mean(called[label == g] == g) for g in range(5)]
    wanted = {
        "accuracy": np.mean(called == label),
        "balanced_accuracy": np.mean(recall),
        "mean_absolute_error": np.mean(np.abs(called - label)),
        "quadratic_kappa": classification.quadratic_kappa(called, label, 5),
    }
    assert found == pytest.approx(wanted)
    assert grading.from_confusion(np.diag([3, 4]))["quadratic_kappa"] == 1
    with pytest.raises(ValueError, match="expected a square matrix"):
        grading.from_confusion(np.zeros((2, 2)))


def test_kappa_by_hand():
    # Weighted disagreement 2 / 4 of 1 / 2 + 2 / 4 + 1 / 2 by chance, from three grades.
    found = grading.from_confusion(grading.confusion([0, 1, 2, 1], [0, 0, 1, 1], 3))
    observed = (0 + 1 + 1 + 0) / 4
    expected = np.mean([(a - b) ** 2 for a in (0, 1, 2, 1) for b in (0, 0, 1, 1)])
    assert found["quadratic_kappa"] == pytest.approx(1 - observed / expected)


def test_an_absent_grade_has_no_recall_and_does_not_count():
    counts = grading.confusion([0, 2, 2, 1], [0, 0, 2, 2], 3)
    np.testing.assert_array_equal(grading.recalls(counts), [0.5, np.nan, 0.5])
    assert grading.from_confusion(counts)["balanced_accuracy"] == 0.5


def test_confusion_adds_up_over_batches(called_and_label):
    called, label = called_and_label
    count = jax.jit(grading.confusion_of_each, static_argnums=2)
    parts = [Mean.from_values(count(called[i::3], label[i::3], 5)) for i in range(3)]
    total = parts[0].merge(parts[1]).merge(parts[2])
    np.testing.assert_array_equal(
        np.asarray(total.sum).reshape(5, 5), grading.confusion(called, label, 5)
    )
