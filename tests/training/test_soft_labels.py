"""Soft labels: who is asked about which knee, the run's table, the examples, a whole training."""

import json
import types

import jax
import numpy as np
import pytest
from scipy import special

from xr2mri_jax import datasets, stages, workdir
from xr2mri_jax.data import selection
from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import SIDES
from xr2mri_jax.training import checkpoint, loop, soft_labels
from xr2mri_jax.training import config as recipe

SIZE = 16
NETWORK = {"image_shape": [SIZE, SIZE], "channels": [3, 4], "convolutions": [1, 1], "levels": [2]}


class Source:
    """Stands for a prepared dataset: both knees of 30 patients, grey levels that tell the grade."""

    def __init__(self):
        random = np.random.default_rng(0)
        self.examples = []
        for i in range(60):
            kl = int(random.choice((0, 2)))
            image = np.clip(0.4 + 0.1 * kl + random.normal(0, 0.1, (SIZE, SIZE, 1)), 0, 1)
            xray = (65535 * image).astype(np.uint16)
            subject = f"s{i // 2}".encode()
            self.examples.append({"xray": xray, "kl": kl, "side": i % 2, "subject": subject})
        shapes = {"xray": types.SimpleNamespace(shape=(SIZE, SIZE, 1))}
        features = {n: types.SimpleNamespace(shape=()) for n in ("kl", "side", "subject")} | shapes
        counts = {"train": types.SimpleNamespace(num_examples=60)}
        self.info = types.SimpleNamespace(full_name="made", features=features, splits=counts)

    def as_data_source(self, split, decoders=None):
        return self.examples


@pytest.fixture
def source(monkeypatch):
    made = Source()
    monkeypatch.setattr(datasets, "load_builder", lambda name, folder: made)
    return made


def config(**data):
    made = recipe.plain(recipe.default("siamese_gap"))
    made["model"]["classifier"] = dict(NETWORK)
    made["data"].update({"dataset": "made", "batch_size": 4, "held_out": 0.2, **data})
    made.update(steps=2, eval_every=2, checkpoint_every=1, log_every=1, keep=2)
    made["optimizer"].update(warmup_steps=0)
    return made


def teacher(folder, seed, **data):
    """A run's folder of an untrained network that left a fold out."""
    made = stages.resolve(config(**{"folds": 2, "fold": seed, **data}))
    params, state = stages.make_stage(made).create(jax.random.key(seed))
    stored = {"params": params, "ema_params": params, "model_state": state, "step": np.asarray(3)}
    stored = jax.tree.map(np.asarray, stored)
    workdir.write_config(folder, made)
    workdir.write_step(folder, 3, stored, {"input": [], "record": {}}, made, 1)
    return str(folder)


@pytest.fixture
def teachers(tmp_path, source):
    return [teacher(tmp_path / f"teacher{k}", k) for k in range(2)]


def test_a_teacher_speaks_of_its_own_fold_alone(teachers, source):
    data = config()["data"]
    labels = soft_labels.ask(teachers, data)
    expected = {}
    for k, folder in enumerate(teachers):
        model = checkpoint.load_model(folder)
        part = selection.of_part(
            source, {**data, "folds": 2, "fold": k}, "train", ("xray", "kl"), "fold"
        )
        for position in part.positions:
            record = source.examples[position]
            xray = np.float32(record["xray"][None] / 65535)
            logits = np.asarray(model.stage.classify(model.params, model.model_state, xray))
            expected[record["subject"].decode(), SIDES[record["side"]]] = special.softmax(logits[0])
    assert labels.keys() == expected.keys() and 30 < len(labels) < 60
    for knee, probability in expected.items():
        np.testing.assert_allclose(labels[knee], probability, atol=2e-5)


def test_the_table_comes_back_as_it_was(tmp_path):
    labels = {("s1", "left"): (0.25, 0.75), ("s1", "right"): (0.99999, 1e-5)}
    soft_labels.write(tmp_path, labels, (0, 2))
    assert soft_labels.read(tmp_path, (0, 2)) == labels
    table = tmp_path / soft_labels.FILE
    table.write_text(table.read_text().replace("0.75", "much"))
    with pytest.raises(InputError, match="row 2, column probability_kl2: found 'much'"):
        soft_labels.read(tmp_path, (0, 2))
    table.unlink()
    with pytest.raises(InputError, match=soft_labels.FILE):
        soft_labels.read(tmp_path, (0, 2))


