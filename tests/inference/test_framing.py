"""Knees framed as the training radiographs are: crops as they are, films cut, sides, polarity."""

import dataclasses

import numpy as np
import pytest

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import CENTRE_ROW, LINE_SHARE, Radiograph, mirror_radiograph
from xr2mri_jax.inference.framing import frame_knees
from xr2mri_jax.preprocess.knee_finder.find import find_knees
from xr2mri_jax.preprocess.knee_request import KneeRequest
from xr2mri_jax.preprocess.radiograph import (
    DEFAULT_CONTRAST,
    spread_over_box,
    standardise_radiograph,
)
from xr2mri_jax.tools.benchmarks.knee_finder import films
from xr2mri_jax.tools.benchmarks.strange_films import strange_films

SHAPE = (128, 128)


def framed(radiograph, **told):
    return frame_knees(radiograph, SHAPE, DEFAULT_CONTRAST, KneeRequest(**told))


@pytest.fixture(scope="module")
def film():
    """A phantom film of both knees, without spacing."""
    made, _ = next(films(1, 64))
    return Radiograph(made.image)


@pytest.fixture(scope="module")
def crop(film):
    """Its left knee alone as displayed, 256 pixels, the joint filling the frame."""
    (knee,) = frame_knees(film, (256, 256), DEFAULT_CONTRAST, KneeRequest("left"))
    return Radiograph(knee.displayed)


def test_both_knees_of_a_film_are_framed_like_training_radiographs(film):
    right, left = framed(film)
    assert (right.side, left.side) == ("right", "left")
    for knee in (right, left):
        assert knee.image.shape == (128, 128, 1) and knee.notes == ()
        twice = np.kron(knee.displayed, np.ones((2, 2)))
        (place,) = find_knees(Radiograph(twice, side=knee.side)).values()
        length = np.hypot(*np.subtract(*place.joint_line)) / 256
        assert length == pytest.approx(LINE_SHARE, abs=0.06)
        row, column = (np.array(place.centre_px) + 0.5) / 256
        assert (row, column) == pytest.approx((CENTRE_ROW, 0.5), abs=0.04)


def test_the_frame_does_not_depend_on_what_the_spacing_says(film):
    one = framed(film)[0].image
    same = framed(dataclasses.replace(film, spacing=(0.31, 0.31)))[0].image
    np.testing.assert_array_equal(one, same)
    flat = Radiograph(film.array[::2], (0.62, 0.31))
    assert np.abs(framed(flat)[0].image - one).mean() < 0.04


def test_a_crop_that_the_joint_fills_passes_as_it_is(crop):
    (knee,) = framed(crop, side="left")
    sided = dataclasses.replace(crop, side="left")
    wanted = standardise_radiograph(spread_over_box(sided), SHAPE).image
    np.testing.assert_array_equal(knee.image, wanted)
    assert knee.notes == ()
    # Another wide margin around it, or a frame that is no square, is cut to the same knee.
    wide = Radiograph(np.pad(crop.array, 100, mode="edge"))
    (cut,) = framed(wide, side="left")
    assert np.abs(cut.image - knee.image).mean() < 0.06
    (cut,) = framed(Radiograph(np.pad(crop.array, ((0, 0), (60, 60)), mode="edge")), side="left")
    assert np.abs(cut.image - knee.image).mean() < 0.06


def test_a_mirrored_crop_of_the_other_side_is_the_same_image(crop):
    (knee,) = framed(dataclasses.replace(crop, side="left"))
    (mirrored,) = framed(mirror_radiograph(dataclasses.replace(crop, side="left")))
    assert mirrored.side == "right"
    np.testing.assert_allclose(mirrored.image, knee.image, atol=1e-6)


def test_where_the_side_comes_from(crop):
    (knee,) = framed(crop)
    assert knee.side == "left"
    assert "the side is not stated: taken from the image (left" in knee.notes[0]
    (knee,) = framed(crop, named="left")
    assert (knee.side, knee.notes) == ("left", ())
    (knee,) = framed(crop, named="right")
    assert knee.side == "right" and "the file's name says right" in knee.notes[0]
    (knee,) = framed(dataclasses.replace(crop, side="left"), named="right")
    assert knee.side == "left" and "may mean the right knee, taken as left" in knee.notes[0]
    (knee,) = framed(crop, side="right")
    assert knee.side == "right" and "--side says right" in knee.notes[0]
    with pytest.raises(InputError, match="the file says left knee, found --side=right"):
        framed(dataclasses.replace(crop, side="left"), side="right")


def test_a_side_picks_one_knee_of_a_film(film):
    (knee,) = framed(film, side="right")
    np.testing.assert_array_equal(knee.image, framed(film)[0].image)
    right, left = framed(dataclasses.replace(film, side="left"))
    assert (
        "says left knee, but the image shows two knees" in right.notes[0] and len(left.notes) == 1
    )
    # The other knee is not seen: what is told may be meant for that one.
    half = film.array.copy()
    half[:, : half.shape[1] // 2] = half.min()
    with pytest.raises(InputError, match="found a left knee only, expected the right one"):
        framed(Radiograph(half), side="right")


def test_dark_bone_is_turned_round_and_said(crop):
    (knee,) = framed(crop, side="left")
    (turned,) = framed(Radiograph(1 - crop.array), side="left")
    assert "bone is dark" in turned.notes[0]
    np.testing.assert_allclose(turned.image, knee.image, atol=1e-5)


def test_a_coarse_image_and_a_missing_part_are_noted(crop, film):
    (knee,) = framed(Radiograph(crop.array[::4, ::4]), side="left")
    assert "64 pixels" not in str(knee.notes)  # just fine enough for 128
    (knee,) = framed(Radiograph(crop.array[::5, ::5]), side="left")
    assert "52 pixels across the knee, the network expects 128" in knee.notes[-1]
    place = find_knees(film)["left"]
    wide = np.hypot(*np.subtract(*place.joint_line)) / LINE_SHARE
    cut = Radiograph(film.array[round(place.centre_px[0] - 0.35 * wide) :])
    notes = [note for one in framed(cut) for note in one.notes]
    assert any("of the frame around the knee lie outside the image" in note for note in notes)


def test_what_is_no_knee_is_refused():
    strange = strange_films()
    for name in ("chest_like", "white_noise", "upside_down_film"):
        with pytest.raises(InputError, match="no knee was found"):
            framed(strange[name])
    with pytest.raises(InputError, match=r"the value 7 in every pixel, .*blank"):
        framed(strange["blank"])
    with pytest.raises(InputError, match="30 x 30 pixels"):
        framed(Radiograph(np.eye(30)))
