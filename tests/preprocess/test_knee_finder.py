"""The knee finder's parts: views and back, maps, peaks, shipped weights."""

import jax
import numpy as np
import pytest

from xr2mri_jax.preprocess.knee_finder import inference, network
from xr2mri_jax.preprocess.knee_finder.peaks import find
from xr2mri_jax.preprocess.knee_finder.view import SIZE, View, cut, normalise, whole_view
from xr2mri_jax.preprocess.knee_finder.view_maps import mirrored_maps
from xr2mri_jax.tools.fit_knee_finder.views import target_maps


def test_view_and_back():
    view = View((40.0, 60.0), 256.0, aspect=2.0)
    points = np.array([[40.0, 60.0], [3.0, 17.5]])
    np.testing.assert_allclose(view.to_source(view.from_source(points)), points)
    np.testing.assert_allclose(view.from_source(points[0]), [(SIZE - 1) / 2] * 2)
    # A pixel of the view is 2 columns wide and 1 row high where pixels are twice as high as wide.
    corners = view.to_source(np.array([[0, 0], [1, 1]]))
    np.testing.assert_allclose(corners[:, 0], np.array([-23.5, -22.5]))
    np.testing.assert_allclose(view.step, [1.0, 2.0])


def test_cut_averages_and_knows_the_border():
    row, column = np.mgrid[:512, :256].astype(np.float32)
    picture, inside = cut(3 * row + column, whole_view((512, 256)))
    middle = SIZE // 2
    # Four source pixels a view pixel: the mean of a ramp is its value in their middle.
    assert picture[0, middle] == pytest.approx(3 * 1.5 + 4 * (middle - 32) + 1.5, abs=1e-2)
    assert inside.mean() == pytest.approx(0.5) and not picture[:, :31].any()
    fine, everywhere = cut(row[:9, :9], View((4.0, 4.0), 8.0))
    assert everywhere.all()
    np.testing.assert_allclose(fine[:, 5], np.linspace(4 - 3.96875, 4 + 3.96875, SIZE), atol=1e-4)
    outside, nothing = cut(row, View((-2000.0, 0.0), 64.0))
    assert not outside.any() and not nothing.any()


@pytest.mark.parametrize(
    "view",
    [
        whole_view((300, 224)),
        View((100.3, 90.7), 150.0),
        View((40.0, 200.0), 260.0, 1.7),
        View((150.0, 20.0), 31.7, 0.6),
    ],
)
def test_cut_is_the_mean_over_boxes(view):
    image = np.random.default_rng(1).random((300, 224)).astype(np.float32)

    def weights(axis):
        middles = view.to_source(np.arange(SIZE)[:, None].repeat(2, 1))[:, axis]
        n, width = image.shape[axis], max(view.step[axis], 1.0)
        places, pixels = np.clip(middles, 0, n - 1)[:, None], np.arange(n)
        high = np.minimum(places + width / 2, pixels + 0.5)
        overlap = np.maximum(high - np.maximum(places - width / 2, pixels - 0.5), 0.0)
        return overlap / overlap.sum(1, keepdims=True), (middles >= -0.5) & (middles <= n - 0.5)

    (down, rows), (across, columns) = weights(0), weights(1)
    picture, inside = cut(image, view)
    np.testing.assert_array_equal(inside, rows[:, None] & columns)
    np.testing.assert_allclose(picture, np.where(inside, down @ image @ across.T, 0), atol=1e-5)


def test_normalise_ignores_gain_and_offset():
    rng = np.random.default_rng(0)
    picture = rng.random((SIZE, SIZE)).astype(np.float32)
    inside = np.ones((SIZE, SIZE), bool)
    first, second = normalise(picture, inside), normalise(7000 * picture - 300, inside)
    np.testing.assert_allclose(first, second, atol=2e-3)
    assert first.shape == (SIZE, SIZE, 2) and 0 <= first[..., 0].min() <= first[..., 0].max() <= 1
    assert not normalise(np.full((SIZE, SIZE), 5.0, np.float32), inside).any()


def test_peaks_come_back_from_targets():
    points = np.full((2, 3, 2), np.nan)
    points[1] = [[64.0, 70.3], [60.2, 30.0], [66.0, 110.9]]
    right, left = find(target_maps(points))
    np.testing.assert_allclose(left.points, points[1], atol=0.1)
    assert left.side == "left" and left.probability.min() > 0.99
    assert right.probability.max() == 0.0


def test_mirror_image_maps():
    points = np.full((2, 3, 2), np.nan)
    points[0] = [[64.0, 70.0], [60.0, 30.0], [66.0, 110.0]]
    mirrored = np.full((2, 3, 2), np.nan)
    mirrored[1] = points[0][[0, 2, 1]] * [1, -1] + [0, SIZE - 1]
    np.testing.assert_allclose(mirrored_maps(target_maps(mirrored)), target_maps(points), atol=1e-6)


def test_network_shapes_and_weights(tmp_path):
    parameters = network.initial(jax.random.key(0))
    views = np.zeros((2, SIZE, SIZE, 2), np.float32)
    maps = np.asarray(jax.jit(network.probabilities)(parameters, views))
    assert maps.shape == (2, 6, network.CELLS**2 + 1)
    np.testing.assert_allclose(maps.sum(-1), 1.0, atol=1e-4)
    network.save_weights(tmp_path / "w.npz", parameters)
    again = network.load_weights(tmp_path / "w.npz")
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6), dict(parameters), again
    )
    shipped = network.load_weights()
    assert jax.tree.map(np.shape, shipped) == jax.tree.map(np.shape, dict(parameters))
    assert network.WEIGHTS.stat().st_size < 1_000_000
    assert network.WEIGHTS.with_name("README.md").read_text().count("10.17632/56rmx5bjcr.1")


@pytest.mark.parametrize("weights", ["shipped", "initial"])
def test_the_form_for_inference_gives_the_same_probabilities(weights):
    parameters = network.load_weights()
    if weights == "initial":
        parameters = network.initial(jax.random.key(1))
    views = np.random.default_rng(2).random((2, SIZE, SIZE, 2)).astype(np.float32)
    expected = jax.jit(network.probabilities)(parameters, views)
    function, prepared = jax.jit(inference.probabilities), inference.prepared(parameters)
    found = np.stack([function(prepared, view) for view in views])
    np.testing.assert_allclose(found, expected, atol=2e-6)
    if weights == "shipped":
        np.testing.assert_allclose(inference.probability_maps(views), expected, atol=2e-6)
