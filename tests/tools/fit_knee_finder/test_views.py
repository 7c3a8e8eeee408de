"""Training views: the targets stay on what they mark, however a picture is turned and zoomed."""

import numpy as np

from xr2mri_jax.preprocess.knee_finder.network import CELLS
from xr2mri_jax.preprocess.knee_finder.peaks import find
from xr2mri_jax.tools.fit_knee_finder.pictures import Picture, nowhere
from xr2mri_jax.tools.fit_knee_finder.views import mirrored, target_maps, training_view


def marked(rows: int, columns: int) -> Picture:
    """Noise with a bright dot at the right knee's centre."""
    rng = np.random.default_rng(2)
    image = rng.integers(0, 60, (rows, columns)).astype(np.uint8)
    points = nowhere()
    points[0] = [[0.55 * rows, 0.5 * columns], [0.5 * rows, 20], [0.52 * rows, columns - 21]]
    row, column = np.mgrid[:rows, :columns]
    dot = np.hypot(row - points[0, 0, 0], column - points[0, 0, 1]) < 0.03 * columns
    image[dot] = 255
    return Picture(image, points)


def test_targets_lie_on_the_marked_place():
    for picture in (marked(150, 150), marked(300, 320), marked(600, 500)):
        rng = np.random.default_rng(7)
        for zoom in (False, True, False, True):
            view, target = training_view(picture, rng, zoom)
            shown = [knee for knee in find(target) if knee.probability[0] > 0.5]
            assert len(shown) == 1
            row, column = (round(value) for value in shown[0].points[0])
            around = view[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2, 1]
            assert around.mean() > 1.0  # local contrast, in deviations


def test_mirrored_picture_has_the_other_knee():
    picture = marked(100, 80)
    other = mirrored(picture)
    assert np.isnan(other.points[0]).all()
    np.testing.assert_allclose(other.points[1, 0], [55.0, 39.0])
    np.testing.assert_allclose(other.points[1, 1], [52.0, 20.0])
    again = mirrored(other)
    np.testing.assert_array_equal(again.image, picture.image)
    np.testing.assert_allclose(again.points, picture.points)


def test_targets_sum_to_one_and_what_is_outside_is_not_there():
    points = nowhere()
    points[0] = [[10.0, 10.0], [-5.0, 10.0], [127.0, 127.0]]
    target = target_maps(points)
    np.testing.assert_allclose(target.sum(1), 1.0, atol=1e-5)
    np.testing.assert_array_equal(target[:, -1], [0, 1, 0, 1, 1, 1])
    assert target[0, :-1].reshape(CELLS, CELLS).argmax() == 5 * CELLS + 5
