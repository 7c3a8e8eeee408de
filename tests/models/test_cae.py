"""The auto-encoder: presets, shapes, the encoder alone, precision, refused specifications."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from xr2mri_jax.errors import InputError
from xr2mri_jax.models import cae

TINY = {"image_shape": (16, 24), "channels": (4, 6), "hidden_channels": 3}
TINY_PAPER = {"preset": "paper", "image_shape": (31, 37), "channels": (3, 4, 5)}


def _count(tree):
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(tree))


def _filled(spec, dtype=jnp.float32):
    """The model with noise for parameters (an initialisation would take seconds to compile)."""
    model = cae.make(spec, dtype)
    random = np.random.default_rng(0)
    xray = random.random((2, *model.spec.image_shape, 1), np.float32)
    shapes = jax.eval_shape(model.init, jax.random.key(0), xray)
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {jnp.dtype(jnp.float32)}
    noise = jax.tree.map(lambda p: 0.2 * random.standard_normal(p.shape, np.float32), shapes)
    return model, noise, xray


def _abstract(spec):
    model = cae.make(spec)
    xray = jax.ShapeDtypeStruct((2, *model.spec.image_shape, 1), jnp.float32)
    params = jax.eval_shape(model.init, jax.random.key(0), xray)
    output = jax.eval_shape(model.apply, params, xray)
    hidden = jax.eval_shape(lambda p, x: model.apply(p, x, method="encode"), params, xray)
    return params["params"], output, tuple(h.shape[1:] for h in hidden)


def test_paper_preset_has_the_papers_sizes():
    params, output, hidden = _abstract({"preset": "paper"})
    assert hidden == (
        (149, 149, 32),
        (74, 74, 64),
        (36, 36, 128),
        (17, 17, 256),
        (8, 8, 512),
        (3, 3, 1024),
        (1, 1, 2048),
    )
    assert hidden == cae.hidden_shapes({"preset": "paper"})
    assert output.shape == (2, 299, 299, 1)
    widths = (1, 32, 64, 128, 256, 512, 1024, 2048)
    kernels = sum(9 * a * b for a, b in itertools.pairwise(widths))
    assert _count(params["encoder"]) == kernels + sum(widths[1:])
    assert _count(params["decoder"]) == kernels + sum(widths[:-1])


@pytest.mark.parametrize("size", [96, 128])
def test_compact_preset_keeps_a_map_in_the_bottleneck(size):
    spec = {"preset": "compact", "image_shape": (size, size)}
    params, output, hidden = _abstract(spec)
    assert hidden == cae.hidden_shapes(spec)
    assert hidden[0][:2] == (size // 2, size // 2)
    assert hidden[-1] == (size // 16, size // 16, 32)
    assert output.shape == (2, size, size, 1) and output.dtype == jnp.float32
    assert _count(params) < 1_500_000


@pytest.mark.parametrize("spec", [TINY, TINY_PAPER])
def test_jitted_equals_not_jitted_and_the_encoder_alone_equals_encode(spec):
    model, variables, xray = _filled(spec)
    params = variables["params"]
    assert set(params) == {"encoder", "decoder"}
    whole = jax.jit(model.apply)({"params": params}, xray)
    np.testing.assert_allclose(model.apply({"params": params}, xray), whole, atol=1e-5)
    hidden = jax.jit(lambda p, x: model.apply(p, x, method="encode"))({"params": params}, xray)
    assert tuple(h.shape[1:] for h in hidden) == cae.hidden_shapes(spec)
    encoder = cae.make_encoder(spec)
    alone = jax.jit(encoder.apply)({"params": params["encoder"]}, xray)
    for one, other in zip(hidden, alone, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    decode = jax.jit(lambda p, h: model.apply(p, h, method="decode"))
    decoded = decode({"params": params}, hidden[-1])
    np.testing.assert_allclose(decoded, whole, atol=1e-6)
    assert decoded.min() >= 0.0 and decoded.max() <= 1.0


@pytest.mark.parametrize("spec", [TINY, TINY_PAPER])
def test_the_gradient_reaches_every_parameter(spec):
    model, variables, xray = _filled(spec)

    def loss(params):
        return jnp.mean((model.apply({"params": params}, xray) - xray) ** 2)

    grads = jax.jit(jax.grad(loss))(variables["params"])
    silent = [path for path, g in jax.tree.leaves_with_path(grads) if not np.abs(g).max() > 0]
    assert not silent


@pytest.mark.parametrize("spec", [TINY, TINY_PAPER])
def test_bfloat16_computes_in_bfloat16_and_keeps_float32_parameters(spec):
    model, variables, xray = _filled(spec, jnp.bfloat16)
    encode = jax.jit(lambda v, x: model.apply(v, x, method="encode"))
    assert {h.dtype for h in encode(variables, xray)} == {jnp.dtype(jnp.bfloat16)}
    output = jax.jit(model.apply)(variables, xray)
    assert output.dtype == jnp.float32
    full = jax.jit(cae.make(spec).apply)(variables, xray)
    np.testing.assert_allclose(output, full, atol=0.03)
    assert np.abs(np.asarray(output - full)).max() > 0


def test_the_compact_model_starts_at_the_mean_level_and_learns_a_pattern():
    model = cae.make({**TINY, "mean_level": 0.3})
    y, x = np.mgrid[:16, :24] / 24.0
    waves = [np.sin(6 * x + k) * np.cos(5 * y - k) for k in range(6)]
    xray = jnp.asarray(0.5 + 0.3 * np.stack(waves)[..., None], jnp.float32)
    variables = jax.jit(model.init)(jax.random.key(1), xray)

    def loss(params):
        output = model.apply(params, xray)
        return jnp.mean((output - xray) ** 2), output

    optimizer = optax.adam(0.005)

    @jax.jit
    def step(params, moments):
        (value, output), grads = jax.value_and_grad(loss, has_aux=True)(params)
        updates, moments = optimizer.update(grads, moments)
        return optax.apply_updates(params, updates), moments, value, output

    moments, values = optimizer.init(variables), []
    for count in range(80):
        variables, moments, value, output = step(variables, moments)
        values.append(float(value))
        if count == 0:
            np.testing.assert_allclose(output, 0.3, atol=1e-6)
    assert values[-1] < 0.3 * values[0]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"preset": "large", "image_shape": (16, 16)}, "cae.preset: found 'large'"),
        ({"image_shape": (16, 16), "chanels": (4,)}, "cae.chanels: unknown key"),
        ({"preset": "compact"}, "cae.image_shape is missing"),
        ({"image_shape": (16, 20), "channels": (4, 4, 4)}, "expected multiples of 8"),
        ({"image_shape": (16, 16), "channels": ("4", 4)}, "cae.channels: found '4'"),
        ({"image_shape": (16, 16), "hidden_channels": True}, "cae.hidden_channels: found True"),
        ({"image_shape": (16, 16), "channels": (0, 4)}, "cae.channels: found"),
        ({"image_shape": (16,)}, r"expected \(h, w\)"),
        ({"image_shape": (16, 16), "mean_level": 1}, "cae.mean_level: found 1"),
        ({"preset": "paper", "image_shape": (128, 128)}, "too small for 7 convolutions"),
    ],
)
def test_a_specification_that_does_not_fit_is_refused(spec, message):
    with pytest.raises(InputError, match=message):
        cae.make(spec)


def test_a_radiograph_of_another_shape_is_refused():
    model, variables, _ = _filled(TINY)
    with pytest.raises(InputError, match=r"expected \(b, h, w, 1\)"):
        model.apply(variables, jnp.zeros((1, 24, 16, 1)))
