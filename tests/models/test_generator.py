"""The generator: both forms, shapes, gradients, the mean volume, refused specifications."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xr2mri_jax.errors import InputError
from xr2mri_jax.models import cae, generator

CAE = {"image_shape": (16, 8), "channels": (4, 6), "hidden_channels": 3}
SIZES = {"channels": (3, 4), "widths": (5, 6), "blocks": (1, 2)}
PYRAMID = {"form": "pyramid", "volume_shape": (12, 16, 8), **SIZES}
VECTOR = {**PYRAMID, "form": "vector"}


def _hidden(batch=2, spec=CAE):
    random = np.random.default_rng(3)
    shapes = cae.hidden_shapes(spec)
    return tuple(random.standard_normal((batch, *shape)).astype(np.float32) for shape in shapes)


def _filled(spec, dtype=jnp.float32):
    """The model with noise for parameters (an initialisation would take seconds to compile)."""
    model = generator.make(spec, dtype)
    random = np.random.default_rng(7)
    shapes = jax.eval_shape(model.init, jax.random.key(0), _hidden())
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {jnp.dtype(jnp.float32)}
    noise = jax.tree.map(lambda p: 0.2 * random.standard_normal(p.shape, np.float32), shapes)
    return model, noise


@pytest.mark.parametrize("shape", [(64, 128, 128), (48, 96, 96), (16, 32, 32)])
@pytest.mark.parametrize("form", ["pyramid", "vector"])
def test_default_sizes_for_every_volume(shape, form):
    spec = {"image_shape": shape[1:]}
    hidden = tuple(jax.ShapeDtypeStruct((2, *s), jnp.float32) for s in cae.hidden_shapes(spec))
    model = generator.make({"form": form, "volume_shape": shape})
    params = jax.eval_shape(model.init, jax.random.key(0), hidden)
    output = jax.eval_shape(model.apply, params, hidden)
    assert output.shape == (2, *shape, 1) and output.dtype == jnp.float32
    count = sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(params))
    assert count < (40e6 if form == "vector" else 8e6)


@pytest.mark.parametrize("spec", [PYRAMID, VECTOR])
def test_jitted_equals_not_jitted_and_examples_do_not_mix(spec):
    model, params = _filled(spec)
    hidden = _hidden()
    apply = jax.jit(model.apply)
    volume = apply(params, hidden)
    assert volume.shape == (2, 12, 16, 8, 1) and volume.dtype == jnp.float32
    assert volume.min() >= 0.0 and volume.max() <= 1.0
    np.testing.assert_allclose(model.apply(params, hidden), volume, atol=1e-5)
    second = apply(params, tuple(h[1:] for h in hidden))
    np.testing.assert_allclose(second, volume[1:], atol=1e-5)
    assert np.abs(np.asarray(volume[0] - volume[1])).max() > 1e-3


@pytest.mark.parametrize("spec", [PYRAMID, VECTOR])
def test_the_gradient_reaches_every_parameter(spec):
    model, params = _filled(spec)

    def loss(params):
        return jnp.sum(model.apply(params, _hidden()) ** 2)

    grads = jax.jit(jax.grad(loss))(params)
    silent = [path for path, g in jax.tree.leaves_with_path(grads) if not np.abs(g).max() > 0]
    assert not silent


@pytest.mark.parametrize("spec", [PYRAMID, VECTOR])
def test_bfloat16_keeps_float32_parameters_and_output(spec):
    model, params = _filled(spec, jnp.bfloat16)
    output = jax.jit(model.apply)(params, _hidden())
    assert output.dtype == jnp.float32
    full = jax.jit(generator.make(spec).apply)(params, _hidden())
    np.testing.assert_allclose(output, full, atol=0.03)
    assert np.abs(np.asarray(output - full)).max() > 0


@pytest.mark.parametrize("spec", [PYRAMID, VECTOR])
def test_the_untrained_generator_returns_the_mean_level_or_the_mean_volume(spec):
    spec = {**spec, "mean_level": 0.15}
    model = generator.make(spec)
    params = jax.jit(model.init)(jax.random.key(0), _hidden())["params"]
    apply = jax.jit(model.apply)
    np.testing.assert_allclose(apply({"params": params}, _hidden()), 0.15, atol=1e-6)
    mean = np.random.default_rng(0).uniform(0.01, 0.99, (12, 16, 8, 1)).astype(np.float32)
    params = generator.with_mean_volume(params, spec, mean)
    volume = apply({"params": params}, _hidden())
    np.testing.assert_allclose(volume, np.stack([mean, mean]), atol=1e-5)


def test_the_pyramid_is_aligned_with_the_radiograph():
    model, params = _filled({**PYRAMID, "blocks": (0, 0)})
    hidden = _hidden(1)
    finest = hidden[0].copy()
    finest[0, 2, 3] += 1.0
    apply = jax.jit(model.apply)
    difference = apply(params, (finest, *hidden[1:])) - apply(params, hidden)
    reached = np.abs(np.asarray(difference))[0, ..., 0].max(axis=0) > 1e-6
    expected = np.zeros((16, 8), bool)
    expected[2:8, 4:8] = True  # half-resolution rows 1..3 and columns 2..3 (3x3 convolution)
    np.testing.assert_array_equal(reached, expected)


def test_the_vector_form_reads_the_bottleneck_alone_and_needs_no_map():
    model = generator.make(VECTOR)
    bottleneck = np.random.default_rng(0).random((2, 1, 1, 7), np.float32)
    shapes = jax.eval_shape(model.init, jax.random.key(0), (bottleneck,))
    random = np.random.default_rng(1)
    params = jax.tree.map(lambda p: random.standard_normal(p.shape, np.float32), shapes)
    other = (jnp.ones((2, 5, 5, 2)), bottleneck)
    apply = jax.jit(model.apply)
    np.testing.assert_array_equal(apply(params, other), apply(params, (bottleneck,)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"form": "column"}, "generator.form: found 'column'"),
        ({"width": (1, 2)}, "generator.width: unknown key"),
        ({"volume_shape": (12, 16)}, r"expected \(d, h, w\)"),
        ({"volume_shape": (12, 18, 8)}, "expected multiples of 4"),
        ({"widths": (1, 2, 3)}, "generator.widths: found"),
        ({"channels": "34"}, "generator.channels: found '34'"),
        ({"mean_level": 0.0}, "generator.mean_level: found 0.0"),
    ],
)
def test_a_specification_that_does_not_fit_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        generator.make({**PYRAMID, **change})


def test_a_missing_volume_shape_is_refused():
    with pytest.raises(InputError, match=r"generator\.volume_shape is missing"):
        generator.make({"form": "vector"})


def test_a_radiograph_of_another_shape_than_the_volume_is_refused():
    model = generator.make({**PYRAMID, "volume_shape": (12, 16, 16)})
    with pytest.raises(InputError, match="as high and wide as the volume"):
        model.init(jax.random.key(0), _hidden())
    with pytest.raises(InputError, match="as high and wide as the volume"):
        generator.make(PYRAMID).init(jax.random.key(0), _hidden()[:1])


def test_a_mean_volume_of_another_shape_is_refused():
    with pytest.raises(InputError, match="mean volume: found"):
        generator.with_mean_volume({}, PYRAMID, np.zeros((12, 8, 16)))


def test_surfaces_come_beside_the_volume_from_its_features():
    spec = {**PYRAMID, "surfaces": 3}
    model, params = _filled(spec)
    hidden = _hidden()
    volume, distances = jax.jit(model.apply)(params, hidden)
    assert volume.shape == (2, 12, 16, 8, 1)
    assert distances.shape == (2, 3, 6, 4, 2) and distances.dtype == jnp.float32
    shared = {k: v for k, v in params["params"].items() if k in _filled(PYRAMID)[1]["params"]}
    alone = jax.jit(generator.make(PYRAMID).apply)({"params": shared}, hidden)
    np.testing.assert_allclose(volume, alone, atol=1e-6)


def test_mean_distances_are_what_an_untrained_model_gives():
    spec = {**PYRAMID, "surfaces": 2}
    model = generator.make(spec)
    params = model.init(jax.random.key(1), _hidden())["params"]
    mean = np.random.default_rng(0).normal(size=(2, 6, 4, 2)).astype(np.float32)
    params = generator.with_mean_distances(params, spec, mean)
    _, distances = model.apply({"params": params}, _hidden())
    np.testing.assert_allclose(distances, np.stack([mean, mean]), atol=1e-6)
    with pytest.raises(InputError, match=r"mean distances: found \(2, 6\), expected"):
        generator.with_mean_distances(params, spec, mean[..., 0, 0])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"form": "shape"}, "found 0, the form 'shape' expects 9"),
        ({"surfaces": -1}, "generator.surfaces"),
        ({"surfaces": 2, "channels": (3,), "widths": (5,), "blocks": (1,)}, "surfaces need two"),
    ],
)
def test_wrong_surfaces_are_refused(changed, message):
    with pytest.raises(InputError, match=message):
        generator.read_spec({**PYRAMID, **changed})
