"""A whole evaluation of a made stage: files, provenance, refusals, exit code."""

import dataclasses
import html
import json
import re
from types import SimpleNamespace

import command_process
import jax.numpy as jnp
import markupsafe
import numpy as np
import pytest
from made_uncertainty import uncertainty

from xr2mri_jax import workdir
from xr2mri_jax.errors import InputError
from xr2mri_jax.evaluation import conventions as other_conventions
from xr2mri_jax.evaluation import model_card, run
from xr2mri_jax.inference.uncertainty import model as uncertainties
from xr2mri_jax.runtime import lock
from xr2mri_jax.training import loaded_model as trained_models

SHAPE = (12, 16, 16)


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
        fingerprints={},
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
    written = {"index.html", "metrics.json", "cases.csv", "README.md", "assets", "cases"}
    assert {p.name for p in path.parent.iterdir()} == written
    assert {p.name for p in (path.parent / "cases").iterdir()} == {f"case-{i}.js" for i in range(5)}
    found = json.loads((path.parent / "metrics.json").read_text())
    assert found["n"] == 5 and found["evaluated"]["step"] == 3
    assert found["evaluated"]["dataset"] == "knee_phantom/made"
    assert found["evaluated"]["weights_sha256"] == model_card.weights_sha256(trained)
    assert found["model"]["psnr"]["mean"] > found["controls"]["mean_volume"]["psnr"]["mean"]
    text = path.read_text()
    assert text.count("<figure><img") == 5 and text.count('data-show="case-') == 5 + 5 + 3
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == found["verdict"]["sentence"] and "dB PSNR" in printed[1]
    assert f'<p class="verdict">{html.escape(printed[0])}</p>' in text
    # Again into the same folder: its folders are replaced too.
    page = tmp_path / "one.html"
    assert run.evaluate_workdir(tmp_path, batch_size=2, page=page) == path
    assert {p.name for p in path.parent.iterdir()} == written
    assert page.read_text().count('type="application/json" id="case-') == 5
    with pytest.raises(InputError, match=r"--page: .*index\.html is already another file of this"):
        run.evaluate_workdir(tmp_path, page=path)


def test_doubts_are_on_screen_in_the_metrics_and_on_the_page(
    trained, tmp_path, monkeypatch, caplog
):
    workdir.start_run(tmp_path, {}, ["the start is doubtful"])
    monkeypatch.setattr(run, "doubts_of_evaluation", lambda *_: ["so is the split"])
    monkeypatch.setattr(run, "origin", lambda *_: ("unknown", ["so is the origin"]))
    path = run.evaluate_workdir(tmp_path, batch_size=2)
    doubts = ["the start is doubtful", "so is the split", "so is the origin"]
    found = json.loads((path.parent / "metrics.json").read_text())
    assert found["evaluated"]["doubts"] == doubts
    card = (path.parent / "README.md").read_text()
    for doubt in doubts:
        assert f"Doubt: {doubt}." in path.read_text() and f"- Doubt: {doubt}." in card
        assert doubt in caplog.messages


def test_intervals_are_tested_where_they_were_fitted(trained, tmp_path, monkeypatch):
    uncertainties.write(tmp_path / uncertainties.NAME, uncertainty(False), trained.params)
    path = run.evaluate_workdir(tmp_path, batch_size=2)
    found = json.loads((path.parent / "metrics.json").read_text())["uncertainty"]
    assert found["fitted_on"] == 5
    share = found["intensity"]["whole field"]["coverage"]
    assert 0 < share["mean"] <= 1 and share["ci95"][0] <= share["mean"]
    assert "coverage of the true values by the 90% intervals" in path.read_text()
    # Of other weights it is not used.
    other = {"weights": np.zeros(3)}
    uncertainties.write(tmp_path / uncertainties.NAME, uncertainty(False), other)
    path = run.evaluate_workdir(tmp_path, batch_size=2)
    found = json.loads((path.parent / "metrics.json").read_text())
    (doubt,) = found["evaluated"]["doubts"]
    assert "uncertainty" not in found and "was fitted to other weights of this run" in doubt


