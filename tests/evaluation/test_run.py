"""A whole evaluation of a made stage: files, provenance, refusals, exit code."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from xr2mri_jax.errors import InputError
from xr2mri_jax.evaluation import run
from xr2mri_jax.training import trained as trained_models

SHAPE = (12, 16, 16)
REPOSITORY = Path(__file__).parents[2]


def _examples(count, seed):
    rng = np.random.default_rng(seed)
    examples = []
    for i in range(count):
        level = rng.uniform(0.2, 0.9)
        xray = np.full((*SHAPE[1:], 1), level) + rng.normal(0, 0.02, (*SHAPE[1:], 1))
        mri = np.full((*SHAPE, 1), level) * np.linspace(0.2, 1, SHAPE[0])[:, None, None, None]
        examples.append(
            {
                "xray": np.rint(xray.clip(0, 1) * 65535).astype(np.uint16),
                "mri": np.rint(mri * 65535).astype(np.uint16),
                "mask": np.ones((*SHAPE, 1), np.uint8),
                "side": i % 2,
                "kl": i % 5,
                "subject": f"{seed}-{i}",
            }
        )
    return examples


class _Made(dict):
    """Stands for a prepared dataset: examples by split, in no folder."""

    data_path = "/made"


class _Stage:
    name = "generator"

    def predict(self, params, model_state, xray):
        level = xray.mean(axis=(1, 2, 3)).reshape(-1, 1, 1, 1, 1)
        ramp = jnp.linspace(0.2, 1, SHAPE[0])[:, None, None, None]
        return jnp.broadcast_to(params["gain"] * level * ramp, (len(xray), *SHAPE, 1))


class _Reconstructing:
    name = "cae"

    def reconstruct(self, params, xray):
        return params["gain"] * xray


@pytest.fixture
def trained(monkeypatch):
    """`evaluate_workdir` finds this model and dataset, whatever the folder's name."""
    model = SimpleNamespace(
        stage=_Stage(),
        params={"gain": np.float32(0.95)},
        model_state={},
        step=3,
        config={
            "precision": "float32",
            "data": {"dataset": "knee_phantom/made", "data_dir": "there", "train_split": "train"},
            "model": {"cae": {"preset": "compact", "image_shape": (16, 16)}},
        },
    )
    source = _Made(train=_examples(6, 0), test=_examples(5, 1))
    monkeypatch.setattr(trained_models, "load_model", lambda folder, step: model)
    monkeypatch.setattr(run.datasets, "load_builder", lambda name, data_dir: source, raising=False)
    return model


def test_generator_gives_metrics_table_and_report(trained, tmp_path, capsys):
    path = run.evaluate_workdir(tmp_path, batch_size=2)
    assert path == tmp_path / "evaluation" / "index.html"
    written = {"index.html", "metrics.json", "cases.csv", "assets", "cases"}
    assert {p.name for p in path.parent.iterdir()} == written
    assert {p.name for p in (path.parent / "cases").iterdir()} == {f"case-{i}.js" for i in range(5)}
    found = json.loads((path.parent / "metrics.json").read_text())
    assert found["n"] == 5 and found["evaluated"]["step"] == 3
    assert found["evaluated"]["dataset"] == "knee_phantom/made"
    assert found["model"]["psnr"]["mean"] > found["controls"]["mean_volume"]["psnr"]["mean"]
    text = path.read_text()
    assert text.count("<figure><img") == 5 and text.count('data-show="case-') == 5 + 5 + 3
    assert "dB PSNR" in capsys.readouterr().out
    # Again into the same folder: its folders are replaced too.
    page = tmp_path / "one.html"
    assert run.evaluate_workdir(tmp_path, batch_size=2, page=page) == path
    assert {p.name for p in path.parent.iterdir()} == written
    assert page.read_text().count('type="application/json" id="case-') == 5


def test_auto_encoder_gives_metrics_beside_a_pca(trained, tmp_path):
    trained.stage = _Reconstructing()
    path = run.evaluate_workdir(tmp_path, output=tmp_path / "there")
    found = json.loads((path.parent / "metrics.json").read_text())
    assert path.parent == tmp_path / "there"
    assert set(found["model"]) == {"psnr", "ssim", "mae"}
    assert set(found["controls"]) == {"mean_radiograph", "pca"}
    assert found["hidden_variables"]["model"] == 32 and found["hidden_variables"]["pca"] == 5


def test_best_median_and_worst_are_chosen_by_psnr(trained, tmp_path):
    found = SimpleNamespace(
        values={"model": {"psnr": np.array([3.0, 1.0, 2.0, 9.0])}},
        cases={"index": [0, 1, 2, 3], "side": ["left"] * 4, "kl": ["2"] * 4},
    )
    assert [i for _, i in run.extremes(found)] == [3, 0, 1]
    assert "9.00 dB" in run.extremes(found)[0][0]


def test_a_stage_without_pictures_is_refused(trained, tmp_path):
    trained.stage = SimpleNamespace(name="siamese_gap")
    with pytest.raises(InputError, match="siamese_gap"):
        run.evaluate_workdir(tmp_path)
    with pytest.raises(InputError, match="--batch_size: 0"):
        run.evaluate_workdir(tmp_path, batch_size=0)


def test_a_folder_without_a_run_ends_with_code_2(tmp_path):
    command = [sys.executable, str(REPOSITORY / "launch" / "evaluate.py"), f"--workdir={tmp_path}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: ") and str(tmp_path) in line
