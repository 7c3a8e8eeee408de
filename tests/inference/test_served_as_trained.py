"""A model predicts with the contrast of the radiographs that it was trained on."""

import dataclasses
import json

import numpy as np
import pytest

from configs import cae, generator
from xr2mri_jax import datasets, workdir
from xr2mri_jax.errors import InputError
from xr2mri_jax.evaluation.run import evaluate_workdir
from xr2mri_jax.geometry import SIDES, from_canonical
from xr2mri_jax.inference.predict import predict_file
from xr2mri_jax.inference.predictor import Predictor
from xr2mri_jax.io import write_nifti
from xr2mri_jax.phantom.bilateral import simulate_bilateral
from xr2mri_jax.phantom.case import simulate_case
from xr2mri_jax.tools.benchmarks.phantom_files import write_film
from xr2mri_jax.training import inference_settings
from xr2mri_jax.training.loaded_model import load_model
from xr2mri_jax.training.loop import train

SEED, CLAHE = 7, (0.03, 24.0)
DATASET = "knee_pairs/smoke"
OPTIONS = {"split_shares": {"train": 0.5, "validation": 0.5}, "split_seed": 1}


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    """Films of both knees and MRIs of two subjects, with a manifest."""
    folder = tmp_path_factory.mktemp("collection")
    lines = ["subject,side,visit,xray,mri,kl"]
    for subject in range(2):
        film = simulate_bilateral(SEED, subject, (500, 600), (0.7, 0.7), grid_rows=96)
        write_film(folder / f"{subject}.dcm", film.image, film.spacing)
        for side in SIDES:
            knee = simulate_case(SEED, 2 * subject + (side == "left"), (32, 64, 64))
            mri = from_canonical(knee["mri"][..., 0].astype(np.float32), side)
            write_nifti(folder / f"{subject}_{side}.nii.gz", mri)
            lines.append(f"s{subject},{side},V00,{subject}.dcm,{subject}_{side}.nii.gz,")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def run(collection, tmp_path_factory):
    """The workdir of a generator that was trained on equalised radiographs, and its data."""
    folder = tmp_path_factory.mktemp("run")
    options = {**OPTIONS, "clahe": CLAHE}
    datasets.prepare(DATASET, folder / "data", 1, collection / "manifest.csv", options)
    for name, recipe in (("cae", cae), ("generator", generator)):
        config = recipe.get_config("smoke")
        config.data.update(dataset=DATASET, data_dir=str(folder / "data"), batch_size=2)
        config.update(steps=2, eval_every=2, checkpoint_every=2)
        if name == "generator":
            config.cae_workdir = str(folder / "cae")
        assert train(config, folder / name) == 0
    return folder


def test_contrast_and_dtype_travel_with_the_run(run):
    config = workdir.read_config(run / "generator")
    settings = {"clip_limit": CLAHE[0], "kernel_mm": CLAHE[1]}
    assert config["data"]["contrast"] == {"percentiles": [1.0, 99.0], "clahe": settings}
    assert config["precision"] == "auto" and config["dtype"] == "float32"
    assert Predictor(load_model(run / "generator")).contrast["clahe"] == settings


def test_a_file_is_predicted_as_the_datasets_example_is(run, collection, tmp_path):
    examples = datasets.load_builder(DATASET, run / "data").as_data_source(split="validation")
    predictor = Predictor(load_model(run / "generator"))
    plain = dataclasses.replace(load_model(run / "generator"))
    plain.config["data"].pop("contrast")
    for example in examples:
        side = SIDES[int(example["side"])]
        record = json.loads(example["record"])
        film = record["radiograph"]["file"]
        found = predict_file(run / "generator", film, tmp_path / "o.nii.gz", side)
        stored = example["xray"].astype(np.float32) / 65535
        assert np.abs(found.seen.image - stored).max() <= 0.51 / 65535
        wanted = predictor.canonical(stored[None])[0, ..., 0]
        # Stored in steps of 1 / 4096.
        np.testing.assert_allclose(found.canonical, wanted, atol=1e-4 + 0.5 / 4096)
        other = Predictor(plain)(*_knee(film, side))
        assert np.abs(other.seen.image - stored).mean() > 0.01


def _knee(film, side):
    from xr2mri_jax.io import read_radiograph
    from xr2mri_jax.preprocess.knee_request import KneeRequest
    from xr2mri_jax.preprocess.knees import one_knee

    knee = one_knee(read_radiograph(film), KneeRequest(side))
    return knee.radiograph, knee.place.centre_px


def test_evaluation_says_the_dtype_and_refuses_another_contrast(run, collection, tmp_path):
    evaluate_workdir(run / "cae", "validation", tmp_path / "report")
    evaluated = json.loads((tmp_path / "report" / "metrics.json").read_text())["evaluated"]
    assert (evaluated["dtype_trained"], evaluated["dtype_evaluated"]) == ("float32", "float32")
    datasets.prepare(DATASET, tmp_path / "data", 1, collection / "manifest.csv", OPTIONS)
    with pytest.raises(InputError, match="prepared with clahe=None, expected clahe="):
        evaluate_workdir(run / "cae", "validation", tmp_path / "other", str(tmp_path / "data"))
    config = cae.get_config("smoke")
    config.data.update(dataset=DATASET, data_dir=str(tmp_path / "data"), batch_size=2)
    config.update(steps=4, eval_every=2, checkpoint_every=2)
    with pytest.raises(InputError, match=r"config\.data\.contrast\.clahe"):
        train(config, run / "cae")
    config.data.data_dir, config.precision = str(run / "data"), "bfloat16"
    with pytest.raises(
        InputError, match=r"in float32, .*continue it with --config.precision=float32"
    ):
        train(config, run / "cae")


def test_runs_older_than_the_entries_have_the_default_contrast(run):
    config = {"data": {}, "precision": "bfloat16"}
    builder = datasets.load_builder(DATASET, run / "data")
    with pytest.raises(InputError, match="expected clahe=None"):
        inference_settings.require_same_contrast(config, builder)
    assert inference_settings.dtype_name(config) == "bfloat16"
