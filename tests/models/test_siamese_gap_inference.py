"""Tests of the CPU form for inference against the network itself and its Grad-CAM."""

import jax
import numpy as np
import pytest

from xr2mri_jax.models import siamese_gap, siamese_gap_inference, winograd_inference
from xr2mri_jax.models.convolution import plain
from xr2mri_jax.models.gradcam import GradCam, in_frame
from xr2mri_jax.models.siamese_gap_inference import BLOCKS, BOUNDARIES

# Patches of 24 pixels: Winograd's form in blocks 1 and 2, whose size is a multiple of 4.
WIDE = {"image_shape": [56, 56], "channels": [64, 64, 5], "convolutions": [2, 3, 2],
        "levels": [1, 2, 3], "classes": 3}  # fmt: skip
SPECS = {
    "wide": WIDE,
    "one convolution": WIDE | {"convolutions": [1, 1, 1], "channels": [4, 5, 6]},
    "ordinal, maximum": WIDE | {"head": "ordinal", "pooling": "maximum", "levels": [1, 2],
                                "branches": "concatenated", "channels": [4, 64, 5]},
}  # fmt: skip


@pytest.fixture(scope="module", params=SPECS)
def made(request):
    """Spec, variables with moments that are not 0 and 1, radiographs, and the folded weights."""
    spec = SPECS[request.param]
    rng = np.random.default_rng(0)
    xray = rng.random((3, 56, 56, 1), np.float32)
    model = siamese_gap.make(spec)
    variables = jax.device_get(jax.jit(model.init)(jax.random.key(0), xray))
    noisy = jax.tree.map(
        lambda a: a + 0.1 * np.abs(rng.standard_normal(a.shape)).astype(np.float32), variables
    )
    parts = noisy["params"], noisy["batch_stats"]
    weights = siamese_gap_inference.folded(siamese_gap.read_spec(spec), *parts)
    return spec, parts, xray, weights


def whole(maps):
    """Maps [b, 2, h, w] in the frame."""
    return in_frame(np.concatenate(np.split(np.asarray(maps), 2, axis=1))[:, 0], (56, 56))


def test_logits_and_features(made):
    spec, (params, state), xray, weights = made
    model = siamese_gap.make(spec)
    variables = {"params": params, "batch_stats": state}
    found = jax.jit(siamese_gap_inference.program(spec))(weights, xray)
    assert found[2] == {}
    features = model.apply(variables, xray, method="features")
    np.testing.assert_allclose(found[1], features, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found[0], model.apply(variables, xray), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("map_kinds", [(BLOCKS,), (BOUNDARIES, BLOCKS)])
def test_maps_of_the_blocks(made, map_kinds):
    spec, parts, xray, weights = made
    found = jax.jit(siamese_gap_inference.program(spec, map_kinds))(weights, xray)[2]
    assert set(found) == set(map_kinds)
    for level, wanted in zip(found[BLOCKS], GradCam(spec)(*parts, xray), strict=True):
        np.testing.assert_allclose(whole(level), wanted, atol=0.005 * max(wanted.max(), 1e-3))


def test_maps_of_the_boundaries(made):
    spec, parts, xray, weights = made
    found = jax.jit(siamese_gap_inference.program(spec, (BOUNDARIES,)))(weights, xray)[2]
    wanted = GradCam(spec).of_boundaries(*parts, xray)
    for boundary, one in zip(found[BOUNDARIES], wanted, strict=True):
        np.testing.assert_allclose(whole(boundary), one, atol=1e-3 * max(wanted.max(), 1e-3))


def test_winograd_against_the_plain_form():
    rng = np.random.default_rng(1)
    x = rng.standard_normal((2, 8, 12, 5)).astype(np.float32)
    kernel = rng.standard_normal((3, 3, 5, 7))
    found = winograd_inference.convolve(x, winograd_inference.transformed(kernel))
    wanted = plain(x, kernel.astype(np.float32), 1)
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    back = winograd_inference.transformed(winograd_inference.transposed_kernel(kernel))
    gradient = jax.linear_transpose(lambda x: plain(x, kernel.astype(np.float32), 1), x)(wanted)
    scale = np.abs(gradient[0]).max()
    np.testing.assert_allclose(winograd_inference.convolve(wanted, back) / scale,
                               gradient[0] / scale, atol=1e-5)  # fmt: skip


def test_where_winograd_is_used():
    assert winograd_inference.usable(24, 32)
    assert not winograd_inference.usable(6, 32)
    assert not winograd_inference.usable(24, 31)
