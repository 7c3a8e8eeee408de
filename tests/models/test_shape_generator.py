"""Tests of the form `shape`: components, painting, and that it starts as the mean knee."""

import jax
import numpy as np
import pytest

from xr2mri_jax.errors import InputError
from xr2mri_jax.models import generator, shape_generator
from xr2mri_jax.models.oriented_gradients import oriented_gradients
from xr2mri_jax.phantom.surfaces import NAMES

SPEC = {
    "form": "shape",
    "volume_shape": (16, 32, 32),
    "surfaces": 9,
    "coefficients": 2,
    "surface_width": 4,
}
SHAPE = (9, 8, 8, 8)


def hidden(batch=2):
    random = np.random.default_rng(0)
    return tuple(
        random.normal(size=(batch, n, n, c)).astype(np.float32)
        for n, c in ((16, 2), (8, 3), (4, 5))
    )


def knees(count=12):
    """Distances of half spaces whose place follows two numbers, and volumes bright in bone."""
    random = np.random.default_rng(1)
    height = np.linspace(-7, 7, 8)[None, :, None] * np.ones((8, 1, 8))
    found = []
    for first, second in random.normal(size=(count, 2)):
        rows = [np.full((8, 8, 8), 7.5)] * 9
        rows[NAMES.index("femur")] = rows[NAMES.index("femoral_outer")] = height + 2 + first
        rows[NAMES.index("tibia")] = rows[NAMES.index("tibial_outer")] = 3 + second - height
        found.append(np.stack(rows).astype(np.float32))
    return np.stack(found)


def fitted(distances, coefficients=2):
    fit = shape_generator.Fit(SHAPE, SPEC["volume_shape"])
    mri = np.full((len(distances), 16, 32, 32, 1), 0.25, np.float32)
    mask = np.ones(len(distances), np.float32)
    fit.add({"distances": distances, "mri": mri, "example_mask": mask})
    return fit.params(coefficients)


def test_components_of_two_numbers_describe_every_knee():
    distances = knees()
    params = fitted(distances)
    np.testing.assert_allclose(params["mean"], distances.mean(axis=0), atol=2e-3)
    basis = np.asarray(params["basis"]).reshape(2, -1)
    away = (distances - distances.mean(axis=0)).reshape(len(distances), -1)
    scores = away @ np.linalg.pinv(basis)
    np.testing.assert_allclose(scores @ basis, away, atol=0.01)
    # In standard deviations of the knees.
    np.testing.assert_allclose((scores**2).mean(axis=0), 1.0, rtol=0.02)


def test_padding_is_left_out_and_too_few_knees_are_refused():
    distances = knees(4)
    fit = shape_generator.Fit(SHAPE, SPEC["volume_shape"])
    mri = np.zeros((4, 16, 32, 32, 1), np.float32)
    kept = np.array([1, 1, 1, 0], np.float32)
    fit.add({"distances": distances, "mri": mri, "example_mask": kept})
    np.testing.assert_allclose(fit.params(2)["mean"], distances[:3].mean(axis=0), atol=2e-3)
    with pytest.raises(InputError, match="found 3 for 3 training knees"):
        fit.params(3)


def test_an_untrained_generator_gives_the_mean_knee():
    distances = knees()
    model = generator.make(SPEC)
    params = {**model.init(jax.random.key(0), hidden())["params"], **fitted(distances)}
    volume, found = jax.jit(model.apply)({"params": params}, hidden())
    assert volume.shape == (2, 16, 32, 32, 1)
    np.testing.assert_allclose(found[1], distances.mean(axis=0), atol=2e-3)
    np.testing.assert_allclose(np.asarray(volume), 0.25, atol=0.26)


def test_every_tissue_is_painted_with_its_level():
    distances = np.full((1, 9, 8, 8, 8), 7.5, np.float32)
    height = np.linspace(-28, 28, 8, dtype=np.float32)[None, :, None]
    distances[0, NAMES.index("femur")] = height + 8
    distances[0, NAMES.index("femoral_outer")] = height - 8
    template = np.full((8, 8, 8), 0.9, np.float32)
    levels = np.array([0.0, 0.1, 0.5, 0.2], np.float32)
    image = np.asarray(shape_generator.painted(distances, template, levels))[0]
    # Rows at -28, -20, -12, -4, 4, 12, ... mm: bone, bone, bone, cartilage twice, the rest.
    np.testing.assert_allclose(image[4, :, 4], [0.1, 0.1, 0.1, 0.5, 0.5, 0.9, 0.9, 0.9], atol=1e-6)


def test_a_linear_reading_gives_coefficients_from_bottleneck_and_gradients():
    spec = {**SPEC, "reading": "linear"}
    model = generator.make(spec)
    levels = hidden()
    xray = np.random.default_rng(4).random((2, 32, 32, 1), np.float32)
    features = np.asarray(generator.input_of(spec, levels, xray))
    deep = levels[-1].reshape(2, -1)
    np.testing.assert_allclose(features[:, : deep.shape[1]], deep, rtol=1e-6)
    gradients = [np.asarray(part).reshape(2, -1) for part in oriented_gradients(xray)]
    np.testing.assert_allclose(features[:, deep.shape[1] :], np.concatenate(gradients, axis=1))
    assert generator.input_of(SPEC, levels, xray) is levels
    params = dict(model.init(jax.random.key(0), features)["params"])
    assert set(params) == {*fitted(knees()), "reading", "reading_offset"}
    random = np.random.default_rng(2)
    params |= fitted(knees())
    params["reading"] = random.normal(size=params["reading"].shape).astype(np.float32)
    params["reading_offset"] = np.array([0.5, -1.0], np.float32)
    _, found = jax.jit(model.apply)({"params": params}, features)
    scores = features @ params["reading"] + params["reading_offset"]
    wanted = params["mean"] + np.tensordot(scores, params["basis"], axes=1)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("changed", [{"reading": "linear", "form": "pyramid"}, {"reading": "mlp"}])
def test_a_reading_that_the_form_does_not_have_is_refused(changed):
    with pytest.raises(InputError, match=r"generator\.reading: found '(linear|mlp)' with the form"):
        generator.read_spec(
            {**SPEC, "channels": (2, 2), "widths": (2, 2), "blocks": (1, 1), **changed}
        )


@pytest.mark.parametrize("levels", [1, slice(1), slice(1, None)])
def test_maps_of_another_size_are_refused(levels):
    maps = hidden()
    given = (maps[levels],) if levels == 1 else maps[levels]
    with pytest.raises(InputError, match=r"the encoder's maps are .*, expected .*16, 16"):
        jax.eval_shape(generator.make(SPEC).init, jax.random.key(0), given)


@pytest.mark.parametrize("name", ["coefficients", "column_width"])
def test_sizes_of_zero_are_refused(name):
    with pytest.raises(InputError, match=name):
        generator.read_spec({**SPEC, name: 0})
