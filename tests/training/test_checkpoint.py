"""Tests of checkpoints in the run: the state's round trip, other models refused."""

import json

import jax
import numpy as np
import pytest
from fake_run import OPTIMIZER, FakeStage

from xr2mri_jax import workdir
from xr2mri_jax.errors import InputError
from xr2mri_jax.training import checkpoint, optimizer, parallel, state, step

CONFIG = {"keep": 2, "stage": "fake"}


def make(change=lambda params: params):
    stage = FakeStage()
    params, model_state = stage.create(jax.random.key(3))
    params = change(params)
    trainable = jax.tree.map(lambda _: True, params)
    tx = optimizer.make(OPTIMIZER, 20, trainable)
    steps = step.Steps(stage, tx, optimizer.schedule(OPTIMIZER, 20), 0.9, trainable)
    made = state.create(params, model_state, tx)
    return parallel.make_parallel("jit", steps, jax.devices()[:2]).replicate(made)


def test_state_position_and_sums_come_back(tmp_path):
    made = make()
    record = {"loss": [0.1, 3.0]}
    checkpoint.save(tmp_path, made, '{"position": 5}', record, CONFIG, 2, {"train": "ab"})
    restored = checkpoint.restore(tmp_path, jax.eval_shape(lambda: made))
    assert restored is not None
    assert (restored.position, restored.sums) == ('{"position": 5}', record)
    assert (restored.devices, restored.data) == (2, {"train": "ab"})
    assert jax.tree.structure(restored.state) == jax.tree.structure(made)
    for found, wanted in zip(jax.tree.leaves(restored.state), jax.tree.leaves(made), strict=True):
        assert isinstance(found, np.ndarray) and found.dtype == wanted.dtype
        assert found.tobytes() == np.asarray(wanted).tobytes()


def test_nothing_saved_is_nothing_restored(tmp_path):
    assert checkpoint.restore(tmp_path, make()) is None


def test_another_model_is_refused(tmp_path):
    checkpoint.save(tmp_path, make(), "{}", {}, CONFIG)
    other = make(lambda p: {**p, "trained": {**p["trained"], "b": np.zeros(2, np.float32)}})
    with pytest.raises(InputError, match=r"\['b'\] is \(\(1,\), 'float32'\), expected \(\(2,\)"):
        checkpoint.restore(tmp_path, jax.eval_shape(lambda: other))
    more = make(lambda p: {**p, "more": np.zeros(2, np.float32)})
    with pytest.raises(InputError, match=r"\['more'\] is None"):
        checkpoint.restore(tmp_path, jax.eval_shape(lambda: more))


def test_a_checkpoint_of_two_hosts_is_restored_on_one(tmp_path):
    made = make()
    checkpoint.save(tmp_path, made, '{"position": 5}', {}, CONFIG)
    stored, progress = workdir.read_step(workdir.step_folder(tmp_path, 0))
    progress["input"] = progress["input"] * 2
    workdir.write_step(tmp_path, 0, stored, json.loads(json.dumps(progress)), CONFIG, 2)
    restored = checkpoint.restore(tmp_path, jax.eval_shape(lambda: made))
    assert restored is not None and (restored.hosts, restored.position) == (2, '{"position": 5}')


def test_hosts_at_different_positions_save_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(parallel, "gather_text", lambda text: [text, "other"])
    with pytest.raises(RuntimeError, match="different positions"):
        checkpoint.save(tmp_path, make(), "{}", {}, CONFIG)
    assert workdir.steps(tmp_path) == []
