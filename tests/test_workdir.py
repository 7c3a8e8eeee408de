"""Tests of the run's folder: whole steps only, every flipped bit seen."""

import json
import os
import random

import numpy as np
import pytest

from xr2mri_jax import workdir
from xr2mri_jax.errors import InputError

STATE = {
    "step": np.asarray(3, np.int32),
    "params": {"a": {"kernel": np.arange(600, dtype=np.float32).reshape(20, 30)}},
    "ema_params": {"a": {"kernel": np.ones((20, 30), np.float32)}},
    "model_state": {},
}


def write(folder, step, keep=3):
    state = {**STATE, "step": np.asarray(step, np.int32)}
    return workdir.write_step(folder, step, state, {"input": ["x"]}, {"seed": 0}, keep)


def test_round_trip(tmp_path):
    folder = write(tmp_path, 3)
    state, progress = workdir.read_step(folder)
    assert progress == {"input": ["x"]} and state["model_state"] == {}
    np.testing.assert_array_equal(state["params"]["a"]["kernel"], STATE["params"]["a"]["kernel"])
    assert state["params"]["a"]["kernel"].dtype == np.float32
    assert json.loads((folder / "config.json").read_text()) == {"seed": 0}


def test_only_the_newest_stay_and_a_step_can_be_written_again(tmp_path):
    for step in (1, 2, 10, 10):
        write(tmp_path, step, keep=2)
    assert workdir.steps(tmp_path) == [2, 10]
    assert sorted(os.listdir(tmp_path / "checkpoints")) == ["10", "2"]
    assert int(workdir.load_state(tmp_path)["step"]) == 10
    assert int(workdir.load_state(tmp_path, 2)["step"]) == 2


def test_every_changed_file_is_seen(tmp_path):
    folder = write(tmp_path, 3)
    rng = random.Random(0)
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.stat().st_size):
        content = path.read_bytes()
        changed = bytearray(content)
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
        path.write_bytes(bytes(changed))
        with pytest.raises(InputError, match=r"is broken: .*; no older step is intact"):
            workdir.read_step(folder)
        path.write_bytes(content)
    workdir.verify_step(folder)


def test_a_broken_newest_step_is_named_with_the_way_on(tmp_path):
    for step in (1, 2, 3):
        write(tmp_path, step)
    for step in (2, 3):
        next((workdir.step_folder(tmp_path, step) / "state" / "d").iterdir()).unlink()
    with pytest.raises(InputError) as caught:
        workdir.load_state(tmp_path)
    message = str(caught.value)
    assert "checkpoints/3 is broken: state/d/" in message and "is missing" in message
    assert "step 1 is intact: remove" in message and "\n" not in message


def test_an_added_file_and_a_missing_manifest_are_seen(tmp_path):
    folder = write(tmp_path, 3)
    (folder / "more").write_text("x")
    with pytest.raises(InputError, match="more is not in its manifest"):
        workdir.verify_step(folder)
    (folder / "more").unlink()
    (folder / "manifest.json").unlink()
    with pytest.raises(InputError, match="its manifest cannot be used"):
        workdir.verify_step(folder)


def test_half_steps_are_not_steps(tmp_path):
    write(tmp_path, 3)
    (tmp_path / "checkpoints" / ".partial-5").mkdir()
    (tmp_path / "checkpoints" / ".removed-2").mkdir()
    assert workdir.steps(tmp_path) == [3]
    write(tmp_path, 4)
    assert workdir.steps(tmp_path) == [3, 4]
    assert sorted(os.listdir(tmp_path / "checkpoints")) == ["3", "4"]


def test_what_is_absent_is_said(tmp_path):
    with pytest.raises(InputError, match=r"no config\.json in it"):
        workdir.read_config(tmp_path)
    with pytest.raises(InputError, match="no checkpoint in it"):
        workdir.load_state(tmp_path)
    write(tmp_path, 3)
    with pytest.raises(InputError, match=r"no checkpoint of step 4, there are \[3\]"):
        workdir.load_state(tmp_path, 4)
    (tmp_path / "config.json").write_text("[1]")
    with pytest.raises(InputError, match="found list, expected a JSON object"):
        workdir.read_config(tmp_path)
