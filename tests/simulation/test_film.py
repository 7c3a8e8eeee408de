"""Tests of how simulated radiographs are framed and developed."""

import numpy as np
import pytest
from test_family import made_atlas

from xr2mri_jax.geometry import BOX_MM, PLATEAU_MM
from xr2mri_jax.simulation import film, framing, poses, projection
from xr2mri_jax.simulation.framing import Frame, Jitter
from xr2mri_jax.tools.benchmarks import film as suite

PIXELS = 48


def generator(seed=0):
    return np.random.default_rng(seed)


def line_integrals():
    """A bone across the middle third of a leg of soft tissue, in air."""
    path = np.zeros((PIXELS, PIXELS))
    path[:, 6:-6] = 2.0
    path[:, 16:-16] = 3.0
    return path


@pytest.mark.parametrize("seed", range(8))
def test_bone_is_brighter_than_flesh_and_flesh_than_air(seed):
    image = film.develop(line_integrals(), 2.0, generator(seed))
    assert image.dtype == np.float32 and image.min() >= 0 and image.max() <= 1
    air, flesh, bone = (
        np.median(image[:, part]) for part in (slice(4), slice(8, 14), slice(20, 28))
    )
    assert air < flesh < bone


def test_the_same_generator_gives_the_same_film_and_another_one_another():
    first, again, other = (
        film.develop(line_integrals(), 2.0, generator(seed)) for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).mean() > 0.01


def test_a_frame_is_placed_in_the_box_where_it_was_taken():
    image = np.zeros((100, 100), np.float32)
    image[48:52, 48:52] = 1.0
    box = framing.canvas(image, 128, Frame(50.0, (10.0, -20.0)))
    rows, columns = np.nonzero(box > 0.3)
    pixel = BOX_MM[1] / 128
    assert (rows.mean() - 63.5) * pixel == pytest.approx(10.0, abs=0.6)
    assert (columns.mean() - 63.5) * pixel == pytest.approx(-20.0, abs=0.6)


def test_what_lies_outside_of_a_frame_repeats_its_border():
    image = np.tile(np.linspace(0.2, 0.8, 64, dtype=np.float32), (64, 1))
    box = framing.canvas(image, 64, Frame(60.0, (0.0, 0.0)))
    assert np.ptp(box[:, :10]) < 1e-3 and np.ptp(box[:, -10:]) < 1e-3
    assert box[0, 0] == pytest.approx(0.2, abs=0.02)


def test_frames_differ_as_crops_do_and_some_show_the_whole_box():
    jitter = Jitter((0.0, 0.0, 0.0), 0.0, 1.0)
    frames = [Frame.draw(jitter, generator(seed)) for seed in range(300)]
    wide = np.array([frame.wide_mm for frame in frames])
    whole = wide == BOX_MM[1]
    assert 0.04 < whole.mean() < 0.2
    # The joint line is 0.79 of a crop's width and 0.94 of the plateau's.
    assert np.mean(PLATEAU_MM / wide[~whole]) == pytest.approx(0.79 / 0.94, abs=0.01)


def test_a_frame_is_turned_about_its_joint_and_scaled_with_the_knee():
    frame = Frame(100.0, (5.0, 0.0), np.pi / 2)
    matrix, offset = frame.backward(2.0)
    np.testing.assert_allclose(matrix @ matrix.T, 4 * np.eye(3), atol=1e-12)
    np.testing.assert_allclose(offset, matrix @ [0.0, 5.0, 0.0])


@pytest.fixture(scope="module")
def standing():
    atlas = made_atlas()
    bones = {name: atlas.distances[name][0] for name in projection.BONES}
    points = poses.plateau_points(bones["tibia"])
    wanted = np.array([3.0, 5.0])
    seen = poses.draw_radiograph_pose(
        bones["femur"], points, poses.STILL, poses.STILL, wanted, generator(2)
    )
    return atlas, points, wanted, projection.Standing(bones, seen, 1.0)


def test_the_filmed_knee_has_the_wanted_joint_space(standing):
    _, points, wanted, knee = standing
    found = poses.gaps(knee.bones["femur"], points, knee.seen.femur)
    np.testing.assert_allclose(found, wanted, atol=0.4)
    np.testing.assert_allclose(knee.seen.beam @ knee.seen.beam.T, np.eye(3), atol=1e-12)


def test_a_measured_knee_is_filmed_alike_but_for_its_flexion(standing):
    atlas, _, _, knee = standing
    bones = {name: knee.bones[name] for name in ("femur", "tibia", "patella")}
    straight, again, bent = (
        suite.simulated(atlas, bones, (angle, angle), 3) for angle in (0.0, 0.0, 20.0)
    )
    np.testing.assert_array_equal(straight, again)
    # The tibia stays where it is.
    assert np.corrcoef(straight[150:].ravel(), bent[150:].ravel())[0, 1] > 0.9
    assert np.abs(straight[:100] - bent[:100]).mean() > 0.01


def test_line_integrals_are_larger_where_bone_is(standing):
    atlas, _, _, knee = standing
    frame = Frame.mean()
    path = projection.path(knee, frame.backward(1.0), frame, atlas.path[0], PIXELS, generator(1))
    assert path.shape == (PIXELS, PIXELS) and np.isfinite(path).all()
    bare = projection.path(
        projection.Standing(
            {name: np.full_like(d, 12.0) for name, d in knee.bones.items()}, knee.seen, 1.0
        ),
        frame.backward(1.0), frame, atlas.path[0], PIXELS, generator(1),
    )  # fmt: skip
    assert (path - bare)[PIXELS * 3 // 4, PIXELS // 2] > 0.2
