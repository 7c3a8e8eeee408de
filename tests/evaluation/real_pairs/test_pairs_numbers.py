"""Agreement, ranks and paired differences against numbers worked out by hand."""

from types import SimpleNamespace

import numpy as np
import pytest

from xr2mri_jax.evaluation.real_pairs import individual_shape, joint, measure, retrieval, summary
from xr2mri_jax.evaluation.real_pairs.compare import Comparison
from xr2mri_jax.evaluation.real_pairs.knee import Bone, as_bytes
from xr2mri_jax.evaluation.real_pairs.protocol import ALIGNMENTS, METRICS, PROTOCOLS
from xr2mri_jax.geometry import Volume
from xr2mri_jax.metrics.box import Box
from xr2mri_jax.metrics.surfaces import surface_of

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


def test_exchanged_radiographs_are_comparable_with_the_model():
    """Sampled values are 10 above those from all points, for the own and for other knees."""
    crossed = [[comparison(10 + 3 * (i != j)) for j in range(3)] for i in range(3)]
    model = {a: {m: np.zeros(3) for m in METRICS} for a in ALIGNMENTS}
    found = measure.exchanged(model, crossed, "open", NAMES[:3])
    assert found["similarity"]["hd"].tolist() == [3, 3, 3]


def test_improvement_is_positive_where_the_model_is_better():
    def column(value):
        return {a: {m: np.full(3, value) for m in METRICS} for a in ALIGNMENTS}

    gain = summary._improvement(column(0.4), column(0.9), NAMES[:3], 0)["rigid"]
    assert gain["assd"]["mean"] == pytest.approx(0.5)
    assert gain["dice"]["mean"] == pytest.approx(-0.5)
    assert gain["assd"]["ci95"] == pytest.approx([0.5, 0.5])


def test_individual_shape_is_correlated_over_knees_and_points_where_the_map_reaches():
    true = np.array([[1.0, -1.0, 0.0], [-1.0, 1.0, 0.0]])
    predicted = np.array([[0.5, -0.5, 9.0], [-0.5, 0.5, -9.0]])
    known = np.array([[True, True, False], [True, True, False]])
    made = individual_shape.Departures(true, np.where(known, predicted, 0), known)
    found = individual_shape.summary({"femur": made}, ["a", "b"], 0)["femur"]
    assert found["r"] == pytest.approx(1)
    assert found["true_mm"] == pytest.approx(1) and found["predicted_mm"] == pytest.approx(0.5)
    half = individual_shape.Departures(true, np.array([[1.0, 1, 0], [-1, -1, 0]]), known)
    unrelated = individual_shape.summary({"femur": half}, ["a", "b"], 0)["femur"]
    assert unrelated["r"] == pytest.approx(0)


def test_chance_is_what_permuted_predictions_reach():
    random = np.random.default_rng(0)
    true = random.normal(size=(12, 5))
    true -= true.mean(axis=0)
    known = np.ones((12, 5), bool)
    names = [str(i) for i in range(12)]
    own = individual_shape.Departures(true, true, known)
    found = individual_shape.summary({"femur": own}, names, 0)["femur"]
    assert found["r"] == pytest.approx(1) and 0.1 < found["chance95"] < 0.6
    others = individual_shape.Departures(true, np.roll(true, 1, axis=0), known)
    wrong = individual_shape.summary({"femur": others}, names, 0)["femur"]
    assert wrong["r"] < wrong["chance95"] == pytest.approx(found["chance95"], abs=0.1)


def test_chance_exchanges_whole_subjects_of_as_many_knees():
    rng = np.random.default_rng(0)
    subjects = ["a", "b", "a", "c", "d", "e", "c", "e", "a", "f"]
    drawn = [individual_shape.permuted(subjects, rng) for _ in range(200)]
    for given in drawn:
        assert sorted(given) == list(range(10))
        assert given[[0, 2, 8]].tolist() == [0, 2, 8]  # no other subject has three knees
        assert given[[3, 6, 5, 7]].tolist() in ([3, 6, 5, 7], [5, 7, 3, 6])
    assert {tuple(given[[1, 4, 9]]) for given in drawn} == {
        (1, 4, 9), (1, 9, 4), (4, 1, 9), (4, 9, 1), (9, 1, 4), (9, 4, 1),
    }  # fmt: skip


def test_visits_of_one_subject_are_not_further_evidence(monkeypatch):
    """Four equal knees of each of ten subjects: chance reaches what it does with one of each."""
    monkeypatch.setattr(individual_shape.statistics, "WHOLE_SAMPLES", 500)
    random = np.random.default_rng(0)

    def chance95(visits, subjects):
        true, predicted = (np.repeat(one, visits, axis=0) for one in drawn)
        made = individual_shape.Departures(true, predicted, np.ones(true.shape, bool))
        return individual_shape.summary({"femur": made}, subjects, 0)["femur"]["chance95"]

    drawn = random.normal(size=(2, 10, 5))
    once = chance95(1, [str(i) for i in range(10)])
    assert chance95(4, [str(i // 4) for i in range(40)]) == pytest.approx(once)
    assert chance95(4, [str(i) for i in range(40)]) < 0.7 * once


def test_a_model_that_predicts_one_knee_for_everybody_has_no_individual_shape():
    true = np.array([[1.0, -1.0], [-1.0, 1.0]])
    made = individual_shape.Departures(true, np.full((2, 2), 1e-16), np.ones((2, 2), bool))
    found = individual_shape.summary({"tibia": made}, ["a", "b"], 0)["tibia"]
    assert found["r"] is None and found["ci95"] is None and found["predicted_mm"] < 1e-9


def test_departures_of_a_bone_leave_out_pose_and_size_and_find_a_bulge():
    def bone(bulge, size=1.0, shift=0.0):
        """A cone-like bone with a bulge of so many mm at its right side."""
        axis = np.linspace(-47, 47, 95)
        x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
        x, y, z = (v / size - shift for v in (x, y, z))
        radius = 24 - 0.1 * z + bulge * np.exp(-((z / 14) ** 2)) * (x > 0)
        inside = np.clip(0.5 + radius - np.hypot(x, y * 1.3), 0, 1) * (np.abs(z) < 34)
        affine = np.diag((1.0, 1, 1, 1))
        affine[:3, 3] = -47
        volume = Volume(inside.astype(np.float32), affine)
        return Bone(surface_of(volume), as_bytes(volume), Box.around(47.0))

    def knee(bulge, size=1.0, shift=0.0):
        bones = dict.fromkeys(("femur", "tibia"), bone(bulge, size, shift))
        return SimpleNamespace(bones=bones, field=Box.around(46.0))

    true = [knee(0.0), knee(3.0, 1.06, 1.5)]
    predicted = [knee(0.0, 0.95), knee(1.5, 1.0, -1.0)]
    mean = dict.fromkeys(("femur", "tibia"), bone(1.5))
    found = individual_shape.departures(true, predicted, mean)["femur"]
    assert found.known.all() and found.true.shape == (2, individual_shape.POINTS)
    assert 0.7 < found.true.max() < 1.8  # about half of 3 mm from the mean of both knees
    assert 0.02 < np.mean(found.true[1] > 0.5) < 0.4
    seen = individual_shape.summary({"femur": found}, ["a", "b"], 0)["femur"]
    assert seen["r"] > 0.6
    assert 0.3 < seen["predicted_mm"] / seen["true_mm"] < 0.9
