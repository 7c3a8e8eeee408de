"""Tests of the run's folder: whole steps only, every flipped bit seen."""

import errno
import json
import os
import random

import numpy as np
import pytest

from xr2mri_jax import files, workdir
from xr2mri_jax.errors import InputError
from xr2mri_jax.workdir import checkpoints

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


def a_run(folder, steps=(1, 2), **config):
    """A folder with config and named run, as training leaves it."""
    workdir.start_run(folder, {})
    workdir.write_config(folder, {"seed": 0, **config})
    for step in steps:
        write(folder, step)
    return folder


def swap(first, second):
    first.rename(first.with_name("between"))
    second.rename(first)
    first.with_name("between").rename(second)


def test_swapped_steps_are_refused(tmp_path):
    a_run(tmp_path)
    swap(workdir.step_folder(tmp_path, 1), workdir.step_folder(tmp_path, 2))
    with pytest.raises(InputError, match=r"2 is broken: it is the checkpoint of step 1 by its man"):
        workdir.load_state(tmp_path)
    with pytest.raises(InputError, match=r"1 is broken: it is the checkpoint of step 2 by its man"):
        workdir.load_state(tmp_path, 1)


def test_a_step_of_another_run_is_refused(tmp_path):
    one, other = a_run(tmp_path / "one"), a_run(tmp_path / "other")
    swap(workdir.step_folder(one, 2), workdir.step_folder(other, 2))
    for folder in (one, other):
        with pytest.raises(InputError, match=r"2 is broken: it belongs to another run .*step 1 is"):
            workdir.load_state(folder)


@pytest.mark.parametrize("name", ["config.json", "run.json", "checkpoints/2/manifest.json"])
def test_every_bit_flip_of_a_runs_own_files_is_refused_or_changes_nothing(tmp_path, name):
    a_run(tmp_path, loss={"l1": 1.0}, cae_workdir="/somewhere/cae")
    config, state = workdir.read_config(tmp_path), workdir.load_state(tmp_path)
    path, rng = tmp_path / name, random.Random(name)
    content, refused = path.read_bytes(), 0
    for _ in range(200):
        changed = bytearray(content)
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
        path.write_bytes(bytes(changed))
        try:
            assert workdir.read_config(tmp_path) == config
            np.testing.assert_equal(workdir.load_state(tmp_path), state)
        except InputError as error:
            refused += 1
            assert "\n" not in str(error) and str(tmp_path) in str(error)
    # White space in JSON has no meaning; config.json is held to its bytes.
    assert refused == 200 if name == "config.json" else refused > 100
    path.write_bytes(content)
    assert workdir.read_config(tmp_path) == config


def test_a_config_is_replaced_without_a_moment_in_which_it_is_refused(tmp_path, monkeypatch):
    a_run(tmp_path, steps=())
    workdir.write_config(tmp_path, {"seed": 1})
    assert workdir.read_config(tmp_path) == {"seed": 1}

    def killed(path, text):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(files, "write_text", killed)
        workdir.write_config(tmp_path, {"seed": 2})
    assert workdir.read_config(tmp_path) == {"seed": 1}
    workdir.write_config(tmp_path, {"seed": 2})
    assert workdir.read_config(tmp_path) == {"seed": 2}


def test_runs_of_before_they_had_names_are_read(tmp_path):
    write(tmp_path, 3)
    folder = workdir.step_folder(tmp_path, 3)
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["run"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "config.json").write_text("{}")
    assert workdir.read_config(tmp_path) == {}
    assert int(workdir.load_state(tmp_path)["step"]) == 3


def test_a_step_that_goes_while_it_is_read_is_looked_for_anew(tmp_path, monkeypatch):
    a_run(tmp_path)
    read_step = checkpoints.read_step

    def gone_meanwhile(folder):
        if folder.name == "2" and not workdir.step_folder(tmp_path, 3).exists():
            write(tmp_path, 3, keep=1)
        return read_step(folder)

    monkeypatch.setattr(checkpoints, "read_step", gone_meanwhile)
    folder, state, _ = workdir.read_checkpoint(tmp_path)
    assert folder.name == "3" and int(state["step"]) == 3
    with pytest.raises(InputError, match=r"no checkpoint of step 2, there are \[3\]"):
        workdir.read_checkpoint(tmp_path, 2)


def test_a_full_disk_leaves_the_steps_before_and_names_the_folder(tmp_path, monkeypatch):
    a_run(tmp_path)

    def full(path, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "write_json", full)
    with pytest.raises(OSError, match="the disk is full") as caught:
        write(tmp_path, 3)
    assert caught.value.filename == str(workdir.step_folder(tmp_path, 3))
    assert sorted(os.listdir(tmp_path / "checkpoints")) == ["1", "2"]
