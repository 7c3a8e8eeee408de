"""The shipped form of a grader: written and read, refused when broken, made from a run."""

import dataclasses

import command_process
import jax
import made_grader
import numpy as np
import pytest

from xr2mri_jax import files
from xr2mri_jax.errors import InputError
from xr2mri_jax.evaluation import model_card, ship_grader
from xr2mri_jax.inference.knee_grader import file_format, load
from xr2mri_jax.inference.knee_grader.network import Network, early_probability
from xr2mri_jax.metrics import calibration, classification
from xr2mri_jax.metrics.calibration import Scaling
from xr2mri_jax.models import siamese_gap, views
from xr2mri_jax.training.loaded_model import load_best


@pytest.fixture(scope="module")
def grader():
    return made_grader.grader()


@pytest.fixture
def written(grader, tmp_path):
    file_format.write(tmp_path, grader)
    return tmp_path


def test_what_is_written_is_read(written, grader):
    read = file_format.read(written)
    jax.tree.map(np.testing.assert_array_equal, read.params, grader.params)
    jax.tree.map(np.testing.assert_array_equal, read.model_state, grader.model_state)
    assert (read.network, read.grades) == (grader.network, grader.grades)
    assert read.contrast["clahe"] is None and read.image_shape == (32, 32)
    assert read.calibration == grader.calibration and read.calibration.threshold == 0.5
    noise = np.random.default_rng(2).random((3, 32, 32, 1), np.float32)
    (logits, features), (again, _) = Network(grader, 4)(noise), Network(read, 4)(noise)
    np.testing.assert_array_equal(logits, again)
    np.testing.assert_array_equal(
        read.novelty_detector.distance(features), grader.novelty_detector.distance(features)
    )


def test_the_full_network_stays_below_six_megabytes(grader, tmp_path):
    model = siamese_gap.make({})
    xray = jax.ShapeDtypeStruct((1, 224, 224, 1), np.float32)
    shapes = jax.eval_shape(model.init, jax.random.key(0), xray)
    rng = np.random.default_rng(0)
    full = jax.tree.map(lambda x: rng.normal(0, 0.1, x.shape).astype(np.float32), shapes)
    novelty_detector = dataclasses.replace(
        grader.novelty_detector,
        mean=np.zeros(480, np.float32),
        deviation=np.ones(480, np.float32),
        factor=np.tril(rng.normal(size=(480, 480))).astype(np.float16),
    )
    big = dataclasses.replace(
        grader,
        params=full["params"],
        model_state=full["batch_stats"],
        novelty_detector=novelty_detector,
    )
    file_format.write(tmp_path, big)
    assert (tmp_path / "weights.npz").stat().st_size < 6e6


def test_the_network_fills_its_batch_and_is_the_flax_module(grader):
    noise = np.random.default_rng(3).random((5, 32, 32, 1), np.float32)
    logits, features = Network(grader, 8)(noise)
    spec = {k: v for k, v in grader.network.items() if k != "kind"}
    module = siamese_gap.make(spec)
    variables = {"params": grader.params, "batch_stats": grader.model_state}
    np.testing.assert_allclose(logits, module.apply(variables, noise), atol=1e-5)
    wanted = module.apply(variables, noise, method="features")
    np.testing.assert_allclose(features, wanted, atol=1e-5)
    one = np.exp(logits[:, 1] / 2) / np.exp(logits / 2).sum(axis=1)
    np.testing.assert_allclose(early_probability(logits, (0, 2), Scaling(2.0)), one)


def test_a_grader_of_views_gives_their_mean(grader, tmp_path):
    several = dataclasses.replace(grader, views=True)
    file_format.write(tmp_path, several)
    read = file_format.read(tmp_path)
    assert read.views
    noise = np.random.default_rng(3).random((2, 32, 32, 1), np.float32)
    logits, features = Network(read, 4)(noise)
    one, one_features = Network(grader, 4)(noise)
    seen = np.asarray(views.over_views(lambda x: x, noise))
    wanted = np.mean([Network(grader, 4)(view)[0] for view in seen], axis=0)
    np.testing.assert_allclose(logits, wanted, rtol=1e-5)
    np.testing.assert_allclose(features, one_features, rtol=1e-5)
    assert np.abs(logits - one).max() > 1e-4


def test_no_device_may_multiply_with_fewer_digits(grader):
    network = Network(grader, 2)
    program = network._program.lower(network._variables, np.zeros((2, 32, 32, 1), np.float32))
    text = program.as_text()
    assert "precision HIGHEST" in text and "precision DEFAULT" not in text


def test_weights_too_large_for_float16_are_refused():
    with pytest.raises(InputError, match="float16"):
        file_format.rounded({"a": np.float32([1e6])})