def test_coverage_on_the_split_of_the_fit_is_doubted(trained, tmp_path, caplog):
    fitted = uncertainties.FittedSplit("knee_phantom/made", "test")
    made = dataclasses.replace(uncertainty(False), fitted=fitted)
    uncertainties.write(tmp_path / uncertainties.NAME, made, trained.params)
    path = run.evaluate_workdir(tmp_path, batch_size=2)
    found = json.loads((path.parent / "metrics.json").read_text())
    (doubt,) = found["evaluated"]["doubts"]
    assert doubt == "the intervals were fitted on the split 'test': their coverage is in-sample"
    assert doubt in caplog.messages and f"Doubt: {markupsafe.escape(doubt)}." in path.read_text()
    assert found["uncertainty"]["fitted_split"] == dataclasses.asdict(fitted)
    assert (found["uncertainty"]["knees"], found["uncertainty"]["knees_of_split"]) == (5, 5)
    assert "was measured on 5 of 5 knees of the evaluated split" in path.read_text()


def test_a_report_on_phantoms_never_says_real(trained, tmp_path):
    path = run.evaluate_workdir(tmp_path, batch_size=2)
    assert (
        json.loads((path.parent / "metrics.json").read_text())["verdict"]["origin"] == "simulated"
    )
    assert "Planes of the simulated and predicted volume" in path.read_text()
    assert not re.search(r"\breal\b", re.sub(r"base64,[^\"]*", "", path.read_text()), re.IGNORECASE)


def test_other_conventions_are_measured_when_asked(trained, tmp_path):
    asked = ["x2ct_gan", "no_data_range", "monai", "further"]
    path = run.evaluate_workdir(tmp_path, batch_size=2, conventions=asked)
    found = json.loads((path.parent / "metrics.json").read_text())["conventions"]
    assert list(found) == asked
    for one in found.values():
        assert set(one["controls"]) == {"mean_volume", "nearest_neighbour", "shuffled_xray"}
        for metric, value in one["model"].items():
            assert value["ci95"][0] <= value["mean"] <= value["ci95"][1], metric
    assert found["x2ct_gan"]["model"]["psnr_3d"]["mean"] > 30
    assert found["further"]["model"]["nmse"]["mean"] < 0.02
    assert "Other conventions" in path.read_text() and "ms_ssim" in path.read_text()
    with pytest.raises(InputError, match="--conventions: found 'fid', expected some of x2ct_gan"):
        run.evaluate_workdir(tmp_path, conventions=["fid"])
    with pytest.raises(InputError, match="found volumes of 8 x 12 x 12 voxels, expected at least"):
        other_conventions.require(["further", "monai"], (8, 12, 12))


def test_auto_encoder_gives_metrics_beside_a_pca(trained, tmp_path):
    trained.stage = _Reconstructing()
    with pytest.raises(InputError, match="expected one that predicts volumes"):
        run.evaluate_workdir(tmp_path, conventions=["monai"])
    path = run.evaluate_workdir(tmp_path, output=tmp_path / "there")
    found = json.loads((path.parent / "metrics.json").read_text())
    assert path.parent == tmp_path / "there"
    assert set(found["model"]) == {"psnr", "ssim", "mae"}
    assert set(found["controls"]) == {"mean_radiograph", "pca"}
    assert "5 subjects are too few" in found["verdict"]["sentence"]
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


def test_a_folder_that_another_evaluation_writes_is_refused(trained, tmp_path):
    with (
        lock.hold_beside(tmp_path / "evaluation", "an evaluation"),
        pytest.raises(InputError, match="evaluation: is in use by an evaluation, process"),
    ):
        run.evaluate_workdir(tmp_path, batch_size=2)
    assert not list(tmp_path.iterdir())


def test_a_folder_without_a_run_ends_with_code_2(tmp_path):
    done = command_process.run("evaluate", f"--workdir={tmp_path}")
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: ") and str(tmp_path) in line
