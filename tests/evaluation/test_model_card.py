"""The model card: a YAML library reads its head, which holds what run and metrics say."""

import json
from types import SimpleNamespace

import jax
import numpy as np
import pytest
import yaml

import xr2mri_jax
from xr2mri_jax import workdir
from xr2mri_jax.evaluation import model_card
from xr2mri_jax.inference import model_files
from xr2mri_jax.presentation.statement import MEANING

RUN = {"run": "0123456789abcdef", "config_sha256": [], "earlier": {"cae_workdir": "fedcba"}}


@pytest.fixture
def run(tmp_path):
    """A run's folder and its model, as far as the card reads them."""
    config = {
        "dtype": "bfloat16",
        "precision": "float32",
        "data": {"dataset": "knee_phantom/made", "train_split": "train", "eval_split": "test"},
        "note": "a: 'b' # ---",
    }
    checkpoint = workdir.step_folder(tmp_path, 7)
    checkpoint.mkdir(parents=True)
    (tmp_path / workdir.CONFIG).write_text(json.dumps(config))
    (tmp_path / workdir.RUN).write_text(json.dumps(RUN))
    (checkpoint / workdir.MANIFEST).write_text("{}")
    stage, weights = SimpleNamespace(name="generator"), {"kernel": np.float32([0.1, 0.2])}
    model = SimpleNamespace(config=config, stage=stage, params=weights, model_state={}, step=7)
    return tmp_path, model


def _metrics():
    return {
        "n": 4,
        "subjects": 3,
        "verdict": {"sentence": "Simulated knees: no evidence that the radiograph matters."},
        "model": {
            "psnr": {"mean": 26.05, "ci95": [25.5, 26.5]},
            "ssim3d": {"mean": 0.75, "ci95": None},
        },
        "controls": {
            "mean_volume": {
                "psnr": {"mean": 22.8, "ci95": [22.0, 23.0]},
                "ssim3d": {"mean": 0.5, "ci95": None},
            }
        },
        "evaluated": {"step": 7, "dataset": "knee_phantom/made", "split": "test",
                      "knees": "simulated"},
    }  # fmt: skip


SPLITS = {"train": [0] * 10, "test": [0] * 4}


def _parts(text):
    empty, head, body = text.split("---\n", 2)
    assert empty == ""
    return yaml.safe_load(head), body


def test_the_head_holds_the_runs_facts_and_metrics_with_intervals(run):
    folder, model = run
    head, body = _parts(model_card.of_run(folder, model, SPLITS, "simulated", _metrics()))
    assert head["library_name"] == "xr2mri_jax" and head["pipeline_tag"] == "image-to-3d"
    assert head["license"] == "other" and head["datasets"] == ["knee_phantom/made"]
    assert head["metrics"] == ["psnr", "ssim"]
    (entry,) = head["model-index"]
    (result,) = entry["results"]
    assert entry["name"] == "generator-01234567"
    assert result["task"]["type"] == "image-to-3d"
    assert result["dataset"]["split"] == "test"
    assert [(m["name"], m["value"], m["args"]["ci95"]) for m in result["metrics"]] == [
        ("psnr", 26.05, [25.5, 26.5]),
        ("ssim3d", 0.75, None),
    ]
    facts = head["xr2mri_jax"]
    assert facts["splits"] == {"train": 10, "test": 4}
    assert (facts["step"], facts["run"]) == (7, RUN["run"])
    assert facts["earlier_runs"] == RUN["earlier"]
    assert (facts["dtype_trained"], facts["knees"]) == ("bfloat16", "simulated")
    assert facts["dtype_evaluated"] == "float32"
    assert facts["versions"]["xr2mri_jax"] == xr2mri_jax.__version__
    assert facts["versions"]["jax"] == jax.__version__
    assert facts["sha256"] == {
        "config": workdir.sha256(folder / workdir.CONFIG),
        "checkpoint_manifest": workdir.sha256(workdir.step_folder(folder, 7) / workdir.MANIFEST),
    }
    assert "config" not in facts
    config = json.loads(body.split("```json\n")[1].split("```")[0])
    assert config == model.config


def test_the_body_has_verdict_data_metrics_and_limits(run):
    folder, model = run
    _, body = _parts(model_card.of_run(folder, model, SPLITS, "simulated", _metrics()))
    assert "**Verdict.** Simulated knees: no evidence" in body
    for said in (
        "train 10, test 4",
        "4 knees of 3 subjects",
        "| model | 26.05 (25.5 to 26.5) | 0.75 |",
        "| mean volume | 22.8 (22 to 23) | 0.5 |",
        "say nothing about patients",
        "not a medical device",
        MEANING,
    ):
        assert said in body, said
    assert "patients" not in _parts(model_card.of_run(folder, model, SPLITS, "real", None))[1]


def test_a_packaged_model_has_the_figures_of_its_own_weights_only(run):
    folder, model = run
    place = folder / "evaluation"
    place.mkdir()

    def packaged(views, evaluated):
        metrics = _metrics()
        metrics["evaluated"] |= evaluated
        (place / "metrics.json").write_text(json.dumps(metrics))
        return _parts(model_card.of_shipped(folder, model, SPLITS, views))

    own = {"weights_sha256": model_card.weights_sha256(model)}
    model.params = model_files.rounded(model.params)
    head, body = packaged(False, own)
    assert head["model-index"][0]["results"][0]["metrics"][0]["value"] == 26.05
    assert "before the weights were rounded to float16" in body
    assert "model-index" in packaged(True, {**own, "views": True})[0]
    model.step = 8
    for views, evaluated in (
        (True, own),
        (False, {**own, "views": True}),
        (False, {**own, "linear_probe": {}}),
        (False, {**own, "dataset": "knee_phantom/other"}),
        (False, {}),  # as older evaluations are
    ):
        head, body = packaged(views, evaluated)
        assert "model-index" not in head and "was not evaluated with the weights" in body
    # Calibrated, compacted or trained again to the same step.
    model.params = {"kernel": model.params["kernel"] * 0.9}
    head, _ = packaged(False, own)
    assert "model-index" not in head
    assert head["xr2mri_jax"]["sha256"]["checkpoint_manifest"] == ""
