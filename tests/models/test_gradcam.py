"""Grad-CAM against its formula by hand, its place in the frame and in the source image."""

import jax
import numpy as np
import pytest
from scipy import ndimage

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import Radiograph
from xr2mri_jax.models import classifiers, gradcam, siamese_gap
from xr2mri_jax.preprocess.radiograph import spread_over_box, standardise_radiograph
from xr2mri_jax.presentation import heat_picture

NETWORK = {"image_shape": (40, 40), "channels": (4, 6, 8, 8), "convolutions": (1, 1, 1, 1)}


@pytest.fixture(scope="module")
def network():
    model = classifiers.make(NETWORK)
    xray = np.random.default_rng(0).random((3, 40, 40, 1)).astype(np.float32)
    return model, model.init(jax.random.key(0), xray), xray


def test_of_the_last_block_the_weights_are_those_of_the_last_layer(network):
    model, variables, xray = network
    found = gradcam.GradCam(NETWORK)(variables["params"], variables["batch_stats"], xray)
    assert found.shape == (4, 3, 40, 40) and found.min() == 0 and found.max() > 0
    last = np.asarray(model.apply(variables, xray, method="maps")[3])
    head = np.asarray(variables["params"]["head"]["kernel"])[-8:]
    # Average pooling: every pixel's gradient is the layer's weight over their number.
    weight = (head[:, 1] - head[:, 0]) / last[0, ..., 0].size
    wanted = np.maximum(last @ weight, 0)
    row, size = siamese_gap.patch_places((40, 40))
    first = gradcam._enlarged(wanted[:3], size)
    np.testing.assert_allclose(found[3][:, row : row + size, :size], first, rtol=1e-4, atol=1e-7)
    second = gradcam._enlarged(wanted[3:], size)[:, :, ::-1]
    np.testing.assert_allclose(found[3][:, row : row + size, -size:], second, rtol=1e-4, atol=1e-7)
    assert found[:, :, :row].max() == 0 and found[:, :, :, size:-size].max() == 0


def test_of_an_early_block_the_later_ones_count_too(network):
    _, variables, xray = network
    maker = gradcam.GradCam(NETWORK)
    changed = jax.tree.map(np.array, variables["params"])
    changed["head"]["kernel"][:4] = 0  # the first block's own features
    found = maker(changed, variables["batch_stats"], xray)
    assert found[0].max() > 0


def test_a_mirrored_knee_has_the_mirrored_map(network):
    _, variables, xray = network
    maker = gradcam.GradCam(NETWORK)
    parts = variables["params"], variables["batch_stats"]
    plain, mirrored = maker(*parts, xray), maker(*parts, xray[:, :, ::-1])
    np.testing.assert_allclose(plain, mirrored[..., ::-1], rtol=1e-4, atol=1e-6)


def test_other_weights_give_another_map(network):
    model, variables, xray = network
    other = model.init(jax.random.key(1), xray)
    maker = gradcam.GradCam(NETWORK)
    one = maker(variables["params"], variables["batch_stats"], xray)
    two = maker(other["params"], variables["batch_stats"], xray)
    for first, second in zip(one, two, strict=True):
        assert np.abs(heat_picture.scaled(first) - heat_picture.scaled(second)).max() > 0.1


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_map_lies_in_the_source_where_its_radiograph_was_cut(side):
    array = np.tile(np.linspace(0, 0.3, 300, dtype=np.float32)[:, None], (1, 240))
    array[100:140, 40:80] = 1  # the only bright place
    source = Radiograph(array, (0.6, 0.6), side)
    standard = standardise_radiograph(source, (64, 64), (140.0, 110.0))
    found = gradcam.to_source(standard.record, standard.image[..., 0])
    assert found.shape == array.shape
    bright = np.argwhere(found > 0.5)
    np.testing.assert_allclose(bright.mean(axis=0), (119.5, 59.5), atol=1.0)
    spread = standardise_radiograph(spread_over_box(source), (64, 64))
    found = gradcam.to_source(spread.record, spread.image[..., 0])
    np.testing.assert_allclose(np.argwhere(found > 0.5).mean(axis=0), (119.5, 59.5), atol=1.5)


def test_another_network_is_refused():
    with pytest.raises(InputError, match="'resnet18', expected siamese_gap"):
        gradcam.GradCam({"kind": "resnet18"})


def test_pictures_show_the_radiograph_where_the_map_is_zero():
    grey = np.linspace(0, 1, 20).reshape(4, 5)
    heat = np.zeros((4, 5))
    heat[1, 2] = 1
    picture = heat_picture.overlaid(grey, heat)
    np.testing.assert_array_equal(picture[0, 0], 0)
    assert np.ptp(picture[1, 2].astype(int)) > 20 and np.ptp(picture[3, 4].astype(int)) == 0
    levels = np.stack([heat, 5 * np.roll(heat, 1, axis=1)])
    np.testing.assert_allclose(heat_picture.combined(levels), np.minimum(heat + levels[1], 1))
    assert heat_picture.scaled(np.zeros((2, 2))).max() == 0
    assert heat_picture.strip([picture, picture]).shape == (4, 14, 3)


@pytest.mark.parametrize("head", ["nominal", "ordinal"])
def test_a_boundary_is_explained_by_the_log_odds_above_it(head):
    spec = NETWORK | {"classes": 4, "head": head}
    model = classifiers.make(spec)
    xray = np.random.default_rng(0).random((2, 40, 40, 1)).astype(np.float32)
    variables = model.init(jax.random.key(2), xray)
    parts = variables["params"], variables["batch_stats"]
    found = gradcam.GradCam(spec).of_boundaries(*parts, xray)
    assert found.shape == (3, 2, 40, 40) and found.min() == 0 and found.max() > 0
    last = np.asarray(model.apply(variables, xray, method="maps")[3])
    pooled = np.array(model.apply(variables, xray, method="features"))

    def log_odds(features, k):
        p = jax.nn.softmax(model.apply(variables, features, method="classify"), axis=1)
        return np.log(np.asarray(p)[:, k:].sum(axis=1) / np.asarray(p)[:, :k].sum(axis=1))

    row, size = siamese_gap.patch_places((40, 40))
    for k in (1, 2, 3):
        slopes = []
        for channel in range(8):  # the last block's, by differences
            step = np.zeros_like(pooled)
            step[:, pooled.shape[1] - 8 + channel] = 0.05
            slopes.append((log_odds(pooled + step, k) - log_odds(pooled - step, k)) / 0.1)
        weight = np.stack(slopes, axis=1) / last[0, ..., 0].size
        wanted = np.maximum(np.einsum("bhwc,bc->bhw", last[:2], weight), 0)
        first = gradcam._enlarged(wanted, size)
        at = found[k - 1][:, row : row + size, :size]
        np.testing.assert_allclose(at, first, rtol=2e-2, atol=1e-3 * found.max())


def test_enlarging_is_linear_interpolation_between_areas():
    maps = np.random.default_rng(0).random((2, 6, 6)).astype(np.float32)
    places = (np.arange(16) + 0.5) * 6 / 16 - 0.5
    grid = np.meshgrid(places, places, indexing="ij")
    wanted = [ndimage.map_coordinates(m, grid, order=1, mode="nearest") for m in maps]
    np.testing.assert_allclose(gradcam._enlarged(maps, 16), wanted, atol=1e-6)
