"""Tests of the linear reading: the regression, and a generator that it is fitted for."""

import numpy as np
import pytest

from xr2mri_jax import stages
from xr2mri_jax.errors import InputError
from xr2mri_jax.evaluation import linear_reading, ship_generator
from xr2mri_jax.inference.knee_generator.load import SHIPPED
from xr2mri_jax.phantom import surfaces
from xr2mri_jax.training import config as recipe

SHAPE = (9, 8, 8, 8)


def simulated(random, n=400):
    """Features of which the first tells the score, the second too, and the rest is noise."""
    score = random.normal(size=(n, 1)).astype(np.float32)
    features = random.normal(size=(n, 6)).astype(np.float32)
    features[:, 0] = score[:, 0] + 0.1 * features[:, 0] + 5.0
    features[:, 1] = score[:, 0] + 0.1 * features[:, 1]
    return features, score


def patients(features):
    """Pairs of neighbouring rows."""
    return np.arange(len(features) // 2 * 2).reshape(-1, 2)


def both(random, n=300):
    """Features of the left and the right knee of patients, alike but for noise, in turn."""
    features, _ = simulated(random, n)
    features = np.repeat(features, 2, axis=0)
    features[:, 2:] = random.normal(size=(2 * n, 4))
    return features + (0.1 * random.normal(size=features.shape)).astype(np.float32)


def test_the_regression_predicts_the_scores_and_is_centred_on_real_radiographs():
    random = np.random.default_rng(0)
    features, score = simulated(random)
    real = both(random)
    real[:, 0] += 2.0  # real radiographs differ in their mean
    kernel, offset = linear_reading.regression(features, score, real, patients(real))
    found = real @ kernel + offset
    assert kernel.shape == (6, 1) and offset.shape == (1,)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-4)
    held_out, truth = simulated(random)
    guess = (held_out - held_out.mean(axis=0)) @ kernel
    assert np.corrcoef(guess[:, 0], truth[:, 0])[0, 1] > 0.98


def test_what_differs_between_the_knees_of_a_patient_is_not_relied_on():
    random = np.random.default_rng(1)
    features, score = simulated(random)
    real = both(random)
    pairs = patients(real)
    weights = linear_reading.regression(features, score, real, pairs)[0][:, 0]
    assert 0.5 < weights[0] / weights[1] < 2.0
    shared = real.copy()  # patients differ, their knees do not
    shared[:, 0] += np.repeat(10 * random.normal(size=len(pairs)), 2).astype(np.float32)
    weights = linear_reading.regression(features, score, shared, pairs)[0][:, 0]
    assert 0.5 < weights[0] / weights[1] < 2.0
    real[:, 0] += (10 * random.normal(size=len(real))).astype(np.float32)  # another film
    weights = linear_reading.regression(features, score, real, pairs)[0][:, 0]
    assert abs(weights[0]) < 0.05 * abs(weights[1])


def test_the_regression_equals_its_normal_equations():
    random = np.random.default_rng(2)
    features, score = simulated(random, 30)
    real = both(random, 10)
    kernel, _ = linear_reading.regression(features, score, real, patients(real))
    x, apart = features - features.mean(axis=0), real[::2] - real[1::2]
    matrix = x.T @ x / 30 + linear_reading.BOTH_WEIGHT * apart.T @ apart / 20
    wanted = np.linalg.solve(matrix + linear_reading.RIDGE * np.eye(6), x.T @ score / 30)
    np.testing.assert_allclose(kernel, wanted, rtol=1e-2, atol=1e-4)


def test_patients_with_both_knees_are_found():
    columns = {
        "subject": ["a", "b", "a", "c", "d", "d", "b"],
        "side": ["left", "right", "right", "left", "right", "left", "left"],
    }
    np.testing.assert_array_equal(linear_reading.both_knees(columns), [[0, 2], [6, 1], [5, 4]])
    one_sided = {"subject": ["c", "d", "d"], "side": ["left", "right", "unknown"]}
    with pytest.raises(InputError, match="--real: found both knees of none of 2 patients"):
        linear_reading.both_knees(one_sided)


