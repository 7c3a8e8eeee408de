"""Evaluation of a classifier: metrics with intervals, calibration, files and page."""

import json
import types

import numpy as np
import pytest

from xr2mri_jax.datasets.splits import subject_fraction
from xr2mri_jax.errors import InputError
from xr2mri_jax.evaluation import classifier, classifier_report, run, statistics
from xr2mri_jax.metrics import classification
from xr2mri_jax.presentation import pages
from xr2mri_jax.training import loaded_model

DATA = {
    "grades": [0, 2],
    "held_out": 0.5,
    "held_out_seed": 0,
    "train_split": "train",
    "balanced": True,
}


class Source:
    """Stands for a dataset: the mean of a radiograph tells its grade, with noise."""

    def __init__(self, count=80):
        self.splits = {}
        self.data_path = "/made"
        for number, name in enumerate(("train", "validation")):
            random = np.random.default_rng(number)
            self.splits[name] = []
            for i in range(count):
                kl = int(random.choice([0, 1, 2]))
                level = np.clip(0.5 + 0.1 * (kl - 1) + random.normal(0, 0.1), 0, 1)
                self.splits[name].append(
                    {
                        "xray": np.full((4, 4, 1), 65535 * level, np.uint16),
                        "kl": kl,
                        "side": i % 2,
                        "subject": f"{name}{i // 2}".encode(),
                    }
                )
        features = dict.fromkeys(("xray", "kl", "side", "subject"))
        counts = {n: types.SimpleNamespace(num_examples=count) for n in self.splits}
        self.info = types.SimpleNamespace(
            full_name="made", version="1.0.0", features=features, splits=counts
        )

    def as_data_source(self, split, decoders=None):
        return self.splits[split]


def logits(xray):
    level = 50 * (np.asarray(xray).mean(axis=(1, 2, 3)) - 0.5)
    return np.stack([-level, level], axis=1)


@pytest.fixture(scope="module")
def found():
    return classifier.evaluate(logits, Source(), DATA, split="validation", batch_size=16)


def test_metrics_are_those_of_the_chosen_grades(found):
    examples = [e for e in Source().splits["validation"] if e["kl"] != 1]
    level = np.array([e["xray"].mean() for e in examples]) / 65535
    label = np.array([e["kl"] == 2 for e in examples]).astype(int)
    model = found.metrics["model"]
    assert found.metrics["n"] == len(examples)
    assert found.metrics["subjects"] == len({e["subject"] for e in examples})
    assert model["auc"]["mean"] == pytest.approx(classification.auc(level, label))
    wanted = classification.accuracies(level, label)
    for name, value in wanted.items():
        assert model[name]["mean"] == pytest.approx(value)
    low, high = model["auc"]["ci95"]
    assert 0.5 < low < model["auc"]["mean"] < high <= 1
    assert found.metrics["per_grade"] == {"0": int((label == 0).sum()), "2": int(label.sum())}


def test_calibration_comes_from_held_out_training_patients(found):
    calibrated = found.metrics["calibration"]
    assert calibrated["temperature"] > 1.5
    assert calibrated["after"] < calibrated["before"]
    assert 0.6 < found.metrics["threshold"]["sensitivity"] <= 1
    probability = np.array(found.cases["probability_kl2"])
    raw = np.array(found.cases["logit_kl2"])
    wanted = 1 / (1 + np.exp(-2 * raw / calibrated["temperature"]))
    np.testing.assert_allclose(probability, wanted, atol=1e-4)


def test_a_threshold_of_the_held_out_patients_decides_too():
    examples = Source().splits["train"]
    held_out = [e for e in examples if subject_fraction(e["subject"].decode(), 0) < 0.5]
    held_out = [e for e in held_out if e["kl"] != 1]
    level = np.array([e["xray"].mean() for e in held_out]) / 65535
    best = classification.threshold_by_youden(level, [int(e["kl"] == 2) for e in held_out])
    found = classifier.evaluate(logits, Source(), DATA, split="validation", batch_size=16)
    chosen = found.metrics["chosen_threshold"]
    graded = [e for e in Source().splits["validation"] if e["kl"] != 1]
    label = np.array([int(e["kl"] == 2) for e in graded])
    level = np.array([e["xray"].mean() for e in graded]) / 65535
    wanted = classification.accuracies(level, label, best)
    for name, value in wanted.items():
        assert chosen[name]["mean"] == pytest.approx(value)
    assert chosen["balanced_accuracy"]["ci95"][0] < chosen["balanced_accuracy"]["ci95"][1]
    assert any("best balanced accuracy" in line for line in classifier.findings(found.metrics))


