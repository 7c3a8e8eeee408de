"""Tests of the examples for reading shape, on an atlas made of balls and blocks."""

import numpy as np
import pytest
from test_family import made_atlas

from xr2mri_jax.phantom import surfaces
from xr2mri_jax.simulation import family, mean_knee
from xr2mri_jax.simulation.framing import Frame
from xr2mri_jax.simulation.population import population
from xr2mri_jax.simulation.reading_examples import draw_example, jitter_of, view_of


@pytest.fixture(scope="module")
def bred():
    return made_atlas()


def test_a_knee_has_several_radiographs_and_one_shape(bred):
    films, distances, views = draw_example(bred, 3, 5, 2, 32)
    assert films.shape == (2, 32, 32) and films.dtype == np.uint8
    assert (films[0] != films[1]).mean() > 0.5
    assert distances.shape == (9, 32, 32, 32) and distances.dtype == np.int8
    again, same, seen = draw_example(bred, 3, 5, 2, 32)
    np.testing.assert_array_equal(films, again)
    np.testing.assert_array_equal(distances, same)
    assert views.shape == (2, 3) and (views[0] != views[1]).all()
    np.testing.assert_array_equal(views, seen)
    assert (draw_example(bred, 3, 6, 1, 32)[1] != distances).any()


def test_the_mean_pose_does_not_depend_on_the_pose_that_was_drawn(bred):
    knees = [family.draw_knee(bred, np.random.default_rng(seed)) for seed in (0, 1)]
    # The same shapes in two poses: in the mean pose they are one knee.
    shapes = knees[0].distances
    plain = mean_knee.in_mean_pose(shapes)
    posed = family.scan_distances(knees[0], mean_knee.CENTRED)
    femur = surfaces.NAMES.index("femur")
    assert np.abs(surfaces.halved(posed)[femur].clip(-7, 7) - plain[femur].clip(-7, 7)).max() > 0.5
    assert np.abs(mean_knee.in_mean_pose(knees[1].distances)[femur] - plain[femur]).max() > 0.1


def test_the_mean_shape_in_the_mean_pose_is_the_mean_knee(bred):
    drawn = population().draw(mean_knee.MeanGenerator())
    shapes = family.mix_bones(bred, drawn, mean_knee.MeanGenerator(), 1.0)
    found = mean_knee.in_mean_pose(shapes)
    wanted = mean_knee.mean_knee_distances(bred)
    for name in ("femur", "tibia", "patella"):
        index = surfaces.NAMES.index(name)
        near = np.abs(wanted[index]) < 5
        assert np.abs(found[index] - wanted[index])[near].max() < 0.3, name


def test_the_view_of_a_frame_is_where_the_box_shows_the_knee():
    mean = Frame.mean()
    np.testing.assert_allclose(view_of(mean), 0, atol=1e-12)
    # The size in the image is not part of the view: a frame that is only wider changes nothing.
    wide = mean.moved(1.1, 0.0, (0.0, 0.0))
    np.testing.assert_allclose(view_of(wide), 0, atol=1e-9)
    lower = mean.moved(1.1, 0.0, (-2.2, 0.0))  # 2 mm of a knee in the mean frame
    np.testing.assert_allclose(view_of(lower), [0, 2, 0], atol=0.2)
    frame = mean.moved(1.0, 0.02, (1.0, -2.0), 0.05)
    jitter = jitter_of(view_of(frame))
    assert jitter.scale == 1.0 and view_of(frame).shape == (3,)
    # A point of the box is a pixel of the film; the film shows there a point of the knee.
    box = np.array([0.0, 12.0, -7.0])
    matrix, offset = mean.backward()
    share = (np.linalg.solve(matrix, box - offset)) / mean.wide_mm
    matrix, offset = frame.backward()
    on_film = matrix @ (share * frame.wide_mm) + offset
    matrix, offset = jitter.backward(1.0)
    np.testing.assert_allclose(matrix @ box + offset, on_film, atol=1e-9)
