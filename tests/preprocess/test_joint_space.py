"""Tests of the joint space in radiographs, on drawn knees of known width and on real ones."""

import itertools

import numpy as np
import pytest
from scipy import ndimage

from xr2mri_jax.geometry import KneePlace, Radiograph, mirror_radiograph
from xr2mri_jax.io import read_radiograph
from xr2mri_jax.preprocess import joint_space_trace
from xr2mri_jax.preprocess.joint_space import COMPARTMENTS, measure_joint_space
from xr2mri_jax.preprocess.knee_request import KneeRequest
from xr2mri_jax.preprocess.knees import one_knee

LENGTH = 180.0


def drawn(medial, lateral, factor=1.0, turn=0.0):
    """A right knee: two round condyles over a flat plateau, gaps as shares of the line's length."""
    size = round(240 * factor)
    row, column = np.mgrid[:size, :size] / factor
    row, column = row - 120.0, column - 120.0
    c, s = np.cos(np.deg2rad(turn)), np.sin(np.deg2rad(turn))
    down, right = c * row - s * column, c * column + s * row
    plateau = 6.0
    bone = np.clip(0.5 + (down - plateau) * factor, 0, 1)  # without steps of whole pixels
    radius = 0.3 * LENGTH
    for middle, gap in ((-0.25, lateral), (0.25, medial)):
        top = plateau - gap * LENGTH - radius
        inside = radius - np.hypot(down - top, right - middle * LENGTH)
        bone = np.maximum(bone, np.clip(0.5 + inside * factor, 0, 1))
    bone[down < plateau - 0.35 * LENGTH] = 1
    image = ndimage.gaussian_filter(60.0 + 120.0 * bone, 0.8 * factor)
    image += np.random.default_rng(0).normal(0, 2.0, image.shape)
    # The finder's line lies in the joint space.
    level = plateau - 0.02 * LENGTH
    ends = []
    for x in (-LENGTH / 2, LENGTH / 2):
        at = np.array([c * level + s * x, c * x - s * level]) + 120.0
        ends.append(tuple((at * factor).tolist()))
    centre = tuple(np.mean(ends, axis=0).tolist())
    return image.astype(np.float32), KneePlace("right", centre, tuple(ends))


@pytest.mark.parametrize(("medial", "lateral"), [(0.05, 0.07), (0.02, 0.06), (0.08, 0.03)])
@pytest.mark.parametrize(("factor", "turn"), [(1.0, 0.0), (3.0, 0.0), (1.0, 6.0), (1.0, -6.0)])
def test_a_known_width_is_measured(medial, lateral, factor, turn):
    image, place = drawn(medial, lateral, factor, turn)
    found = measure_joint_space(Radiograph(image, None), place)
    assert found.medial.share == pytest.approx(medial, abs=0.008)
    assert found.lateral.share == pytest.approx(lateral, abs=0.008)
    # The narrowest place lies under the condyle's lowest point.
    along = np.subtract(place.joint_line[1], place.joint_line[0])
    for compartment, where in ((found.medial, 0.75), (found.lateral, 0.25)):
        middle = compartment.narrowest.mean(axis=0) - place.joint_line[0]
        assert middle @ along / (along @ along) == pytest.approx(where, abs=0.06)


@pytest.mark.parametrize("exponent", [-140, -100, -30, 30, 100, 119])
def test_the_unit_of_the_grey_values_does_not_matter(exponent):
    image, place = drawn(0.03, 0.07)
    usual = measure_joint_space(Radiograph(image, None), place)
    scaled = measure_joint_space(Radiograph(np.ldexp(image, exponent), None), place)
    for name in COMPARTMENTS:
        # The smallest numbers in float32 have fewer digits.
        tolerance = 1e-4 if exponent == -140 else 0.0
        assert getattr(scaled, name).share == pytest.approx(
            getattr(usual, name).share, abs=tolerance, rel=0.0
        )


def test_a_left_knee_is_the_mirror_image():
    image, place = drawn(0.03, 0.07)
    right = measure_joint_space(Radiograph(image, None), place)
    wide = image.shape[1] - 1
    ends = tuple((row, wide - column) for row, column in reversed(place.joint_line))
    mirrored = mirror_radiograph(Radiograph(image, None, "right"))
    left = measure_joint_space(
        mirrored, KneePlace("left", (place.centre_px[0], wide - place.centre_px[1]), ends)
    )
    for name in COMPARTMENTS:
        one, other = getattr(right, name), getattr(left, name)
        assert one.share == pytest.approx(other.share, abs=1e-6)
        np.testing.assert_allclose(one.femur[:, 1], wide - other.femur[::1, 1], atol=1e-6)


