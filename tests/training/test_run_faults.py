"""Faults of a run: other data, other devices, NaN in the evaluation, a damaged log, two at once."""

import json
import random
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fake_run import FakeData, FakeStage, config, fit

from xr2mri_jax import workdir
from xr2mri_jax.errors import InputError
from xr2mri_jax.runtime import lock
from xr2mri_jax.training import loop, resume_checks, run, run_log

DATA = {"train": "ab" * 32, "validation": "cd" * 32}


@pytest.fixture(scope="module")
def six_steps(tmp_path_factory):
    """The folder of a run of six steps, to be copied."""
    folder = tmp_path_factory.mktemp("six")
    assert fit(folder, steps=6) == 0
    return folder


@pytest.mark.parametrize("split", sorted(DATA))
def test_other_data_of_the_same_name_and_size_is_refused(tmp_path, split):
    assert fit(tmp_path, steps=4, fingerprints=DATA) == 0
    other = {**DATA, split: "ef" * 32}
    with pytest.raises(InputError) as caught:
        fit(tmp_path, steps=5, fingerprints=other)
    message = str(caught.value)
    assert f"the split '{split}'" in message and "efef" in message and "\n" not in message
    assert workdir.steps(tmp_path) == [4]
    assert fit(tmp_path, steps=5, fingerprints=DATA) == 0


def test_another_further_dataset_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(resume_checks.datasets, "load_builder", lambda name, data_dir: name)
    monkeypatch.setattr(resume_checks.examples, "fingerprint", lambda *of: "-".join(of))
    data = {**config()["data"], "also": "knee_xray/box128"}
    found = resume_checks.fingerprints("own", data)
    assert found == {
        "train": "own-train",
        "validation": "own-validation",
        "also:train": "knee_xray/box128-train",
    }
    resume_checks.require_same_data(found, found, tmp_path, data)
    other = {**found, "also:train": "other"}
    with pytest.raises(InputError, match="the split 'train' of knee_xray/box128 in"):
        resume_checks.require_same_data(found, other, tmp_path, data)
    assert "also:train" not in resume_checks.fingerprints("own", {**data, "also": ""})


def test_a_checkpoint_of_before_there_were_fingerprints_is_continued(tmp_path):
    assert fit(tmp_path, steps=4) == 0
    assert fit(tmp_path, steps=5, fingerprints=DATA) == 0
    with pytest.raises(InputError, match="was trained on other data"):
        fit(tmp_path, steps=6, fingerprints={"train": "other"})


def test_another_number_of_devices_is_told(tmp_path, capsys):
    assert fit(tmp_path, devices=jax.devices()[:2], steps=4) == 0
    assert fit(tmp_path, devices=jax.devices()[:2], steps=5) == 0
    assert "trained on" not in capsys.readouterr().out
    assert fit(tmp_path, devices=jax.devices()[:1], steps=6) == 0
    shown = capsys.readouterr().out
    assert "trained on 2 devices and continues on 1" in shown


def test_padding_never_counts_in_the_moments_of_a_batch(tmp_path):
    class Normalised(FakeStage):
        def create(self, rng):
            return super().create(rng)[0], {"mean": jnp.zeros(3)}

    with pytest.raises(InputError) as caught:
        fit(tmp_path, Normalised(), devices=jax.devices()[:3], data__batch_size=4)
    assert str(caught.value).startswith(
        "config.data.batch_size is 4, expected a multiple of the 3 devices, because"
    )
    assert not workdir.steps(tmp_path)


def test_the_examples_of_a_selection_are_named_by_their_place():
    batch = {"index": np.array([3, 0, -1]), "place": np.array(["7 (a)", "2 (b)", "2 (b)"])}
    assert run._places(batch) == ["7 (a)", "2 (b)"]
    assert run._places({"index": np.array([3, -1])}) == ["3"]


@pytest.mark.parametrize("bad_at", [1, 3])
def test_a_nan_in_the_evaluation_ends_the_run(tmp_path, bad_at):
    made = []

    def evaluation():
        made.append(FakeData(batch_size=8, epochs=1, bad_at=bad_at if made else None))
        return made[-1]

    with pytest.raises(loop.NotFiniteError) as caught:
        fit(tmp_path, evaluation=evaluation)
    message = str(caught.value)
    assert message.startswith("evaluation after step 20: squared is not finite")
    assert "step 16 is untouched" in message and "\n" not in message
    data = FakeData(batch_size=8, epochs=1)
    indices = [" ".join(map(str, next(data)["index"])) for _ in range(bad_at)]
    assert f"position in the split: {indices[-1]};" in message


@pytest.mark.parametrize(
    "damaged",
    [b"\x00\xff\n", b"{\n", b"[3]\n", b'{"step": "3", "part": "train"}\n', b"\n", b"[" * 9999],
)
def test_a_damaged_line_of_the_log_is_dropped_and_told(six_steps, tmp_path, damaged, capsys):
    shutil.copytree(six_steps, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "metrics.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    damaged = damaged if damaged.endswith(b"\n") else damaged + b"\n"
    path.write_bytes(lines[0] + damaged + b"".join(lines[1:]))
    assert run_log.best_step(tmp_path, "squared", [6]) == 6
    assert fit(tmp_path, steps=7) == 0
    assert path.read_bytes().startswith(b"".join(lines))
    assert f"{path}: line 2 is damaged and was removed" in capsys.readouterr().out


def test_no_bit_flip_of_the_log_stops_a_run(tmp_path):
    assert fit(tmp_path, steps=20) == 0
    path, rng = tmp_path / "metrics.jsonl", random.Random(0)
    content = path.read_bytes()
    for _ in range(200):
        changed = bytearray(content)
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
        path.write_bytes(bytes(changed))
        run_log.best_step(tmp_path, "squared", [10, 20])
        run_log._cut(path, 20)
        for line in path.read_text().splitlines():
            json.loads(line)


def test_a_checkpoint_with_another_config_than_its_runs_is_refused(tmp_path):
    assert fit(tmp_path, steps=4) == 0
    changed = config(steps=9, loss__xray={**config()["loss"]["xray"], "l1": 0.5})
    workdir.write_config(tmp_path, changed)
    said = (
        r"checkpoints/4 was trained with config.loss.xray.l1=1.0, "
        r"but the run's config.json has 0.5"
    )
    with pytest.raises(InputError, match=said):
        fit(tmp_path, steps=5, loss__xray=changed["loss"]["xray"])
    workdir.write_config(tmp_path, config(steps=9))
    assert fit(tmp_path, steps=5) == 0


def test_a_run_holds_its_folder_and_leaves_none_behind_where_it_is_refused(tmp_path):
    folder = tmp_path / "run"
    asked = config(data__data_dir=str(tmp_path / "none"))
    asked["model"]["cae"] = {"image_shape": [32, 32]}
    del asked["data"]["mixup"]  # a key of Siamese-GAP alone
    with pytest.raises(InputError, match="found no prepared dataset"):
        loop.train(asked, folder)
    assert not folder.exists()
    folder.mkdir()
    with lock.hold(folder, "a training run"), pytest.raises(InputError, match="is in use by"):
        loop.train(asked, folder)
