"""Which knees a radiograph shows: sides, places, scale, doubts, and refusals with their reasons."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import KneePlace, Radiograph, mirror_radiograph
from xr2mri_jax.phantom.bilateral import simulate_bilateral
from xr2mri_jax.preprocess import knees, scale
from xr2mri_jax.preprocess.framing import frame_radiograph
from xr2mri_jax.preprocess.knee_finder.find import DetectedKnees, detect_knees
from xr2mri_jax.preprocess.knee_request import FoundKnee, KneeRequest, RefusedKnee, named_side
from xr2mri_jax.preprocess.knees import knees_of, one_knee
from xr2mri_jax.tools.benchmarks.strange_films import strange_films

SPACING = (0.6, 0.6)


@pytest.fixture(scope="module")
def film():
    made = simulate_bilateral(11, 3, (560, 700), SPACING)
    return Radiograph(made.image, SPACING), made.places


@pytest.fixture(scope="module")
def crop(film):
    """The left knee alone as displayed, without side and spacing; the joint fills the frame."""
    (answer,) = knees_of(film[0], KneeRequest("left"))
    frame = frame_radiograph(answer.radiograph, answer.place, (256, 256))
    return Radiograph(frame.image[:, ::-1, 0])


def away_mm(knee, centre):
    return np.hypot(*np.subtract(knee.place.centre_px, centre)) * SPACING[0]


def test_two_knees_are_two_answers_in_their_places(film):
    radiograph, truth = film
    answers = knees_of(radiograph, KneeRequest())
    assert [one.side for one in answers] == ["right", "left"]
    for one in answers:
        assert isinstance(one, FoundKnee) and one.doubts == () and not one.inverted
        assert away_mm(one, truth[one.side].centre_px) < 6.0
        assert one.radiograph.side == one.side and one.radiograph.array is radiograph.array
        assert (one.scale.source, one.scale.spacing) == ("the file", SPACING)
    for said in (KneeRequest("left"), KneeRequest("right")):
        (one,) = knees_of(radiograph, said)
        assert one.side == said.side and one.side_source == "--side"
    with pytest.raises(InputError, match="found a right and a left knee, expected"):
        one_knee(radiograph, KneeRequest())
    sided = dataclasses.replace(radiograph, side="left")
    assert one_knee(sided, KneeRequest()).doubts == (
        "the file says left knee, but the image shows two knees",
    )


def test_exchanged_knees_are_a_doubt_about_each_side(film):
    radiograph, _ = film
    exchanged = Radiograph(np.roll(radiograph.array, radiograph.shape[1] // 2, axis=1), SPACING)
    answers = knees_of(exchanged, KneeRequest())
    assert [one.side for one in answers] == ["right", "left"]
    for one in answers:
        assert "because of its position on the film" in one.doubts[0]


@pytest.mark.parametrize("width", [350, 420, 500])
def test_a_film_with_one_knee_is_one_answer(film, width):
    radiograph, truth = film
    half = Radiograph(radiograph.array[:, 700 - width :], SPACING)
    if width > 450:
        half.array[:, :150] = half.array.min()
    knee = one_knee(half, KneeRequest())
    assert knee.side == "left" and knee.side_source == "the image"
    assert away_mm(knee, np.subtract(truth["left"].centre_px, (0, 700 - width))) < 6.0
    assert "the side is not stated" in knee.doubts[0]


@pytest.mark.parametrize("told", [{"named": "right"}, {"side": "right"}, {"header": "right"}])
def test_what_disagrees_with_the_image_is_a_doubt_that_names_both(crop, told):
    radiograph = dataclasses.replace(crop, side=told.pop("header", None))
    knee = one_knee(radiograph, KneeRequest(**told))
    assert knee.side == "right" and knee.seen_side == "left"
    assert "says right, but the image looks like the other side (left" in knee.doubts[0]
    assert knee.record()["side_seen"] == "left" and knee.record()["doubts"] == list(knee.doubts)


def test_the_side_of_a_name_is_a_hint_behind_flag_and_header(crop):
    assert named_side(Path("a/9001695L.png")) == "left"
    assert named_side(Path("9001695_R.dcm")) == "right" and named_side(Path("scanL.png")) is None
    assert one_knee(crop, KneeRequest(named="left")).doubts == ()
    sided = dataclasses.replace(crop, side="left")
    assert (
        "may mean the right knee, taken as left"
        in one_knee(sided, KneeRequest(named="right")).doubts[0]
    )
    with pytest.raises(InputError, match="the file says left knee, found --side=right"):
        one_knee(sided, KneeRequest("right"))
    forced = one_knee(sided, KneeRequest("right", force=True))
    assert forced.side == "right" and "the file says left knee" in forced.doubts[-1]


def test_an_unknown_spacing_is_estimated_and_said(crop):
    knee = one_knee(crop, KneeRequest("left"))
    assert knee.scale.source == "the joint line and the crop's width"
    row_mm, column_mm = knee.radiograph.spacing
    assert row_mm == column_mm and 0.30 < column_mm < 0.42  # 97 mm over 256 pixels
    assert "estimated from the joint line" in knee.scale.warning()
    recorded = knee.record()["scale"]
    assert 0.05 < recorded["deviation_mm"] / column_mm < 0.15
    flat = Radiograph(crop.array[::2], (2.0, 1.0))
    stated = one_knee(flat, KneeRequest("left", 0.37))
    assert stated.radiograph.spacing == (0.37, 0.37) and stated.scale.warning() == ""


@pytest.mark.parametrize(("share", "below", "above"), [(0.66, 0.42, 0.45), (0.79, 0.41, 0.43),
                                                        (0.95, 0.38, 0.41)])  # fmt: skip
def test_the_scale_of_a_crop_lies_between_that_of_its_joint_line_and_of_usual_crops(
    share, below, above
):
    """Crops of one knee have 0.36 to 0.45 mm per pixel of 224, whatever share the knee spans."""
    image = np.zeros((224, 224), np.float32)
    ends = 111.5 - share * 112, 111.5 + share * 112
    place = KneePlace("left", (122.0, 111.5), ((122.0, ends[0]), (122.0, ends[1])))
    by_line = scale.LINE_MM / (share * 224)
    found = scale.estimated(Radiograph(image), place)
    assert below < found.spacing[1] < above and found.deviation == scale.CROP_ERROR
    assert abs(found.spacing[1] - 0.42) <= abs(by_line - 0.42) + 1e-3
    # A film shows more than the knee: its joint line is all that is known.
    film = Radiograph(np.pad(image, ((0, 0), (0, 200))))
    assert scale.estimated(film, place).spacing == pytest.approx((by_line, by_line))
    assert scale.line_mm(film, place, found) == scale.LINE_MM
    stated = scale.stated(0.5, scale.GIVEN)
    assert scale.line_mm(film, place, stated) == pytest.approx(0.5 * share * 224)


@pytest.mark.parametrize("factor", [0.25, 2.5])
def test_an_impossible_spacing_is_not_used_from_a_file_and_refused_if_given(film, factor):
    radiograph, _ = film
    wrong = dataclasses.replace(radiograph, spacing=(0.6 * factor, 0.6 * factor))
    for knee in knees_of(wrong, KneeRequest()):
        assert knee.scale.source == "the joint line"
        assert knee.radiograph.spacing[0] == pytest.approx(0.6, rel=0.25)
        assert f"the {knee.side} knee's joint line is " in knee.doubts[0]
        assert f"mm long at the file's spacing of {0.6 * factor:.3g} mm per pixel" in knee.doubts[0]
        assert "expected 45 to 115 mm: not used" in knee.doubts[0]
    reason = (
        r"left knee's joint line is \d+ mm long at the given spacing of .*: is the spacing right\?"
    )
    with pytest.raises(InputError, match=reason):
        one_knee(radiograph, KneeRequest("left", 0.6 * factor))
    forced = one_knee(radiograph, KneeRequest("left", 0.6 * factor, force=True))
    assert forced.radiograph.spacing == (0.6 * factor, 0.6 * factor)
    assert "is the spacing right?" in forced.doubts[0]


def test_dark_bone_is_inverted_and_said(film):
    radiograph, _ = film
    dark = dataclasses.replace(radiograph, array=65535.0 - radiograph.array)
    bright, turned = one_knee(radiograph, KneeRequest("left")), one_knee(dark, KneeRequest("left"))
    assert turned.inverted and not bright.inverted and "bone is dark" in turned.doubts[0]
    shift = turned.radiograph.array - radiograph.array
    np.testing.assert_allclose(shift, shift[0, 0], atol=0.01)
    assert turned.place.centre_px == pytest.approx(bright.place.centre_px, abs=1.0)


def test_a_given_centre_is_kept_and_what_is_seen_there_counts(film):
    radiograph, truth = film
    row, column = truth["left"].centre_px
    given = row + 5.0, column - 4.0
    knee = one_knee(radiograph, KneeRequest(centre=given))
    assert knee.side == "left" and knee.place.centre_px == given and knee.side_source == "the image"
    nowhere = one_knee(radiograph, KneeRequest("left", centre=(40.0, 350.0)))
    assert nowhere.doubts == ("no knee was found at the given position",)
    assert nowhere.seen_side is None and nowhere.place.centre_px == (40.0, 350.0)
    with pytest.raises(InputError, match="side of the knee is unknown"):
        one_knee(radiograph, KneeRequest(centre=(40.0, 350.0)))
    with pytest.raises(InputError, match="--centre: found row 900"):
        one_knee(radiograph, KneeRequest("left", centre=(900.0, 350.0)))


@pytest.mark.parametrize("turn", [lambda a: a[::-1, ::-1], lambda a: a[::-1], np.rot90])
def test_a_knee_that_is_not_upright_is_refused_unless_forced(crop, turn):
    turned = Radiograph(np.ascontiguousarray(turn(crop.array)), (0.4, 0.4), "left")
    with pytest.raises(InputError, match="no knee was found"):
        one_knee(turned, KneeRequest())
    forced = one_knee(turned, KneeRequest(force=True))
    assert forced.place.centre_px == (127.5, 127.5) and "no knee was found" in forced.doubts[0]
    assert detect_knees(turned).upside_down or turn is np.rot90
    with pytest.raises(InputError, match="side of the knee is unknown"):
        one_knee(Radiograph(turned.array), KneeRequest(force=True))


def test_what_is_no_knee_is_refused():
    for name, radiograph in strange_films().items():
        with pytest.raises(InputError, match="blank" if name == "blank" else "no knee was found"):
            knees_of(radiograph, KneeRequest())


def place(side, column, confidence=0.9, tilt=0.0, sure=1.0):
    line = (100.0 - tilt, column - 60.0), (100.0 + tilt, column + 60.0)
    return KneePlace(side, (100.0, column), line, confidence, False, sure)


@pytest.fixture
def sighted(monkeypatch):
    """Answers for given detections."""

    def answers(detected, request=None, side=None):
        monkeypatch.setattr(knees, "detect_knees", lambda radiograph: detected)
        radiograph = Radiograph(np.random.default_rng(0).normal(size=(300, 600)), None, side)
        return knees_of(radiograph, request or KneeRequest())

    return answers


def test_every_place_is_an_answer(sighted):
    doubtful = DetectedKnees((place("right", 150.0),), (place("left", 450.0, 0.2),), 0.9)
    found, refused = sighted(doubtful)
    assert found.side == "right" and refused == RefusedKnee("left", refused.reason)
    assert "row 100, column 450 (confidence 0.20)" in refused.reason
    steep = DetectedKnees((place("right", 150.0), place("left", 450.0, tilt=40.0)), (), 0.9)
    found, refused = sighted(steep)
    assert isinstance(found, FoundKnee) and "tilted by 34 degrees" in refused.reason
    assert len(sighted(steep, KneeRequest("left"))) == 1


def test_knees_have_the_side_of_their_place_on_the_film(sighted):
    alike = DetectedKnees((place("right", 150.0), place("right", 450.0, sure=0.6)), (), 0.9)
    right, left = sighted(alike)
    assert (right.side, left.side) == ("right", "left") and right.doubts == ()
    assert "looks like a right one (confidence 0.60)" in left.doubts[0]
    unsure = DetectedKnees((place("right", 150.0), place("left", 450.0, sure=0.55)), (), 0.9)
    right, left = sighted(unsure)
    assert right.doubts == () and left.side == "left"
    assert "it may be the other one (confidence 0.55): are the knees exchanged?" in left.doubts[0]
    swapped = DetectedKnees((place("left", 150.0), place("right", 450.0)), (), 0.9)
    with pytest.raises(InputError, match="is the image mirrored"):
        sighted(swapped)
    assert len(sighted(swapped, KneeRequest(force=True))) == 2


def test_the_other_knee_of_a_wide_film_is_not_taken_for_the_one_that_is_meant(sighted):
    one = DetectedKnees((place("left", 450.0),), (), 0.9)
    with pytest.raises(InputError, match="found a left knee only, expected the right one"):
        sighted(one, KneeRequest("right"))
    with pytest.raises(InputError, match="found a left knee only, expected the right one"):
        sighted(one, None, "right")
    (named,) = sighted(one, KneeRequest(named="right"))
    assert named.side == "left" and "may mean the right knee, taken as left" in named.doubts[-1]


def test_doubts_of_the_header_are_passed_on(crop):
    told = dataclasses.replace(crop, doubts=("ViewPosition is LL, expected AP or PA",))
    assert one_knee(told, KneeRequest("left")).doubts == told.doubts
    assert "ViewPosition" in one_knee(mirror_radiograph(told), KneeRequest("right")).doubts[0]


def test_a_spacing_that_is_none_is_refused():
    for spacing in (0.0, -1.0, float("nan"), (0.1, 0.0)):
        with pytest.raises(InputError, match="--spacing"):
            KneeRequest(spacing=spacing)
