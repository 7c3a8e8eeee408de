"""Agreement, ranks and paired differences against numbers worked out by hand."""

import numpy as np
import pytest

from xr2mri_jax.evaluation.real_pairs import joint, measure, retrieval, summary
from xr2mri_jax.evaluation.real_pairs.compare import Comparison
from xr2mri_jax.evaluation.real_pairs.protocol import ALIGNMENTS, METRICS, PROTOCOLS

NAMES = ["a", "b", "c", "d"]


def test_agreement_of_a_quantity_that_is_read_with_an_offset():
    true = np.array([3.0, 4.0, 5.0, 8.0])
    found = joint.agreement(true, true + 0.5, NAMES, 0)
    assert (found["n"], found["r"]) == (4, pytest.approx(1))
    assert (found["mae"], found["bias"]) == (pytest.approx(0.5), pytest.approx(0.5))
    assert found["intervals"]["bias"] == pytest.approx([0.5, 0.5])
    others = [17 / 3, 16 / 3, 15 / 3, 12 / 3]
    assert found["mae_of_mean"] == pytest.approx(np.mean(np.abs(true - others)))


def test_agreement_leaves_out_unknown_values_and_undefined_correlations():
    true = np.array([3.0, np.nan, 5.0, 4.0])
    found = joint.agreement(true, np.array([3.0, np.nan, 3.0, 3.0]), NAMES, 0)
    assert (found["n"], found["r"], found["intervals"]["r"]) == (3, None, None)
    assert found["mae"] == pytest.approx(1.0)
    assert joint.agreement(np.full(4, np.nan), np.full(4, np.nan), NAMES, 0) is None


def test_ranks_and_distances_of_a_retrieval():
    distance = np.array([[1.0, 2, 3], [1.0, 2, 3], [5.0, 5, 5]])
    found = retrieval.summary({"closed": {"rigid": distance}}, NAMES[:3], 0)["closed"]["rigid"]
    assert found["mean_rank"] == pytest.approx((1 + 2 + 3) / 3)
    assert (found["top1"], found["chance"]["mean_rank"]) == (pytest.approx(1 / 3), 2)
    assert (found["assd_own"], found["assd_others"]) == (
        pytest.approx(8 / 3),
        pytest.approx(19 / 6),
    )
    low, high = found["intervals"]["mean_rank"]
    assert 1 <= low < 2 < high <= 3


def test_relative_ranks_do_not_favour_a_knee_that_every_prediction_is_near_to():
    distance = np.array([[1.0, 4, 5], [2.0, 3, 5], [2.0, 4, 4]])
    found = retrieval.summary({"open": {"similarity": distance}}, NAMES[:3], 0)
    found = found["open"]["similarity"]
    assert found["mean_rank"] == pytest.approx((1 + 2 + 3) / 3)
    assert (found["relative"]["mean_rank"], found["relative"]["top1"]) == (1.0, 1.0)


def comparison(value):
    scores = {p: {a: dict.fromkeys(METRICS, float(value)) for a in ALIGNMENTS} for p in PROTOCOLS}
    return Comparison(scores, {})


def test_the_mean_over_others_leaves_out_the_own_subject():
    crossed = [[comparison(10 * i + j) for j in range(3)] for i in range(3)]
    found = measure._of_others(crossed, "closed", ["a", "b", "a"])
    # Truth 0 and 2 are of subject a: only prediction 1 is another's; truth 1 has 0 and 2.
    assert found["rigid"]["assd"].tolist() == [10, (1 + 21) / 2, 12]


def test_improvement_is_positive_where_the_model_is_better():
    def column(value):
        return {a: {m: np.full(3, value) for m in METRICS} for a in ALIGNMENTS}

    gain = summary._improvement(column(0.4), column(0.9), NAMES[:3], 0)["rigid"]
    assert gain["assd"]["mean"] == pytest.approx(0.5)
    assert gain["dice"]["mean"] == pytest.approx(-0.5)
    assert gain["assd"]["ci95"] == pytest.approx([0.5, 0.5])
