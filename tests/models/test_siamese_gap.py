"""Siamese-GAP: its size, its patches, its symmetry, its switches, its convolutions' gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xr2mri_jax.errors import InputError
from xr2mri_jax.models import classifiers, convolution, normalisation, siamese_gap

SMALL = {"image_shape": (40, 40), "channels": (3, 4, 5, 6), "convolutions": (1, 2, 1, 1)}


def count(tree):
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(tree))


def made(**changes):
    """The small network with noise for parameters and running moments, and three radiographs."""
    model = classifiers.make({**SMALL, **changes})
    random = np.random.default_rng(0)
    xray = random.random((3, 40, 40, 1), np.float32)
    shapes = jax.eval_shape(model.init, jax.random.key(0), xray)
    variables = jax.tree.map(lambda s: random.uniform(0.2, 0.8, s.shape).astype("f4"), shapes)
    variables["params"] = jax.tree.map(lambda p: p - 0.5, variables["params"])
    return model, variables, xray


def test_the_published_size():
    model = siamese_gap.make({})
    xray = jax.ShapeDtypeStruct((2, 224, 224, 1), jnp.float32)
    shapes = jax.eval_shape(model.init, jax.random.key(0), xray)
    # By hand: convolutions 2,682,144, scales and shifts 3,584, linear 480 x 2 + 2.
    assert count(shapes["params"]) == 2_682_144 + 3_584 + 962 == 2_686_690
    assert jax.eval_shape(model.apply, shapes, xray).shape == (2, 2)
    features = jax.eval_shape(lambda v, x: model.apply(v, x, method="features"), shapes, xray)
    assert features.shape == (2, 480)


@pytest.mark.parametrize(
    ("size", "place"), [(299, (99, 128)), (224, (74, 96)), (128, (42, 56)), (32, (11, 16))]
)
def test_place_of_the_patches(size, place):
    assert siamese_gap.patch_places((size, size)) == place


def test_patches_are_the_outer_columns_and_the_second_is_mirrored():
    image = np.arange(2 * 299 * 299, dtype=np.float32).reshape(2, 299, 299, 1)
    found = np.asarray(siamese_gap.patches(image))
    assert found.shape == (4, 128, 128, 1)
    np.testing.assert_array_equal(found[:2], image[:, 99:227, 0:128])
    np.testing.assert_array_equal(found[2:], image[:, 99:227, 171:299][:, :, ::-1])


def test_a_mirrored_radiograph_gives_the_same_logits():
    model, variables, xray = made()
    apply = jax.jit(model.apply)
    logits, mirrored = apply(variables, xray), apply(variables, xray[:, :, ::-1])
    assert np.ptp(logits) > 1e-3
    np.testing.assert_allclose(logits, mirrored, rtol=1e-5, atol=1e-6)


def test_logits_are_those_of_the_pooled_maps_by_hand():
    for pooling, reduce in (("average", np.mean), ("maximum", np.max)):
        model, variables, xray = made(pooling=pooling, levels=(1, 3))
        maps = [np.asarray(m) for m in model.apply(variables, xray, method="maps")]
        assert [m.shape for m in maps] == [
            (6, 16, 16, 3), (6, 8, 8, 4), (6, 4, 4, 5), (6, 2, 2, 6)
        ]  # fmt: skip
        pooled = np.concatenate([reduce(maps[i], axis=(1, 2)) for i in (0, 2)], axis=1)
        head = variables["params"]["head"]
        wanted = (pooled[:3] + pooled[3:]) @ head["kernel"] + head["bias"]
        np.testing.assert_allclose(model.apply(variables, xray), wanted, rtol=1e-4, atol=1e-5)


def test_concatenated_branches_keep_the_patches_apart():
    model, variables, xray = made(branches="concatenated", levels=(1, 2))
    found = model.apply(variables, xray, method="features")
    mirrored = model.apply(variables, xray[:, :, ::-1], method="features")
    assert found.shape == (3, 14) and np.abs(found - mirrored).max() > 1e-4
    np.testing.assert_allclose(np.roll(mirrored, 7, axis=1), found, rtol=1e-5, atol=1e-6)


def test_dropout_follows_the_example_and_keeps_the_mean():
    keys = jax.random.split(jax.random.key(3), 4)
    found = np.asarray(siamese_gap.dropped(jnp.ones((4, 5000)), 0.2, keys))
    assert set(np.unique(found)) == {np.float32(0), np.float32(1.25)}
    np.testing.assert_allclose(found.mean(axis=1), 1, atol=0.03)
    again = siamese_gap.dropped(jnp.ones((2, 5000)), 0.2, keys[2:])
    np.testing.assert_array_equal(found[2:], again)


def test_training_normalises_by_the_batch_and_remembers_its_moments():
    layer = convolution.NormalisedConvolution(2)
    x = np.random.default_rng(0).standard_normal((3, 6, 5, 4), np.float32)
    variables = jax.tree.map(np.asarray, layer.init(jax.random.key(0), x, False))
    y, changed = layer.apply(variables, x, True, mutable=["batch_stats"])
    plain = np.asarray(convolution.convolve(x, variables["params"]["kernel"], 1), np.float64)
    mean, variance = plain.mean(axis=(0, 1, 2)), plain.var(axis=(0, 1, 2))
    wanted = np.maximum((plain - mean) / np.sqrt(variance + normalisation.EPSILON), 0)
    np.testing.assert_allclose(y, wanted, atol=1e-5)
    kept, new = convolution.MOMENTUM, 1 - convolution.MOMENTUM
    np.testing.assert_allclose(changed["batch_stats"]["mean"], new * mean, atol=1e-6)
    np.testing.assert_allclose(changed["batch_stats"]["variance"], kept + new * variance, rtol=1e-5)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shape", [(6, 8), (5, 7)])
def test_gradients_of_the_convolution_are_those_of_xla(stride, shape):
    random = np.random.default_rng(0)
    x = random.standard_normal((2, *shape, 3), np.float32)
    kernel = random.standard_normal((3, 3, 3, 4), np.float32)

    def own(x, kernel):
        return jax.lax.conv_general_dilated(
            x,
            kernel,
            (stride, stride),
            ((1, 1), (1, 1)),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )

    wanted, wanted_vjp = jax.vjp(own, x, kernel)
    found, found_vjp = jax.vjp(lambda x, k: convolution.convolve(x, k, stride), x, kernel)
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    given = random.standard_normal(wanted.shape, np.float32)
    for ours, theirs in zip(found_vjp(given), wanted_vjp(given), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_gradients_of_the_normalisation_are_those_of_autodiff():
    random = np.random.default_rng(0)
    x = random.standard_normal((3, 4, 5, 2), np.float32)
    scale, bias = (random.standard_normal(2).astype("f4") for _ in range(2))

    def plain(x, scale, bias):
        mean, variance = jnp.mean(x, (0, 1, 2)), jnp.var(x, (0, 1, 2))
        return normalisation.scale_shift(x, scale, bias, mean, variance)

    given = random.standard_normal(x.shape, np.float32)
    wanted, vjp = jax.vjp(plain, x, scale, bias)
    found, own_vjp = jax.vjp(lambda *a: normalisation.normalise(*a, None)[0], x, scale, bias)
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    for ours, theirs in zip(own_vjp(given), vjp(given), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_normalisation_over_devices_is_that_of_the_whole_batch():
    random = np.random.default_rng(0)
    x, given = (random.standard_normal((8, 3, 4, 2), np.float32) for _ in range(2))
    scale, bias = np.float32([1.5, 0.5]), np.float32([0.1, -0.2])

    def both(x, given, axis_name):
        y, vjp = jax.vjp(lambda *a: normalisation.normalise(*a, axis_name)[0], x, scale, bias)
        by_x, by_scale, by_bias = vjp(given)
        if axis_name:
            by_scale, by_bias = jax.lax.psum((by_scale, by_bias), axis_name)
        return y, by_x, by_scale, by_bias

    whole = both(x, given, None)
    split = jax.pmap(lambda x, g: both(x, g, "batch"), axis_name="batch")(
        x[:, None], given[:, None]
    )
    for ours, theirs in zip(split[:2], whole[:2], strict=True):
        np.testing.assert_allclose(ours[:, 0], theirs, atol=1e-5)
    for ours, theirs in zip(split[2:], whole[2:], strict=True):
        np.testing.assert_allclose(ours[0], theirs, rtol=1e-4)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"image_shape": (40, 48)}, "found 40 x 48 pixels"),
        ({"image_shape": (9, 9)}, "found 9 x 9 pixels"),
        ({"levels": (5,)}, "siamese_gap.levels: found"),
        ({"levels": (1, 1)}, "siamese_gap.levels: found"),
        ({"pooling": "median"}, "siamese_gap.pooling: found 'median'"),
        ({"branches": "one"}, "siamese_gap.branches: found 'one'"),
        ({"dropout": 1.0}, "siamese_gap.dropout: found 1.0"),
        ({"classes": 1}, "siamese_gap.classes: found 1"),
        ({"convolutions": (1, 2)}, "siamese_gap.convolutions: found"),
        ({"colour": 1}, "siamese_gap.colour: unknown key"),
        ({"kind": "forest"}, "config.model.classifier.kind is 'forest'"),
    ],
)
def test_a_wrong_specification_is_refused(change, said):
    with pytest.raises(InputError) as caught:
        classifiers.make({**SMALL, **change})
    assert said in str(caught.value)
