"""Pseudo-labels: a line near a dark joint space moves onto it."""

import numpy as np
import pytest

from xr2mri_jax.preprocess.knee_finder.view import whole_view
from xr2mri_jax.tools.fit_knee_finder.labels import label_crops, onto_joint_space
from xr2mri_jax.tools.fit_knee_finder.pictures import nowhere
from xr2mri_jax.tools.fit_knee_finder.views import target_maps

# The knee without a tilt: joint centre and ends of the joint line, two rows off its gap.
TRUTH = np.array([[122.0, 112.0], [122.0, 20.0], [122.0, 204.0]])


def knee(tilt: float) -> np.ndarray:
    """Two bright bones with a dark gap of 8 pixels whose middle is row 120 + tilt * column."""
    row, column = np.mgrid[:224, :224].astype(np.float32)
    away = np.abs(row - 120 - tilt * (column - 112))
    image = 180.0 - 120.0 * np.exp(-((away / 4) ** 2))
    image[:, :15], image[:, -15:] = 30.0, 30.0
    return (image + np.random.default_rng(0).normal(0, 6, image.shape)).astype(np.float32)


@pytest.mark.parametrize("tilt", [-0.08, 0.0, 0.08])
def test_line_moves_onto_the_dark_band(tilt):
    points = np.array([[128.0, 112.0], [126.0, 20.0], [130.0, 204.0]])
    moved, share = onto_joint_space(knee(tilt), points)
    expected = 120 + tilt * (moved[:, 1] - 112)
    np.testing.assert_allclose(moved[:, 0], expected, atol=1.5)
    np.testing.assert_allclose(moved[:, 1], points[:, 1], atol=2.0)
    assert 0.02 < share < 0.14


def test_labels_are_trusted_where_the_network_is_sure():
    image = knee(0.0).astype(np.uint8)

    calls = []

    def look(views: np.ndarray) -> np.ndarray:
        """Sees a right knee in the views of the first image, a left one in its mirror image."""
        calls.append(views)
        points = nowhere()
        if len(calls) <= 3:
            rows, columns = image.shape
            points[int(len(calls) == 3)] = whole_view((rows, columns)).from_source(TRUTH)
        return target_maps(points)[None]

    points, trusted, dark = label_crops(look, np.stack([image] * 2), np.array([0, 0]))
    assert trusted.tolist() == [True, False]
    assert not dark.any()
    np.testing.assert_allclose(points[0, :, 0], 120.0, atol=3.0)


def test_crops_with_dark_bone_are_told_and_labelled_inverted():
    image = knee(0.0).astype(np.uint8)
    calls = []

    def look(views: np.ndarray) -> np.ndarray:
        """Sees the knee in the three views of the inverted image alone, which come second."""
        calls.append(views)
        points = nowhere()
        if len(calls) > 3:
            points[int(len(calls) == 6)] = whole_view(image.shape).from_source(TRUTH)
        return target_maps(points)[None]

    points, trusted, dark = label_crops(look, 255 - image[None], np.array([0]))
    assert trusted.tolist() == dark.tolist() == [True]
    np.testing.assert_allclose(points[0, :, 0], 120.0, atol=3.0)
