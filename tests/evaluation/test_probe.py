"""The linear probe of an auto-encoder: patients kept apart, decay chosen, the command's files."""

import json
import types

import numpy as np
import pytest
from test_classifier import DATA, Source

from xr2mri_jax.errors import InputError
from xr2mri_jax.evaluation import probe, run
from xr2mri_jax.training import config as recipe
from xr2mri_jax.training import loaded_model


def features(xray):
    level = np.asarray(xray).mean(axis=(1, 2, 3))
    noise = np.random.default_rng(0).normal(size=(len(level), 3))
    return np.concatenate([level[:, None], noise], axis=1)


def test_the_probe_is_fitted_on_training_patients_and_chosen_on_others(monkeypatch):
    seen = []
    fit = probe.fit_linear_probe

    def recorded(values, label, decay):
        seen.append((values, label, decay))
        return fit(values, label, decay)

    monkeypatch.setattr(probe, "fit_linear_probe", recorded)
    fitted, chosen = probe.fit(features, Source(), DATA, batch_size=16)
    assert [decay for _, _, decay in seen] == list(probe.DECAYS)
    examples = [e for e in Source().splits["train"] if e["kl"] != 1]
    level = {round(e["xray"].mean() / 65535, 5): e["subject"] for e in examples}
    used = {level[round(float(v), 5)] for v in seen[0][0][:, 0]}
    part = probe.classifier.apply(features, Source(), DATA, "train", 16)[1]
    held_out = {name.encode() for name in part["subject"]}
    assert used and held_out and not used & held_out
    assert used | held_out == {e["subject"] for e in examples}
    assert chosen["decay"] in probe.DECAYS and chosen["held_out_auc"] > 0.8
    assert fitted.weights[0] > 0


def test_one_grade_alone_is_refused():
    source = Source()
    for example in source.splits["train"]:
        example["kl"] = 0
    with pytest.raises(
        InputError, match=r"and [1-9]\d* of grade 0 and 0 of grade 2 among the 50% "
    ):
        probe.fit(features, source, DATA, batch_size=16)


def test_a_split_too_small_for_held_out_patients_is_refused_without_a_foreign_option():
    source = Source(4)
    for i, example in enumerate(source.splits["train"]):
        example["kl"] = (0, 2)[i % 2]
    with pytest.raises(InputError) as caught:
        probe.fit(features, source, {**DATA, "held_out": 1e-9}, batch_size=16)
    assert str(caught.value) == (
        "--linear_probe: the split 'train' has 2 of grade 0 and 2 of grade 2 among the patients "
        "that the probe is fitted on, and 0 of grade 0 and 0 of grade 2 among the 0% held out to "
        "choose its weight decay, expected knees of both grades in each: give a dataset of more "
        "patients (--data_dir)"
    )
    for example in source.splits["train"]:
        example["kl"] = 4
    with pytest.raises(InputError, match=r"has a grade of \[0, 2\]$"):
        probe.fit(features, source, DATA, batch_size=16)


def test_the_classifiers_grades_and_patients_are_taken():
    data = probe.graded({"train_split": "there", "grades": (1, 2)})
    known = recipe.default("siamese_gap").data
    assert data["train_split"] == "there" and tuple(data["grades"]) == (0, 2)
    assert (data["held_out"], data["held_out_seed"]) == (known.held_out, known.held_out_seed)


def test_the_command_writes_all_files(monkeypatch, tmp_path):
    stage = types.SimpleNamespace(
        name="cae",
        reconstruct=lambda params, xray: xray,
        hidden=lambda params, xray: params["gain"] * xray[:, ::2, ::2],
    )
    data = {"dataset": "made", "data_dir": "", "train_split": "train"}
    config = {"precision": "float32", "data": data}
    model = loaded_model.LoadedModel(config, stage, {"gain": np.float32(2)}, {}, 3)
    monkeypatch.setattr(loaded_model, "load_model", lambda folder, step: model)
    monkeypatch.setattr(run.datasets, "load_builder", lambda name, folder: Source(200))
    page = run.evaluate_workdir(tmp_path, split="validation", linear_probe=True)
    written = json.loads((page.parent / "metrics.json").read_text())
    assert written["model"]["auc"]["mean"] > 0.8
    assert written["evaluated"]["linear_probe"]["decay"] in probe.DECAYS
    assert "linear_probe" in page.read_text()
    del stage.hidden
    with pytest.raises(InputError, match="expected an auto-encoder"):
        run.evaluate_workdir(tmp_path, split="validation", linear_probe=True)
