"""Tests of the classifier's stage with five ordered grades."""

import jax
import numpy as np
import pytest

from xr2mri_jax import losses, stages
from xr2mri_jax.errors import InputError
from xr2mri_jax.inference import novelty
from xr2mri_jax.inference.knee_grader import file_format
from xr2mri_jax.metrics import base as metrics
from xr2mri_jax.metrics import grading
from xr2mri_jax.stages import packaged_grader
from xr2mri_jax.training import config as recipe

SMALL = {"image_shape": [16, 16], "channels": [3, 4], "convolutions": [1, 1], "levels": [1, 2]}
ROWS = [{"sensitivity_wanted": 0.9, "probability": 0.5, "sensitivity": 0.9, "specificity": 0.5}]
BINS = {"count": [4.0], "probability": [0.3], "frequency": [0.25]}


def config(start="", **spec):
    made = recipe.plain(recipe.default("siamese_gap"))
    made["model"]["classifier"] = {**SMALL, "head": "ordinal", "classes": 5, **spec}
    made["data"]["grades"] = [0, 1, 2, 3, 4]
    made["classifier_workdir"] = str(start)
    return stages.resolve(made)


def batch():
    random = np.random.default_rng(0)
    return {
        "xray": random.random((10, 16, 16, 1), np.float32),
        "kl": np.arange(10, dtype=np.int32) % 5,
    }


@pytest.fixture(scope="module")
def grader(tmp_path_factory):
    """The folder of a packaged binary grader of random numbers, and what it was made of."""
    folder = tmp_path_factory.mktemp("grader")
    made = recipe.plain(recipe.default("siamese_gap"))
    made["model"]["classifier"] = dict(SMALL)
    stage = stages.make_stage(stages.resolve(made))
    params, state = map(file_format.rounded, stage.init(jax.random.key(5), batch()))
    noise = np.random.default_rng(1).normal(size=(24, 7))
    whole = file_format.KneeGrader(
        stage.spec,
        (0, 2),
        params,
        state,
        {"percentiles": [1.0, 99.0], "clahe": None},
        {},
        file_format.Calibration(1.0, ROWS, BINS, 0.1, 0.1, 4, 4),
        novelty.fit(noise[:16], noise[16:]),
    )
    file_format.write(folder, whole)
    return folder, params, state


def test_evaluation_gives_the_metrics_of_the_confusion_matrix():
    stage = stages.make_stage(config())
    assert stage.chosen_by == "quadratic_kappa"
    params, state = stage.init(jax.random.key(0), batch())
    values = jax.jit(stage.evaluate)(params, state, batch())
    summary = stage.summarise(metrics.from_batch(values))
    logits = np.asarray(stage.classify(params, state, batch()["xray"]))
    assert logits.shape == (10, 5)
    np.testing.assert_allclose(np.exp(logits).sum(axis=1), 1, rtol=1e-5)
    counts = grading.confusion(logits.argmax(axis=1), batch()["kl"], 5)
    for name, value in grading.from_confusion(counts).items():
        assert summary[name] == pytest.approx(value)
    assert summary["loss"] == pytest.approx(
        float(np.mean(losses.cross_entropy(logits, batch()["kl"]))), rel=1e-5
    )


def test_training_starts_from_a_packaged_grader_with_a_new_last_layer(grader):
    folder, params, state = grader
    stage = stages.make_stage(config(folder))
    found, moments = stage.init(jax.random.key(0), batch())
    for ours, theirs in ((found["branch"], params["branch"]), (moments, state)):
        jax.tree.map(np.testing.assert_array_equal, ours, theirs)
    assert found["head"]["kernel"].shape == (7, 4)
    fresh = stages.make_stage(config()).init(jax.random.key(0), batch())[0]
    np.testing.assert_array_equal(found["head"]["kernel"], fresh["head"]["kernel"])
    with pytest.raises(InputError, match=r"channels is \[3, 5\], but .* was trained with \[3, 4\]"):
        config(folder, channels=[3, 5])


def test_files_of_two_graders_are_refused(grader, tmp_path):
    folder = grader[0]
    content = (folder / packaged_grader.WEIGHTS).read_bytes()
    (tmp_path / packaged_grader.DESCRIPTION).write_text(
        (folder / packaged_grader.DESCRIPTION).read_text()
    )
    (tmp_path / packaged_grader.WEIGHTS).write_bytes(content + b" ")
    with pytest.raises(InputError, match=r"weights.npz: its SHA-256 is not the one in model.json"):
        packaged_grader.variables(tmp_path)
    (tmp_path / packaged_grader.DESCRIPTION).write_text("{}")
    with pytest.raises(InputError, match="network: found None, expected a grader's"):
        config(tmp_path)


def test_labels_are_spread_by_beta_distributions():
    made = config()
    made["loss"].update(label_smoothing=0.6, label_spread="beta")
    stage = stages.make_stage(stages.resolve(made))
    params, state = stage.init(jax.random.key(0), batch())
    keys = jax.random.split(jax.random.key(0), 10)
    value, _ = stage.loss(params, state, batch(), keys, False)
    logits, label = stage.classify(params, state, batch()["xray"]), batch()["kl"]
    wanted = losses.cross_entropy(logits, label, 0.6, losses.beta_labels(5))
    np.testing.assert_allclose(value, wanted, rtol=1e-5)
    for spread, grades in (("gauss", [0, 2]), ("beta", [0, 2]), ("beta", [0, 1, 2, 3, 4, 5])):
        asked = {**made, "loss": {**made["loss"], "label_spread": spread}}
        asked["data"] = {**made["data"], "grades": grades}
        asked["model"] = {"classifier": {**SMALL}}
        with pytest.raises(InputError, match="label_spread is"):
            stages.resolve(asked)
