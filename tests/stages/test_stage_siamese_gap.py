"""Tests of the classifier's stage."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xr2mri_jax import files, losses, stages, workdir
from xr2mri_jax.errors import InputError
from xr2mri_jax.metrics import base as metrics
from xr2mri_jax.metrics import classification
from xr2mri_jax.stages import base
from xr2mri_jax.training import config as recipe
from xr2mri_jax.training import optimizer, parallel
from xr2mri_jax.training import state as states
from xr2mri_jax.training.step import Steps

SMALL = {"image_shape": [16, 16], "channels": [3, 4], "convolutions": [1, 1], "levels": [1, 2]}


def config(**loss):
    made = recipe.plain(recipe.default("siamese_gap"))
    made["model"]["classifier"] = dict(SMALL)
    made["loss"].update(loss)
    recipe.validate(made)
    return stages.resolve(made)


def batch(size=8):
    random = np.random.default_rng(0)
    return {
        "xray": random.random((size, 16, 16, 1), np.float32),
        "kl": np.resize(np.int32([0, 2, 2]), size),
        "index": np.arange(size, dtype=np.int32),
        "example_mask": np.ones(size, np.float32),
    }


@pytest.fixture(scope="module")
def made():
    stage = stages.make_stage(config())
    return stage, *stage.init(jax.random.key(0), batch())


def test_resolved_config_has_the_whole_network():
    spec = config()["model"]["classifier"]
    assert spec["kind"] == "siamese_gap" and spec["classes"] == 2 and spec["dropout"] == 0.2
    wrong = config()
    wrong["data"]["grades"] = [2, 0]
    with pytest.raises(InputError, match=r"config.data.grades is \[2, 0\]"):
        stages.resolve(wrong)
    wrong["data"]["grades"] = [0, 1, 2]
    with pytest.raises(InputError, match="expected 2 ascending grades"):
        stages.resolve(wrong)


def test_evaluation_is_by_hand_and_becomes_an_auc(made):
    stage, params, model_state = made
    data = batch()
    values = jax.jit(stage.evaluate)(params, model_state, data)
    logits = np.asarray(stage.classify(params, model_state, data["xray"]))
    label = np.array([0, 1, 1, 0, 1, 1, 0, 1])
    np.testing.assert_allclose(values["loss"], losses.cross_entropy(logits, label), rtol=1e-5)
    np.testing.assert_array_equal(values["accuracy"], logits.argmax(axis=1) == label)
    summary = stage.summarise(metrics.from_batch(values, data["example_mask"]))
    assert set(summary) == {"loss", "accuracy", "auc", "balanced_accuracy"}
    probability = np.asarray(jax.nn.softmax(logits))[:, 1]
    bins = (probability * classification.BINS).astype(int)
    assert summary["auc"] == pytest.approx(classification.auc(bins, label))


def test_training_uses_the_batch_and_updates_the_running_moments(made):
    stage, params, model_state = made
    data, keys = batch(), jax.random.split(jax.random.key(1), 8)
    value, (changed, values) = jax.jit(stage.loss, static_argnums=4)(
        params, model_state, data, keys, True
    )
    assert value.shape == (8,) and set(values) == {"accuracy"}
    assert jax.tree.structure(changed) == jax.tree.structure(model_state)
    first = changed["branch"]["block1_conv1"]["mean"]
    assert np.abs(first - model_state["branch"]["block1_conv1"]["mean"]).max() > 0
    still, (same, _) = stage.loss(params, model_state, data, keys, False)
    assert np.abs(still - value).max() > 1e-6
    assert jax.tree.all(jax.tree.map(lambda a, b: bool(jnp.all(a == b)), same, model_state))


def test_a_mixed_radiograph_counts_for_both_grades_by_their_shares(made):
    stage, params, model_state = made
    data, keys = batch(), jax.random.split(jax.random.key(1), 8)
    share = np.linspace(0.5, 1, 8, dtype=np.float32)
    other = {**data, "kl": np.roll(data["kl"], 1)}
    mixed = {**data, "share": share, "mixed_kl": other["kl"]}
    found, _ = jax.jit(stage.loss, static_argnums=4)(params, model_state, mixed, keys, True)
    own, _ = stage.loss(params, model_state, data, keys, True)
    others, _ = stage.loss(params, model_state, other, keys, True)
    np.testing.assert_allclose(found, share * own + (1 - share) * others, rtol=1e-4)
    assert np.abs(found - own).max() > 1e-3


def test_eight_devices_take_the_step_of_one_program():
    stage = stages.make_stage(config())
    params, model_state = base.initialise(stage, jax.random.key(0))
    settings = recipe.plain(recipe.default("siamese_gap"))["optimizer"]
    trainable = stage.trainable(params)
    tx = optimizer.make(settings, 10, trainable)
    steps = Steps(stage, tx, optimizer.schedule(settings, 10), 0.9, trainable)
    losses_of = {}
    for strategy in ("pmap", "jit"):
        devices = parallel.make_parallel(strategy, steps)
        assert devices.device_count == 8
        state = devices.replicate(states.create(params, model_state, tx))
        rng, seen = devices.replicate(jax.random.key(2)), []
        for _ in range(3):
            data = devices.prepare_batch(batch(16))
            state, outcome = devices.train_step(state, data, rng)
            seen.append(float(parallel.unreplicate(outcome["means"]["loss"].sum)))
        losses_of[strategy] = seen, parallel.unreplicate(state.model_state)
    np.testing.assert_allclose(losses_of["pmap"][0], losses_of["jit"][0], rtol=1e-4)
    pairs = (jax.tree.leaves(losses_of[name][1]) for name in ("pmap", "jit"))
    for ours, theirs in zip(*pairs, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)


def test_pictures_and_another_size(made):
    stage, params, model_state = made
    (picture,) = stage.pictures(params, model_state, batch()).values()
    assert picture.shape == (16, 64)
    data = {"xray": jax.ShapeDtypeStruct((1, 32, 32, 1), np.float32)}
    with pytest.raises(InputError, match=r"expected \(16, 16, 1\) from config.model.classifier"):
        stage.init(jax.random.key(0), data)


def test_a_network_goes_on_at_another_size_from_an_earlier_run(tmp_path, monkeypatch):
    first = stages.make_stage(config())
    params, model_state = first.init(jax.random.key(3), batch())
    written = {"ema_params": params, "model_state": model_state}
    monkeypatch.setattr(workdir, "load_state", lambda folder: written)
    files.write_json(tmp_path / "config.json", config())

    def started(**change):
        made = recipe.plain(recipe.default("siamese_gap"))
        made["model"]["classifier"] = {**SMALL, "image_shape": [24, 24], **change}
        made["classifier_workdir"] = str(tmp_path)
        return stages.resolve(made)

    stage = stages.make_stage(started())
    large = {**batch(), "xray": np.zeros((8, 24, 24, 1), np.float32)}
    found = stage.init(jax.random.key(4), large)
    jax.tree.map(np.testing.assert_array_equal, found, (params, model_state))
    with pytest.raises(InputError, match=r"config.model.classifier.channels is \[3, 5\], but"):
        started(channels=[3, 5])
    written["model_state"] = {}
    with pytest.raises(InputError, match=r"\[1\].* is None, expected .* from the config"):
        stage.init(jax.random.key(4), large)
    # Who continues the run needs the earlier one no more.
    assert stages.resolve({**config(), "classifier_workdir": "/moved"}, started()) == {
        **config(),
        "classifier_workdir": str(tmp_path),
    }
