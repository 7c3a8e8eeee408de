"""The bilateral phantom film: deterministic, true to its single knees, its truth in its pixels."""

import dataclasses
import math

import jax
import numpy as np
import pytest

from xr2mri_jax.geometry import BOX_MM, KneePlace, Radiograph, resample_radiograph
from xr2mri_jax.phantom.bilateral import simulate_bilateral, take
from xr2mri_jax.phantom.case import simulate_case
from xr2mri_jax.phantom.film import Film, draw_film
from xr2mri_jax.phantom.leg import project_leg

ROWS = 32  # pixels of 4 mm: compiled at the lowest level
SHAPE, SPACING = (180, 220), (2.0, 2.0)


@pytest.fixture(scope="module")
def legs():
    return tuple(project_leg(5, index, ROWS) for index in (2, 3))  # wide joint spaces


def exposed(legs, **settings):
    film = Film(letters=False, **settings)
    return take(legs, film, SHAPE, SPACING, np.random.default_rng(0))


def test_features_and_the_same_again():
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        films = [
            simulate_bilateral(5, subject, SHAPE, SPACING, None, ROWS) for subject in (0, 0, 1)
        ]
    for film in films:
        assert film.image.shape == SHAPE and film.image.dtype == np.uint16
        assert film.image.min() == 0 and film.image.max() == 65535
        assert set(film.places) == set(film.box_centres) == {"left", "right"}
        assert all(place.side == side for side, place in film.places.items())
        right, left = (film.places[side].centre_px for side in ("right", "left"))
        assert 0 < right[1] < left[1] - 50 and left[1] < SHAPE[1] and 0 < right[0] < SHAPE[0]
    np.testing.assert_array_equal(films[0].image, films[1].image)
    assert films[0].places == films[1].places != films[2].places
    assert not np.array_equal(films[0].image, films[2].image)


def test_cut_around_the_box_is_the_single_knee(legs):
    film = exposed(legs)
    for index, (side, centre) in enumerate((s, film.box_centres[s]) for s in ("right", "left")):
        case = simulate_case(5, 2 + index, (16, 32, 32))["xray"][..., 0].astype(float)
        whole = Radiograph(film.image, film.spacing, side)

        def alike(row: float, column: float, whole=whole, case=case) -> float:
            cut, _ = resample_radiograph(whole, (row, column), (32, 32))
            inner = np.s_[3:-3, 3:-3]  # the processing looks beyond the box's border
            return float(np.corrcoef(cut[inner].ravel(), case[inner].ravel())[0, 1])

        here = alike(*centre)
        assert here > 0.95
        for step in ((2, 0), (-2, 0), (0, 2), (0, -2)):
            assert alike(centre[0] + step[0], centre[1] + step[1]) < here


def test_joint_space_is_dark_on_the_true_line_and_the_fibula_is_lateral(legs):
    film = exposed(legs, gamma=1.0)
    image = film.image.astype(float)
    for side, place in film.places.items():
        (r0, c0), (r1, c1) = place.joint_line
        for share in (0.25, 0.75):  # the middle of each compartment
            row, column = round(r0 + share * (r1 - r0)), round(c0 + share * (c1 - c0))
            profile = image[row - 5 : row + 6, column - 1 : column + 2].mean(1)
            assert (
                profile[4:7].min() < profile[:2].max() and profile[4:7].min() < profile[-2:].max()
            )
        row, column = (round(value) for value in place.centre_px)
        lateral = -1 if side == "right" else 1
        below = image[row + 35 : row + 50].mean(0)
        beside = [below[column + sign * 16 - 2 : column + sign * 16 + 3].mean() for sign in (-1, 1)]
        assert lateral * (beside[1] - beside[0]) > 1000


def test_the_joint_lies_on_its_line_and_turns_with_the_film(legs):
    straight, turned = exposed(legs), exposed(legs, rotation_deg=5.0)
    for side in ("left", "right"):
        (r0, c0), (r1, c1) = straight.places[side].joint_line
        row, column = straight.places[side].centre_px
        assert abs((r0 + r1) / 2 - row) < 3 and abs((c0 + c1) / 2 - column) < 3
        assert 60 < math.hypot(r1 - r0, c1 - c0) * 2.0 < 90
        angles = [
            math.degrees(math.atan2(b[0] - a[0], b[1] - a[1]))
            for a, b in (straight.places[side].joint_line, turned.places[side].joint_line)
        ]
        assert angles[0] - angles[1] == pytest.approx(5.0, abs=0.1)
    gap = [
        film.places["left"].centre_px[1] - film.places["right"].centre_px[1]
        for film in (straight, turned)
    ]
    assert gap[0] == pytest.approx(215.0 / 2.0, abs=6)


def test_legs_go_on_beyond_the_box_with_air_beside_them(legs):
    film = exposed(legs)
    image = film.image.astype(float) / 65535
    for place in film.places.values():
        column = round(place.centre_px[1])
        for row in (2, SHAPE[0] - 3):  # 86 mm above and below the joint
            assert image[row, column - 12 : column + 13].max() > 0.4
    assert image[:, SHAPE[1] // 2 - 4 : SHAPE[1] // 2 + 4].max() < 0.2
    assert image.shape[0] * SPACING[0] > 2 * BOX_MM[1]


def test_shutters_are_white_when_unexposed_and_black_when_blackened(legs):
    margins = (20.0, 30.0, 10.0, 0.0)
    white = exposed(legs, shutters_mm=margins).image
    black = exposed(legs, shutters_mm=margins, black_shutters=True).image
    assert white[:9].min() > 60000 and white[-12:].min() > 60000 and white[:, :3].min() > 60000
    assert not black[:9].any() and not black[-12:].any() and not black[:, :3].any()
    assert black[12:-18, 8:].any()


def test_markers_and_exposure(legs):
    plain = exposed(legs).image.astype(float)
    marked = take(legs, Film(beads=True), SHAPE, SPACING, np.random.default_rng(0)).image
    assert np.count_nonzero(np.abs(marked - plain) > 15000) > 40
    noise = [
        np.abs(
            np.diff(exposed(legs, exposure=share).image[:40, 40:60].astype(float), axis=0)
        ).mean()
        for share in (0.01, 1.0)
    ]
    assert noise[0] > 2 * noise[1]


def test_drawn_films_keep_the_joints_on_film(legs):
    rng = np.random.default_rng(3)
    drawn = [draw_film(rng, (350.0, 430.0)) for _ in range(60)]
    assert len({film.rotation_deg for film in drawn}) == 60
    for film in drawn:
        blank = dataclasses.replace(film, letters=False, beads=False)
        for place in take(legs, blank, (50, 62), (7.0, 7.0), rng).places.values():
            assert 8 < place.centre_px[0] < 42 and 3 < place.centre_px[1] < 58


def test_wrong_numbers_raise():
    with pytest.raises(ValueError, match="rows 31"):
        project_leg(0, 0, 31)
    with pytest.raises(ValueError, match="seed -1"):
        project_leg(-1, 0, ROWS)
    with pytest.raises(ValueError, match="confidence"):
        KneePlace("left", (0, 0), ((0, 0), (0, 1)), 1.5)
    with pytest.raises(ValueError, match="finite"):
        KneePlace("left", (0, np.nan), ((0, 0), (0, 1)))
