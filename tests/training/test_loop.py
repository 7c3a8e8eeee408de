"""Tests of the run: its record, its end at a NaN, its continuation to the very same numbers."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from fake_run import FakeData, FakeStage, config, fit
from PIL import Image

from xr2mri_jax import workdir
from xr2mri_jax.training import loop, parallel

SCRIPT = Path(__file__).with_name("fake_run.py")


def lines(folder):
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "examples_per_s"} for line in found]


def assert_same_bits(first, second):
    states = [workdir.load_state(folder) for folder in (first, second)]
    leaves = [jax.tree_util.tree_leaves_with_path(state) for state in states]
    for (path, a), (_, b) in zip(*leaves, strict=True):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes(), path


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of twenty steps without interruption."""
    folder = tmp_path_factory.mktemp("whole")
    assert fit(folder) == 0
    return folder


def test_a_run_leaves_its_record(whole):
    train = [line for line in lines(whole) if line["part"] == "train"]
    assert [line["step"] for line in train] == [3, 6, 9, 12, 15, 18, 20]
    assert train[-1]["loss"] < train[0]["loss"] / 5
    assert set(train[0]) == {"step", "part", "loss", "noise", "grad_norm", "learning_rate"}
    evaluated = [line for line in lines(whole) if line["part"] == "eval"]
    assert [line["step"] for line in evaluated] == [10, 20]
    assert workdir.steps(whole) == [16, 20]
    assert json.loads((whole / "config.json").read_text()) == config()
    picture = np.asarray(Image.open(whole / "samples" / "step_000020.png"))
    assert picture.shape == (22, 60, 3) and picture[-1, -1, 0] == 255 and picture[-1, 0, 0] == 0
    assert list((whole / "tensorboard").glob("events*"))


def test_the_line_holds_the_means_since_the_last_line(tmp_path):
    assert fit(tmp_path, stage=FakeStage(noise=0.0), steps=2, log_every=2) == 0
    stage, data = FakeStage(noise=0.0), FakeData()
    init_rng = jax.random.fold_in(jax.random.key(0), 0)
    params = jax.tree.map(np.asarray, stage.create(init_rng)[0])
    loss = [np.mean(np.square(stage.error(params, next(data))))]
    line = lines(tmp_path)[0]
    # The second step's loss is what is left of twice the mean.
    second = 2 * line["loss"] - loss[0]
    assert 0 < second < 4 * loss[0]
    assert fit(tmp_path / "one", stage=FakeStage(noise=0.0), steps=1, log_every=1) == 0
    np.testing.assert_allclose(lines(tmp_path / "one")[0]["loss"], loss[0], rtol=1e-5)


@pytest.mark.parametrize("stop", [7, 13])
def test_a_signal_saves_and_the_run_continues_to_the_same_bits(tmp_path, whole, stop, capsys):
    class Signalled(FakeData):
        def __next__(self):
            if self.position + 1 == stop:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().__next__()

    before = signal.getsignal(signal.SIGTERM)
    assert fit(tmp_path, data=Signalled()) == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before
    assert workdir.steps(tmp_path)[-1] == stop
    assert f"stopped by a signal after step {stop}" in capsys.readouterr().out
    assert fit(tmp_path) == 0
    assert f"continuing {tmp_path} after step {stop}" in capsys.readouterr().out
    assert_same_bits(tmp_path, whole)
    assert lines(tmp_path) == lines(whole)


def test_killed_at_random_steps_the_run_ends_with_the_same_bits(tmp_path, whole):
    rng = random.Random(os.urandom(8))
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, str(SCRIPT), str(tmp_path), "pause=0.05"]
    killed = 0
    for _ in range(2):
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        begun = time.monotonic()
        while not (tmp_path / "metrics.jsonl").exists() and time.monotonic() < begun + 60:
            time.sleep(0.01)
        time.sleep(rng.uniform(0.1, 1.5))
        process.kill()
        killed += process.wait() == -signal.SIGKILL
    assert killed >= 1
    assert fit(tmp_path) == 0
    assert_same_bits(tmp_path, whole)
    assert lines(tmp_path) == lines(whole)


def test_a_nan_stops_the_run_with_its_step_and_examples(tmp_path):
    data = FakeData(bad_at=11)
    for _ in range(10):
        next(data)
    index = next(data)["index"]
    with pytest.raises(loop.NotFiniteError) as caught:
        fit(tmp_path, data=FakeData(bad_at=11))
    message = str(caught.value)
    assert "\n" not in message and message.startswith("step 11: loss nan")
    assert f"position in the split: {' '.join(map(str, index))};" in message
    assert "step 8 is untouched" in message
    assert workdir.steps(tmp_path) == [4, 8]
    assert max(line["step"] for line in lines(tmp_path)) == 10


@pytest.mark.parametrize("bad_at", [12, 20])
def test_a_nan_at_a_checkpoint_is_not_saved(tmp_path, bad_at):
    with pytest.raises(loop.NotFiniteError, match=f"step {bad_at}:"):
        fit(tmp_path, data=FakeData(bad_at=bad_at))
    assert workdir.steps(tmp_path)[-1] < bad_at


def test_a_finished_run_is_left_alone_and_a_longer_one_goes_on(tmp_path, capsys):
    assert fit(tmp_path, steps=4) == 0
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    capsys.readouterr()
    for steps in (4, 2):
        assert fit(tmp_path, steps=steps) == 0
        assert "already has all of its 4 steps: nothing to train" in capsys.readouterr().out
    assert files == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert fit(tmp_path, steps=6) == 0
    assert workdir.steps(tmp_path) == [4, 6]


def test_another_number_of_devices_continues_the_run(tmp_path, whole):
    assert fit(tmp_path, devices=jax.devices()[:2], steps=4) == 0
    assert fit(tmp_path, devices=jax.devices()[:4], parallel="jit", steps=8) == 0
    assert [line["step"] for line in lines(tmp_path) if line["part"] == "train"] == [3, 4, 6, 8]


def test_a_half_written_line_and_later_lines_go(tmp_path):
    assert fit(tmp_path, steps=4) == 0
    kept = (tmp_path / "metrics.jsonl").read_text()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "part": "train", "loss": 1.0}\n{"step": 6, "par')
    assert fit(tmp_path, steps=5) == 0
    text = (tmp_path / "metrics.jsonl").read_text()
    assert text.startswith(kept) and [line["step"] for line in lines(tmp_path)][-2:] == [5, 5]


def test_a_step_is_compiled_once_and_moves_arrays_only_explicitly(tmp_path, monkeypatch):
    """In all runs of these tests a second compilation is a warning, which is an error here."""
    for strategy in ("pmap", "jit"):
        folder = tmp_path / strategy
        assert fit(folder, devices=jax.devices(), parallel=strategy, steps=9) == 0
    with monkeypatch.context() as patch:
        patch.setattr(parallel, "_to_devices", lambda arrays, place: dict(arrays))
        with pytest.raises(Exception, match="Disallowed host-to-device transfer"):
            fit(tmp_path / "moved", steps=2)


def test_a_step_that_compiles_again_is_told_with_what_changed(tmp_path):
    class Growing(FakeData):
        def __next__(self):
            batch = super().__next__()
            kept = 4 if self.position == 3 else 6
            return {name: value[:kept] for name, value in batch.items()}

    said = r"step 3 compiled the training step again.*x float32\[6, 3\] -> float32\[4, 3\]"
    with pytest.warns(RuntimeWarning, match=said) as caught:
        assert fit(tmp_path, data=Growing(), steps=5) == 0
    assert len(caught) == 1
