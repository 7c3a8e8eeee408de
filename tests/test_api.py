"""The public interface: files and arrays in, dataclasses out; its examples run."""

import doctest
import json
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import xr2mri_jax
from xr2mri_jax import api, samples
from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import Radiograph, from_canonical
from xr2mri_jax.phantom.case import simulate_case
from xr2mri_jax.tools.benchmarks.phantom_files import write_film


def test_the_examples_in_the_documentation_run():
    outcome = doctest.testmod(api)
    assert outcome.attempted >= 4 and outcome.failed == 0


def test_importing_the_package_is_light():
    probe = (
        "import sys, xr2mri_jax; print([m for m in ('jax', 'flax', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert set(xr2mri_jax.__all__) >= {"load", "predict", "grade", "simulate", "evaluate"}
    with pytest.raises(AttributeError, match="no attribute 'train'"):
        _ = xr2mri_jax.train


def test_a_file_and_an_array_have_the_same_grade():
    pixels = np.asarray(Image.open(samples.KNEE), np.float32)
    (from_file,) = xr2mri_jax.grade(samples.KNEE, side="right")
    (from_array,) = xr2mri_jax.grade(pixels, side="right")
    (from_radiograph,) = xr2mri_jax.grade(Radiograph(pixels, side="right"))
    assert from_file.probability_kl2 == from_array.probability_kl2
    assert from_radiograph.probability_kl2 == from_array.probability_kl2
    assert from_file.scale_estimated
    (stated,) = xr2mri_jax.grade(samples.KNEE, side="right", spacing=0.5)
    assert stated.joint_space_mm is not None and not stated.scale_estimated
    assert from_file.side == "right" and from_file.distance > 1
    assert any("unlike the training radiographs" in text for text in from_file.warnings)


def test_what_cannot_be_graded_is_refused():
    with pytest.raises(InputError, match="in every pixel"):
        xr2mri_jax.grade(np.zeros((200, 200), np.float32))
    with pytest.raises(InputError, match=r"shape \(2, 2, 2\), expected \[h, w\]"):
        xr2mri_jax.predict(np.zeros((2, 2, 2), np.float32))


def test_a_radiograph_that_was_not_equalised_has_the_warning_of_the_command(tmp_path):
    eight = np.asarray(Image.open(samples.KNEE).convert("L"))
    sixteen = 257 * eight.astype(np.uint16)
    Image.fromarray(sixteen).save(tmp_path / "sixteen.png")
    write_film(tmp_path / "eight.dcm", eight, (0.5, 0.5))
    for given, noted in (
        (tmp_path / "sixteen.png", True),
        (tmp_path / "eight.dcm", True),
        (sixteen, True),
        (samples.KNEE, False),
    ):
        (found,) = xr2mri_jax.grade(given, side="right")
        assert any("compare --clahe" in text for text in found.warnings) == noted
    (equalised,) = xr2mri_jax.grade(sixteen, side="right", clahe=True)
    assert not any("--clahe" in text for text in equalised.warnings)


def test_force_grades_the_middle_of_an_image_without_a_knee():
    noise = np.random.default_rng(0).integers(0, 255, (200, 200)).astype(np.float32)
    with pytest.raises(InputError, match="no knee was found"):
        xr2mri_jax.grade(noise, side="right")
    (found,) = xr2mri_jax.grade(noise, side="right", force=True)
    assert found.warnings and found.joint_space_mm is None


def test_labels_become_a_pair():
    volume = from_canonical(simulate_case(3, 0, (32, 64, 64))["labels"], "right")
    pair = xr2mri_jax.simulate(volume, "right")
    assert pair.mri.shape == volume.shape and pair.radiograph.side == "right"
    with pytest.raises(InputError, match="expected 0 or more"):
        xr2mri_jax.simulate(volume, "right", seed=-1)


def test_predict_gives_a_volume_with_true_geometry_and_its_warnings():
    prediction = xr2mri_jax.predict(samples.KNEE)
    assert re.fullmatch(
        r"Prediction\(right knee, volume of \d+ x \d+ x \d+ voxels, 2 warnings\)", repr(prediction)
    )
    assert prediction.volume.array.ndim == 3
    extent = np.multiply(prediction.volume.shape, prediction.volume.spacing)
    np.testing.assert_allclose(extent, 128.0)
    assert any(
        "spacing was estimated" in text and "have the mean knee's size" in text
        for text in prediction.warnings
    )
    assert "the mean knee's size" in prediction.record["knee"]["scale"]["note"]
    json.dumps(prediction.record)
    again = xr2mri_jax.predict(samples.KNEE, xr2mri_jax.load())
    np.testing.assert_array_equal(again.canonical, prediction.canonical)
