"""The suite that compares simulated with real films of the same knees, on made numbers."""

import numpy as np
import pytest

from xr2mri_jax.errors import InputError
from xr2mri_jax.inference.knee_grader.load import load_grader
from xr2mri_jax.inference.knee_grader.network import Network
from xr2mri_jax.tools.benchmarks import film, suites


def test_grades_are_compared_knee_by_knee():
    real = np.array([0.0, 1.0, 2.0, 3.0]), np.array([0.5, 0.6, 0.7, 0.9])
    found = film.compared((real[0] + 0.5, np.array([1.0, 1.2, 1.3, 2.0])), real)
    assert found == pytest.approx({"r": 1.0, "difference": 0.5, "distance": 1.25})
    text = film.table({"knees": 4, "rows": {film.REAL: found, film.DRAWN: found, "-8": found}})
    assert "4 knees" in text and "| flexed by -8° | 1.00 | +0.50 | 1.25 |" in text


def test_every_image_is_seen_in_its_place():
    grader = load_grader()
    network = Network(grader, film.BATCH)
    images = np.random.default_rng(0).random((film.BATCH + 1, 224, 224), np.float32)
    grades, distances = film.grade_images(network, grader, images)
    assert grades.shape == distances.shape == (film.BATCH + 1,)
    again = film.grade_images(network, grader, images[-1:])
    np.testing.assert_allclose([grades[-1], distances[-1]], np.ravel(again), rtol=1e-4)


def test_real_data_are_asked_for():
    with pytest.raises(InputError, match="--real is missing: expected a folder with"):
        film.run(None)
    assert "film" in suites.NAMES