def test_pixels_that_are_not_square():
    image, place = drawn(0.04, 0.06, factor=2.0)
    flat = image[::2]  # rows of twice the height
    ends = tuple((row / 2, column) for row, column in place.joint_line)
    centre = place.centre_px[0] / 2, place.centre_px[1]
    found = measure_joint_space(Radiograph(flat, (0.4, 0.2)), KneePlace("right", centre, ends))
    assert found.medial.share == pytest.approx(0.04, abs=0.01)
    assert found.lateral.share == pytest.approx(0.06, abs=0.01)


def test_the_record_has_shares_and_millimetres():
    image, place = drawn(0.05, 0.07)
    found = measure_joint_space(Radiograph(image, None), place)
    record = found.record(75.0)
    assert record["medial"]["mm"] == pytest.approx(75 * found.medial.share)
    assert found.record()["lateral"] == {"share": found.lateral.share, "mm": None}


def test_without_a_line_there_is_none():
    image, place = drawn(0.05, 0.07)
    nowhere = KneePlace("right", place.centre_px, (place.centre_px, place.centre_px))
    assert measure_joint_space(Radiograph(image, None), nowhere) is None


def test_bone_on_bone_is_no_space():
    image, place = drawn(-0.04, 0.07)
    found = measure_joint_space(Radiograph(image, None), place)
    assert found.medial.share == 0
    assert found.lateral.share == pytest.approx(0.07, abs=0.008)
    # The margins coincide and do not wander into the bone.
    closed = np.abs(found.medial.femur[:, 0] - found.medial.tibia[:, 0]) < 1e-9
    assert closed.sum() > 5
    assert np.abs(found.medial.tibia[closed, 0] - 126.0).max() < 0.03 * LENGTH


def test_the_slopes_of_the_spines_do_not_count():
    image, place = drawn(0.06, 0.06)
    row, column = np.mgrid[:240, :240] - 120.0
    spine = (np.abs(column) < 0.18 * LENGTH) & (row > 6.0 - 0.10 * LENGTH)
    image[spine] = 180.0  # nearer to both condyles than the plateau is
    found = measure_joint_space(Radiograph(image, None), place)
    for name in COMPARTMENTS:
        assert getattr(found, name).share == pytest.approx(0.06, abs=0.01)


def test_severe_grades_have_less_joint_space(real_data):
    folder = real_data / "knee_xray_kl" / "val"
    least = {}
    for grade, step in (("0", 22), ("3", 7), ("4", 2)):
        values = []
        for path in sorted((folder / grade).glob("*.png"))[::step]:
            knee = one_knee(read_radiograph(path), KneeRequest())
            space = measure_joint_space(knee.radiograph, knee.place)
            values.append(min(space.medial.share, space.lateral.share))
        least[grade] = np.array(values)
    for grade, expected in (("3", 0.8), ("4", 0.9)):
        assert (least[grade][:, None] < least["0"]).mean() > expected


def test_the_traced_margins_are_the_best_pair():
    """Against the totals of all paths, in small."""
    rng = np.random.default_rng(3)
    shown, away = rng.random((2, 4, 3), np.float32), rng.random(4)
    cost = joint_space_trace._cost(away)
    upper, gaps = joint_space_trace._follow(shown, away)

    def total(one, path):
        places = [
            shown[one, row + gap, column] - shown[one, row, column] - cost[row, gap]
            for column, (row, gap) in enumerate(path)
        ]
        moves = [np.subtract(b, a) for a, b in itertools.pairwise(path)]
        steps = [
            joint_space_trace._STEP * abs(down) + joint_space_trace._GAP_STEP * abs(wider)
            for down, wider in moves
        ]
        return sum(places) - sum(steps)

    pairs = [(row, gap) for row in range(4) for gap in range(4) if row + gap < 4]
    for one in range(2):
        paths = [
            path
            for path in itertools.product(pairs, repeat=3)
            if all(np.abs(np.subtract(b, a)).max() <= 1 for a, b in itertools.pairwise(path))
        ]
        best = max(total(one, path) for path in paths)
        found = list(zip(upper[one].tolist(), gaps[one].tolist(), strict=True))
        assert total(one, found) == pytest.approx(best, abs=1e-5)