def test_of_the_training_split_only_held_out_patients_are_evaluated():
    part = classifier.evaluate(logits, Source(), DATA, split="train", batch_size=16).metrics
    assert part["n"] < 45 and "threshold" not in part
    assert part["calibration"]["temperature"] == 1.0 and not part["calibration"]["fitted"]
    said = " ".join(classifier.findings(part))
    assert "no temperature was fitted" in said and "after temperature" not in said


def test_the_page_and_the_sentences(found):
    evaluated = {"stage": "siamese_gap", "dataset": "made", "split": "validation"}
    text = pages.render(classifier_report.page(found.metrics, evaluated))
    assert "after temperature" in " ".join(classifier.findings(found.metrics))
    assert "Balanced accuracy 0." in text and "Reliability diagram" in text
    assert text.count("<tr>") == 7 and text.count("</tr>") == 7
    json.dumps(found.metrics, allow_nan=False)


def test_the_command_writes_all_files(monkeypatch, tmp_path, capsys):
    stage = types.SimpleNamespace(
        name="siamese_gap",
        grades=(0, 2),
        spec={},
        classify=lambda params, state, xray: logits_in_jax(xray),
    )
    config = {"precision": "float32", "data": {**DATA, "dataset": "made", "data_dir": ""}}
    model = loaded_model.LoadedModel(config, stage, {}, {}, 3)
    loaded = []
    monkeypatch.setattr(
        loaded_model, "load_model", lambda folder, step: loaded.append(step) or model
    )
    monkeypatch.setattr(run.datasets, "load_builder", lambda name, folder: Source())
    page = run.evaluate_workdir(tmp_path, split="validation")
    written = json.loads((tmp_path / "evaluation" / "metrics.json").read_text())
    assert page.is_file() and written["evaluated"]["step"] == 3
    header = (tmp_path / "evaluation" / "cases.csv").read_text().splitlines()[0]
    assert header == "index,subject,side,kl,logit_kl0,logit_kl2,probability_kl0,probability_kl2"
    assert "Balanced accuracy" in capsys.readouterr().out
    lines = [{"step": s, "part": "eval", "auc": a} for s, a in ((1, 0.9), (2, 0.8), (3, 0.7))]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    stage.chosen_by = "auc"
    monkeypatch.setattr(loaded_model.workdir, "steps", lambda folder: [2, 3])
    run.evaluate_workdir(tmp_path, split="validation")
    assert loaded == [None, None, 2]
    alone = (tmp_path / "evaluation" / "cases.csv").read_text()
    run.evaluate_workdir(tmp_path, split="validation", step=2, views=True)
    written = json.loads((tmp_path / "evaluation" / "metrics.json").read_text())
    assert written["evaluated"]["views"] is True
    assert (tmp_path / "evaluation" / "cases.csv").read_text() != alone
    del stage.classify
    with pytest.raises(InputError, match="--views does not apply to the stage 'siamese_gap'"):
        run.evaluate_workdir(tmp_path, split="validation", step=2, views=True)


def logits_in_jax(xray):
    level = 20 * (xray.mean(axis=(1, 2, 3)) - 0.5)
    return level[:, None] * np.float32([-1, 1])


def test_intervals_of_a_whole_set_resample_subjects():
    values = np.arange(12.0)
    names = [i // 2 for i in range(12)]
    found = statistics.estimates_of_whole(lambda p: {"m": values[p].mean()}, names, samples=500)
    wanted = statistics.estimate(values, names)
    assert found["m"]["mean"] == wanted["mean"]
    np.testing.assert_allclose(found["m"]["ci95"], wanted["ci95"], atol=0.6)
    one = statistics.estimates_of_whole(lambda p: {"m": 1.0}, ["a", "a"])
    assert one == {"m": {"mean": 1.0, "ci95": None}}
    with pytest.raises(ValueError, match="only one class"):
        statistics.estimates_of_whole(lambda p: None, names)