def test_teachers_that_could_tell_what_they_must_not_are_refused(tmp_path, teachers, source):
    data = config()["data"]
    everybody = teacher(tmp_path / "all", 0, folds=0)
    with pytest.raises(InputError, match="has seen all training patients"):
        soft_labels.ask([everybody], data)
    other = teacher(tmp_path / "other", 0, held_out_seed=1)
    with pytest.raises(InputError, match="held_out_seed=1, expected 0 as here"):
        soft_labels.ask([other], data)
    labels = soft_labels.ask(teachers[:1], data)
    part = selection.of_part(source, data, "train", ("xray", "kl"), "train")
    with pytest.raises(InputError, match="of the training knees are in no teacher's fold"):
        soft_labels.attach(part, source, "train", labels)


def test_teachers_and_their_weight_come_together():
    made = config()
    made["loss"]["taught"] = 0.5
    with pytest.raises(InputError, match="expected both or neither"):
        stages.resolve(made)
    made["teacher_workdirs"] = "nowhere"
    with pytest.raises(InputError, match=r"config.teacher_workdirs=nowhere has no config.json"):
        stages.resolve(made)
    made["loss"]["taught"] = 1.5
    with pytest.raises(InputError, match=r"config.loss.taught is 1.5"):
        stages.resolve(made)


def test_a_student_trains_and_goes_on_without_its_teachers(tmp_path, teachers):
    made = config(mixup=0.4)
    made["loss"]["taught"] = 0.7
    made["teacher_workdirs"] = ", ".join(teachers)
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    assert loop.train(made, whole) == 0
    table = soft_labels.read(whole, (0, 2))
    assert table == soft_labels.ask(teachers, made["data"])
    # Continued from its first step, with no teacher left.
    (halves / "checkpoints").mkdir(parents=True)
    for name in (workdir.CONFIG, workdir.RUN):
        (halves / name).write_bytes((whole / name).read_bytes())
    workdir.step_folder(whole, 1).rename(workdir.step_folder(halves, 1))
    (halves / "metrics.jsonl").write_text((whole / "metrics.jsonl").read_text().splitlines()[0])
    soft_labels.write(halves, table, (0, 2))
    made["teacher_workdirs"] = ""
    with pytest.raises(InputError, match=r"found '.*gone', which is not the same run"):
        loop.train({**made, "teacher_workdirs": "gone"}, halves)
    assert loop.train(made, halves) == 0
    one, other = (workdir.load_state(folder, 2)["params"] for folder in (whole, halves))
    jax.tree.map(np.testing.assert_array_equal, one, other)
    losses = [
        json.loads(line)["loss"]
        for line in (whole / "metrics.jsonl").read_text().splitlines()
        if '"train"' in line
    ]
    assert np.isfinite(losses).all()


def test_the_loss_is_of_grade_and_soft_label_by_their_weights():
    made = config()
    stage = stages.make_stage(stages.resolve(made))
    params, state = stage.create(jax.random.key(0))
    random = np.random.default_rng(0)
    xray = random.random((4, SIZE, SIZE, 1), np.float32)
    batch = {"xray": xray, "kl": np.int32([0, 2, 2, 0])}
    taught = np.float32([[0.5, 0.5], [0.1, 0.9], [0.8, 0.2], [1, 0]])
    keys = jax.random.split(jax.random.key(1), 4)
    hard, _ = stage.loss(params, state, batch, keys, False)
    stage.weights["taught"] = 0.7
    found, _ = stage.loss(params, state, {**batch, "taught": taught}, keys, False)
    log = special.log_softmax(np.asarray(stage.classify(params, state, xray)), axis=1)
    soft = -(taught * log).sum(axis=1)
    np.testing.assert_allclose(found, 0.3 * np.asarray(hard) + 0.7 * soft, rtol=1e-5)