def test_without_a_shipped_model_the_error_says_what_to_give(monkeypatch, tmp_path):
    for name, model in (("SHIPPED", load.EARLY), ("SHIPPED_GRADES", "")):
        monkeypatch.setattr(load, name, tmp_path)
        with pytest.raises(InputError, match="--model: no grader is shipped"):
            load.load_grader(model)


@pytest.fixture
def run_folder(tmp_path, monkeypatch):
    source = made_grader.Source(tmp_path)
    monkeypatch.setattr(ship_grader.datasets, "load_builder", lambda name, folder: source)
    return made_grader.write_run(tmp_path / "run")


def test_a_run_becomes_a_shipped_grader(run_folder, tmp_path):
    (tmp_path / "preparation.json").write_text('{"options": {"clahe": [0.01, 16.0]}}')
    evaluated = {
        "weights_sha256": model_card.weights_sha256(load_best(run_folder)),
        "dataset": made_grader.config()["data"]["dataset"], "knees": "real", "split": "test",
    }  # fmt: skip
    metrics = {"model": {"auc": {"mean": 0.75, "ci95": None}}, "n": 4, "subjects": 2}
    (run_folder / "evaluation").mkdir()
    files.write_json(run_folder / "evaluation" / "metrics.json", metrics | {"evaluated": evaluated})
    _, folder = ship_grader.ship(run_folder, tmp_path / "shipped", equalised=True)
    assert "| model | 0.75 |" in (folder / "README.md").read_text()
    written = ["README.md", "model.json", "weights.npz"]
    assert sorted(path.name for path in folder.iterdir()) == written
    read = load.load_grader(folder)
    assert read.contrast["clahe"] == {"clip_limit": 0.01, "kernel_mm": 16.0}
    found = read.calibration
    assert read.training["step"] == 3 and read.training["equalised"] is True
    assert found.knees + read.training["training_knees"] == 60
    assert found.subjects + read.training["training_subjects"] == 30
    # What is stored is what the rounded weights give on the held-out patients.
    held_out = ship_grader._run_network(
        Network(read, 16), made_grader.Source(tmp_path), made_grader.config()["data"], "held_out"
    )
    assert found.temperature == pytest.approx(
        calibration.fit_temperature(held_out.logits, held_out.label), rel=1e-4
    )
    score = early_probability(held_out.logits, read.grades, found.scaling)
    for row in found.thresholds:
        at = classification.accuracies(score, held_out.label, row["probability"] - 1e-6)
        assert at["sensitivity"] >= row["sensitivity_wanted"]
        assert at["specificity"] == pytest.approx(row["specificity"])
    assert np.quantile(read.novelty_detector.distance(held_out.features), 0.99) == pytest.approx(
        1, 1e-4
    )
    with pytest.raises(InputError, match="new or empty folder"):
        ship_grader.ship(run_folder, folder)


def test_views_are_calibrated_as_they_will_be_used(run_folder, tmp_path):
    one = ship_grader.make_grader(run_folder)
    several = ship_grader.make_grader(run_folder, views=True)
    assert several.views and not one.views
    assert several.calibration.temperature != one.calibration.temperature
    np.testing.assert_allclose(several.novelty_detector.mean, one.novelty_detector.mean, rtol=1e-5)
    assert several.novelty_detector.scale == pytest.approx(one.novelty_detector.scale, rel=1e-4)


def test_a_run_that_cannot_be_calibrated_is_refused(run_folder, monkeypatch, tmp_path):
    source = made_grader.Source(tmp_path, grades=(2,))
    monkeypatch.setattr(ship_grader.datasets, "load_builder", lambda name, folder: source)
    with pytest.raises(InputError, match=r"grades \[2\], expected 0 and 2"):
        ship_grader.ship(run_folder, tmp_path / "shipped")
    config = made_grader.config()
    config["data"]["held_out"] = 0.0
    made_grader.write_run(run_folder, config)
    with pytest.raises(InputError, match="held_out is 0"):
        ship_grader.ship(run_folder, tmp_path / "shipped")
    assert not (tmp_path / "shipped").exists()


def test_a_run_itself_is_not_calibrated(tmp_path):
    grader = load.load_grader(made_grader.write_run(tmp_path / "run"))
    assert grader.calibration is None and grader.novelty_detector is None
    wanted = file_format.rounded(made_grader.arrays()[0])
    jax.tree.map(np.testing.assert_array_equal, grader.params, wanted)


def test_the_command_refuses_a_folder_without_a_run(tmp_path):
    done = command_process.run("ship_grader", f"--workdir={tmp_path}")
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr
    assert "no config.json" in done.stderr
