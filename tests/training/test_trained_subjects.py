"""Doubts about subjects that a run has seen before, and about unfinished earlier runs."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from xr2mri_jax import workdir
from xr2mri_jax.datasets import examples
from xr2mri_jax.datasets.splits import subject_fraction
from xr2mri_jax.errors import InputError
from xr2mri_jax.training import trained_subjects
from xr2mri_jax.training.loaded_model import LoadedModel

DATA = {"dataset": "knee_pairs/smoke", "train_split": "train", "eval_split": "validation"}
GRADER = {**DATA, "eval_split": "train", "grades": (0, 2), "balanced": True, "held_out_seed": 0}


class Builder:
    """A prepared dataset with the given subjects by split."""

    data_dir = "there"

    def __init__(self, **splits):
        self.kept = {
            name: [{"subject": one.encode(), "kl": 2 * (i % 2)} for i, one in enumerate(subjects)]
            for name, subjects in splits.items()
        }
        sizes = {n: SimpleNamespace(num_examples=len(part)) for n, part in self.kept.items()}
        self.info = SimpleNamespace(
            splits=sizes, features={"subject": None, "kl": None}, full_name="knee_pairs/smoke/1.0.0"
        )

    def as_data_source(self, split, decoders=None):
        return self.kept[split]


BUILDERS = {
    "a": Builder(train=["p1", "p2", "p3"], validation=["p4"], test=["p5"]),
    "b": Builder(train=["p3", "p4"], validation=["p5"], test=["p1", "p2", "p6"]),
    "c": Builder(train=["q1"], validation=["q2"], test=["q3"]),
    "only_test": Builder(test=["p2"]),
    "parts": Builder(**{"train[:50%]+test": ["p1", "p5"], "train": ["p1", "p2"], "test": ["p5"]}),
    "many": Builder(train=[f"m{i}" for i in range(40)]),
}


@pytest.fixture(autouse=True)
def prepared(monkeypatch):
    def load(name, data_dir):
        if data_dir not in BUILDERS:
            raise InputError(f"{data_dir}: found no prepared dataset {name}")
        return BUILDERS[data_dir]

    monkeypatch.setattr(trained_subjects.datasets, "load_builder", load)


def fingerprints(folder):
    return {"train": examples.fingerprint(BUILDERS[folder], "train")}


def run(folder, data_dir, steps=4, step=4, data=DATA, doubts=()):
    """Writes the folder of a run that was trained on a dataset."""
    config = {"data": {**data, "data_dir": data_dir}, "steps": steps}
    workdir.start_run(folder, {}, doubts)
    workdir.write_config(folder, config)
    progress = {"data": fingerprints(data_dir)}
    workdir.write_step(folder, step, {"step": np.asarray(step)}, progress, config, 1)
    return str(folder.resolve())


def evaluation(trained_on, evaluated_on, split="test"):
    config = {"data": {**DATA, "data_dir": trained_on}}
    model = LoadedModel(config, None, {}, {}, 4, fingerprints(trained_on))
    return trained_subjects.doubts_of_evaluation(model, BUILDERS[evaluated_on], split)


def start(data_dir, data=DATA, **folders):
    config = {"data": {**data, "data_dir": data_dir}, **folders}
    return trained_subjects.doubts_of_start(config, BUILDERS[data_dir])


def test_an_evaluation_on_subjects_of_the_training_is_doubtful():
    assert evaluation("a", "a") == evaluation("a", "c") == []
    (doubt,) = evaluation("a", "b")
    assert "was trained on 2 of the 3 subjects of the split 'test' (such as 'p1')" in doubt
    (doubt,) = evaluation("a", "only_test")
    assert "1 of the 1 subjects" in doubt
    assert evaluation("a", "a", "train") == [
        "the split 'train' is the training split: the knees are not unseen"
    ]


@pytest.mark.parametrize(("split", "shared"), [("train", "1 of the 2"), ("test", "1 of the 1")])
def test_parts_and_joined_splits_of_the_training_are_doubtful(split, shared):
    trained = {**DATA, "train_split": "train[:50%]+test", "data_dir": "parts"}
    known = {trained["train_split"]: examples.fingerprint(BUILDERS["parts"], "train[:50%]+test")}
    model = LoadedModel({"data": trained}, None, {}, {}, 4, known)
    (doubt,) = trained_subjects.doubts_of_evaluation(model, BUILDERS["parts"], split)
    assert f"was trained on {shared} subjects of the split '{split}'" in doubt


def test_held_out_patients_of_the_same_data_in_another_folder_are_unseen():
    data = {**GRADER, "held_out": 0.4, "data_dir": "moved away"}
    model = LoadedModel({"data": data}, None, {}, {}, 4, fingerprints("many"))
    assert trained_subjects.doubts_of_evaluation(model, BUILDERS["many"], "train") == []


def test_subjects_that_cannot_be_compared_are_doubtful(monkeypatch):
    monkeypatch.setitem(BUILDERS, "gone", BUILDERS["a"])
    before = fingerprints("gone")
    config = {"data": {**DATA, "data_dir": "gone"}}
    model = LoadedModel(config, None, {}, {}, 4, before)
    monkeypatch.setitem(BUILDERS, "gone", BUILDERS["c"])
    (doubt,) = trained_subjects.doubts_of_evaluation(model, BUILDERS["b"], "test")
    assert "the split 'train' in there has changed" in doubt and "\n" not in doubt
    without = Builder(train=["q1"], test=["q3"])
    without.info.features = {"kl": None}
    (doubt,) = trained_subjects.doubts_of_evaluation(model, without, "test")
    assert "cannot be compared" in doubt
    monkeypatch.delitem(BUILDERS, "gone")
    (doubt,) = trained_subjects.doubts_of_evaluation(model, BUILDERS["b"], "test")
    assert "cannot be compared" in doubt and "found no prepared dataset" in doubt


def test_an_earlier_run_with_other_splits_is_doubtful(tmp_path):
    folder = run(tmp_path, "a")
    assert start("a", cae_workdir=folder) == start("c", cae_workdir=folder) == []
    (test,) = start("b", cae_workdir=folder, generator_workdir="")
    assert test.startswith(f"config.cae_workdir={folder} was trained on 2 of the 3 subjects")
    assert "of the split 'test'" in test


def test_an_unfinished_earlier_run_and_its_own_doubts_are_told(tmp_path):
    folder = run(tmp_path, "a", steps=2_000_000, step=1, doubts=["its start is doubtful"])
    assert start("a", cae_workdir=folder) == [
        "its start is doubtful",
        f"config.cae_workdir={folder} is not finished: the newest checkpoint is step 1 of 2000000",
    ]


@pytest.mark.parametrize(("held_out", "seed", "told"), [(0.3, 0, 0), (0.3, 1, 1), (0.5, 0, 1)])
def test_patients_held_out_otherwise_are_doubtful(tmp_path, held_out, seed, told):
    first = {**GRADER, "held_out": 0.3}
    folder = run(tmp_path / "run", "many", data=first)
    second = {**first, "held_out": held_out, "held_out_seed": seed}
    found = start("many", second, classifier_workdir=folder)
    names = [f"m{i}" for i in range(40)]
    both = [
        name
        for name in names
        if subject_fraction(name, seed) < held_out and subject_fraction(name, 0) >= 0.3
    ]
    assert len(found) == told and bool(both) == bool(told)
    if told:
        assert f"was trained on {len(both)} of the" in found[0]
        assert "held-out part of the split 'train'" in found[0]
    packaged = tmp_path / "packaged"
    packaged.mkdir()
    (packaged / "model.json").write_text(json.dumps({"training": first}))
    found = start("many", second, classifier_workdir=str(packaged))
    assert len(found) == told
    if told:
        assert f"this run by {held_out:g} and {seed}: it may" in found[0]
