"""The classifiers beside Siamese-GAP: sizes, shapes, refused specifications, the linear probe."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xr2mri_jax.errors import InputError
from xr2mri_jax.models import classifier_baselines, classifiers, linear_probe


def shapes_of(spec):
    model = classifiers.make(spec)
    xray = jax.ShapeDtypeStruct((2, *model.spec.image_shape, 1), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), xray)
    return model, xray, variables


@pytest.mark.parametrize(
    ("kind", "count", "features"),
    [
        # Convolutions 147,744, scales and shifts 2 (3 w + 4 w + 4 w), linear 256 x 2 + 2.
        ("deep_siamese", 147_744 + 704 + 514, 256),
        # The published 11,689,512 without 1000 classes and two input channels, with 2 classes.
        ("resnet18", 11_689_512 - 513_000 - 2 * 7 * 7 * 64 + 1_026, 512),
        ("vgg", 2_304_288 + 2 * (32 + 64 + 256 + 512 + 512) + 514, 256),
    ],
)
def test_sizes(kind, count, features):
    model, xray, variables = shapes_of({"kind": kind})
    sizes = [int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(variables["params"])]
    assert sum(sizes) == count
    assert jax.eval_shape(model.apply, variables, xray).shape == (2, 2)
    found = jax.eval_shape(lambda v, x: model.apply(v, x, method="features"), variables, xray)
    assert found.shape == (2, features)


@pytest.mark.parametrize("kind", ["deep_siamese", "resnet18", "vgg"])
def test_training_moves_the_running_moments(kind):
    model = classifiers.make({"kind": kind, "image_shape": (32, 32), "width": 2})
    xray = np.random.default_rng(0).random((4, 32, 32, 1), np.float32)
    variables = jax.jit(model.init)(jax.random.key(0), xray)
    keys = jax.random.split(jax.random.key(1), 4)
    train = jax.jit(lambda v, x: model.apply(v, x, True, keys, mutable=["batch_stats"]))
    logits, changed = train(variables, xray)
    assert logits.shape == (4, 2) and np.isfinite(logits).all()
    before, after = (jax.tree.leaves(v["batch_stats"]) for v in (variables, changed))
    assert all(np.abs(a - b).max() > 0 for a, b in zip(before, after, strict=True))


def test_maxima_of_four_pixels():
    x = np.random.default_rng(0).random((2, 5, 6, 3), np.float32)
    wanted = x[:, :4].reshape(2, 2, 2, 3, 2, 3).max(axis=(2, 4))
    np.testing.assert_array_equal(classifier_baselines.halved(x), wanted)


@pytest.mark.parametrize(
    "change",
    [{"width": 0}, {"classes": 1}, {"dropout": 1.0}, {"image_shape": (8, 8)}, {"colour": 1}],
)
def test_a_wrong_specification_is_refused(change):
    with pytest.raises(InputError, match="resnet18"):
        classifiers.full_spec({"kind": "resnet18", **change})


def test_the_probe_finds_the_direction():
    random = np.random.default_rng(0)
    features = random.normal(3, 2, (600, 5)) * [1, 1, 10, 1, 0]
    chance = 1 / (1 + np.exp(-(features[:, 0] - 3)))
    label = (random.random(600) < chance).astype(int)
    probe = linear_probe.fit_linear_probe(features, label)
    assert probe.weights[0] > 1 and np.abs(probe.weights[1:]).max() < 0.4
    logits = probe.logits(features)
    assert logits.shape == (600, 2) and not logits[:, 0].any()
    assert ((logits[:, 1] > 0) == label).mean() > 0.7
    # At the minimum the derivative by the bias is 0: the mean probability is the share of class 1.
    assert (1 / (1 + np.exp(-logits[:, 1]))).mean() == pytest.approx(label.mean(), abs=1e-3)
    with pytest.raises(ValueError, match="features"):
        linear_probe.fit_linear_probe(features, np.zeros(600))
