"""Evaluation of more than two grades: metrics against loops by hand, sets, page."""

import json
import types

import numpy as np
import pytest
from scipy import special

from xr2mri_jax.errors import InputError
from xr2mri_jax.evaluation import classifier, classifier_report, grades
from xr2mri_jax.metrics import classification
from xr2mri_jax.metrics.calibration import Scaling
from xr2mri_jax.presentation import pages

GRADES = (0, 1, 2, 3, 4)


def made(count, seed):
    random = np.random.default_rng(seed)
    label = np.arange(count) % 5
    place = label[:, None] + random.normal(0, 0.8, (count, 1))
    return -np.square(np.arange(5) - place), label


@pytest.fixture(scope="module")
def found():
    logits, label = made(150, 0)
    known = grades.Known(*made(400, 1))
    subjects = [f"s{i // 2}" for i in range(150)]
    return grades.evaluate(logits, label, GRADES, subjects, scaling=Scaling(1.5), known=known)


def test_metrics_by_hand(found):
    metrics, columns = found
    logits, label = made(150, 0)
    called = logits.argmax(axis=1)
    probability = special.softmax(logits / 1.5, axis=1)
    assert metrics["accuracy"]["mean"] == pytest.approx(np.mean(called == label))
    assert metrics["mean_absolute_error"]["mean"] == pytest.approx(np.mean(abs(called - label)))
    assert metrics["recall_kl1"]["mean"] == pytest.approx(np.mean(called[label == 1] == 1))
    for grade in (2, 3):
        wanted = classification.auc(probability[:, grade:].sum(axis=1), (label >= grade) * 1)
        assert metrics[f"auc_from_{grade}"]["mean"] == pytest.approx(wanted)
    low, high = metrics["quadratic_kappa"]["ci95"]
    assert low < metrics["quadratic_kappa"]["mean"] < high
    assert np.trace(metrics["confusion"]) == np.sum(called == label)
    assert metrics["confusion"][3][2] == np.sum((label == 3) & (called == 2))
    assert columns["grade"] == [str(c) for c in called]
    np.testing.assert_allclose(columns["expected_grade"], probability @ np.arange(5), atol=1e-4)


def test_the_grade_follows_the_prevalence():
    logits, label = made(400, 1)
    known = grades.Known(logits, label)
    equal = grades.scaling(known, {"grades": GRADES})
    rare = grades.scaling(known, {"grades": GRADES, "prevalence": (10, 1, 10, 10, 10)})
    called = [scaling.probabilities(logits).argmax(axis=1) for scaling in (equal, rare)]
    assert equal.offsets is None and rare.offsets[0] == 0
    assert np.sum(called[1] == 1) < np.sum(called[0] == 1) / 2
    kept = label < 4
    with pytest.raises(InputError, match=r"no knee of grade \[4\]"):
        few = grades.Known(logits[kept], label[kept])
        grades.scaling(few, {"grades": GRADES, "prevalence": (1, 1, 1, 1, 1)})


def test_sets_are_in_the_cases(found):
    metrics, columns = found
    label = made(150, 0)[1]
    sets = [text.split(" ") for text in columns["grade_set"]]
    covered = np.mean([str(y) in one for y, one in zip(label, sets, strict=True)])
    assert metrics["coverage"]["mean"] == pytest.approx(covered)
    assert metrics["set_size"]["mean"] == pytest.approx(np.mean([len(one) for one in sets]))
    assert 0.82 < covered < 0.97 and metrics["conformal"]["coverage_wanted"] == 0.9
    assert {len(one) for one in sets} >= {1, 2}


def test_an_absent_grade_has_no_metric_of_its_own():
    logits, label = made(150, 0)
    part = label < 3
    metrics, columns = grades.evaluate(logits[part], label[part], GRADES, list(range(part.sum())))
    assert "recall_kl2" in metrics and "recall_kl3" not in metrics
    assert "auc_from_2" in metrics and "auc_from_3" not in metrics
    assert "coverage" not in metrics and set(columns) == {"grade", "expected_grade"}


def test_the_page_of_five_grades():
    random = np.random.default_rng(0)
    source = {
        split: [
            {
                "xray": np.full((4, 4, 1), 65535 * (0.1 + 0.2 * kl), np.uint16),
                "kl": kl,
                "side": 0,
                "subject": f"{split}{i}".encode(),
            }
            for i, kl in enumerate(random.integers(0, 5, 80).tolist())
        ]
        for split in ("train", "validation")
    }

    builder = types.SimpleNamespace(
        data_path="/made",
        as_data_source=lambda split, decoders=None: source[split],
        info=types.SimpleNamespace(
            full_name="made",
            splits={name: types.SimpleNamespace(num_examples=80) for name in source},
            features=dict.fromkeys(("xray", "kl", "side", "subject")),
        ),
    )

    def logits(xray):
        place = 5 * np.asarray(xray).mean(axis=(1, 2, 3))[:, None] - 0.2
        return -np.square(np.arange(5) - place - 0.7)  # half way to the next grade, and over

    data = {"grades": GRADES, "held_out": 0.5, "held_out_seed": 0, "train_split": "train"}
    data["prevalence"] = (0.6, 0.1, 0.1, 0.1, 0.1)
    result = classifier.evaluate(
        logits, builder, {**data, "balanced": True}, split="validation", batch_size=16
    )
    assert set(result.cases) >= {"probability_kl4", "grade", "expected_grade", "grade_set"}
    # One decision everywhere: the calibrated one, which the offset corrects.
    called, true = (np.array(result.cases[name], int) for name in ("grade", "kl"))
    raw = np.stack([result.cases[f"logit_kl{grade}"] for grade in GRADES]).argmax(axis=0)
    assert (raw == true).mean() < 0.5 < (called == true).mean()
    np.testing.assert_array_equal(result.values["model"]["accuracy"], called == true)
    kappas = [result.metrics[part]["quadratic_kappa"]["mean"] for part in ("model", "grades")]
    assert kappas[0] == pytest.approx(kappas[1])
    evaluated = {"stage": "siamese_gap", "dataset": "made", "split": "validation"}
    text = pages.render(classifier_report.page(result.metrics, evaluated))
    for wanted in (
        "AUC of grade 3 or higher",
        "recall of grade 1",
        "Confusion matrix",
        "predicted 4",
    ):
        assert wanted in text
    assert any("Conformal sets of adjacent" in line for line in classifier.findings(result.metrics))
    json.dumps(result.metrics, allow_nan=False)