def model():
    """A generator stage on 32 pixels with random weights, and its parameters."""
    import jax

    config = recipe.plain(recipe.default("generator"))
    config["model"]["cae"] = stages.cae.full_spec(
        {"image_shape": (32, 32), "channels": (4, 4, 6), "hidden_channels": 5}
    )
    config["model"]["generator"] = stages.generator.full_spec(
        {
            "form": "shape", "volume_shape": (16, 32, 32), "surfaces": 9, "coefficients": 1,
            "channels": (4, 4, 4), "widths": (4, 4, 4), "blocks": (1, 1, 1),
        }
    )  # fmt: skip
    stage = stages.make_stage(config)
    params, _ = stage.create(jax.random.key(0))
    return config, stage, params


def test_a_fitted_generator_reads_the_shape_of_its_examples():
    config, stage, params = model()
    random = np.random.default_rng(3)
    height = np.linspace(-7, 7, 8, dtype=np.float32)[None, :, None] * np.ones((8, 1, 8), np.float32)
    rows = np.linspace(0, 1, 32)[:, None]

    def film(size):
        """Bright below a line that lies the lower the larger the size."""
        edge = 1 / (1 + np.exp(-(rows - 0.5 - 0.1 * size) * 30))
        image = edge + 0.02 * random.normal(size=(32, 32))
        return (np.clip(image, 0, 1) * 255).astype(np.uint8)

    def example(size):
        distances = np.full(SHAPE, 7.0, np.float32)
        distances[surfaces.NAMES.index("femur")] = height + size
        views = random.normal(size=(2, 3))
        return np.stack([film(size), film(size)]), surfaces.stored(distances), views

    sizes = random.normal(size=40)

    def mean_knee(view):
        return np.full(SHAPE, view[0], np.float32)

    real = {
        "train": [
            {
                "xray": np.asarray(film(size) * np.uint16(257))[..., None],
                "subject": str(patient),
                "side": side,
            }
            for patient, size in enumerate(random.normal(size=30))
            for side in range(2)
        ]
    }
    knees = list(map(example, sizes))
    bright = np.full_like(real["train"][6]["xray"], 65535)
    strange = [{"xray": bright, "subject": "strange", "side": side} for side in range(2)]
    with_strange = {"train": [*real["train"], *strange]}
    part, both_known = linear_reading.fit(
        stage, params, iter(knees), with_strange, mean_knee, 1, exclude={"3", "strange"}
    )
    assert both_known == 29
    # An excluded patient changes nothing.
    without = {"train": [one for one in real["train"] if one["subject"] != "3"]}
    same, _ = linear_reading.fit(stage, params, iter(knees), without, mean_knee, 1)
    for name, value in part.items():
        np.testing.assert_allclose(value, same[name], rtol=1e-3, atol=1e-5)
    config["model"]["generator"] = stages.generator.full_spec(
        {**config["model"]["generator"], "reading": "linear", "coefficients": 4}
    )
    read = stages.make_stage(config)
    held_out = random.normal(size=12)
    xray = np.stack([film(size) for size in held_out])[..., None].astype(np.float32) / 255
    _, distances = read.outputs({**params, "generator": part}, xray)
    # The last components are those of the view, which these films do not show.
    assert np.ptp(part["basis"][1]) < 1e-4 and 0.7 < float(part["basis"][1].mean()) < 1.3
    np.testing.assert_allclose(part["basis"][2:], 0, atol=1e-6)
    moved = np.asarray(distances)[:, surfaces.NAMES.index("femur")].mean(axis=(1, 2, 3))
    assert np.corrcoef(moved, held_out)[0, 1] > 0.9


def test_a_linear_reading_is_fitted_for_packages_only_and_from_enough_knees(tmp_path):
    with pytest.raises(InputError, match="--reading_knees: found 5 with the training run"):
        ship_generator.ship(tmp_path, "knee_xray/box128", tmp_path / "new", reading_knees=5)
    with pytest.raises(InputError, match="found 5, expected more than the 43 components"):
        ship_generator.checked_reading_knees(5)
    with pytest.raises(InputError, match="--exclude_subjects: found a,b without --reading_knees"):
        ship_generator.ship(tmp_path, "knee_xray/box128", exclude_subjects=["a", "b"])
    assert SHIPPED.is_dir() and not (tmp_path / "new").exists()
