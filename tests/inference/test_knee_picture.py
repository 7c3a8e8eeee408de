"""The pictures of a graded knee: where the joint space is drawn, and what is written."""

import dataclasses
import io

import made_grader
import numpy as np
import pytest
from PIL import Image

from xr2mri_jax.geometry import Radiograph, mirror_radiograph
from xr2mri_jax.inference.framing import frame_knees
from xr2mri_jax.inference.grade_knees import grade_knees
from xr2mri_jax.inference.grade_reading import GradeReading
from xr2mri_jax.inference.joint_space_markers import length_markers, space_texts
from xr2mri_jax.inference.knee_grader.network import Network
from xr2mri_jax.inference.knee_picture import BLOCKS, BY_GRADE, WHOLE, KneePictures
from xr2mri_jax.models.siamese_gap_inference import BLOCKS as BLOCK_MAPS
from xr2mri_jax.models.siamese_gap_inference import BOUNDARIES
from xr2mri_jax.preprocess.knee_request import KneeRequest
from xr2mri_jax.preprocess.radiograph import DEFAULT_CONTRAST
from xr2mri_jax.presentation.length_markers import _COLOUR, LengthMarker, draw_length_markers
from xr2mri_jax.tools.benchmarks.knee_finder import films

SHAPE = (made_grader.SIZE, made_grader.SIZE)


@pytest.fixture(scope="module")
def knees():
    """The right and the left knee of a film, and the mirrored left one, a right knee."""
    film = Radiograph(next(films(1, 64))[0].image)
    right, left = frame_knees(film, SHAPE, DEFAULT_CONTRAST)
    (mirrored,) = frame_knees(
        mirror_radiograph(film), SHAPE, DEFAULT_CONTRAST, KneeRequest("right")
    )
    return right, left, mirrored


@pytest.fixture(scope="module")
def pictures():
    return KneePictures(made_grader.grader())


def where(picture):
    """(row, col) i64[n, 2] of pixels in the spans' colour."""
    return np.argwhere((picture == _COLOUR).all(axis=-1))


def test_spans_lie_between_the_margins_of_their_compartment(knees):
    for knee in knees[:2]:
        medial, lateral = length_markers(knee, lambda source: source)
        assert medial.text == f"medial\n~{knee.joint_space_mm[0]:.1f} mm"
        assert lateral.text.startswith("lateral\n")
        # On a film the right knee is at the left, and both knees' medial sides are in the middle.
        inwards = -1 if knee.side == "left" else 1
        assert inwards * (medial.ends[:, 1].mean() - lateral.ends[:, 1].mean()) > 0
        for span, margins in (
            (medial, knee.joint_space.medial),
            (lateral, knee.joint_space.lateral),
        ):
            assert span.ends[0, 0] < span.ends[1, 0]
            np.testing.assert_array_equal(span.ends, margins.narrowest)


def test_the_scale_is_marked_unless_it_is_stated(knees):
    film = Radiograph(next(films(1, 64))[0].image)
    stated, _ = frame_knees(film, SHAPE, DEFAULT_CONTRAST, KneeRequest(spacing=0.4))
    assert knees[0].scale_estimated and not stated.scale_estimated
    assert space_texts((4.21, 5.0), None) == ("4.2 mm", "5.0 mm")
    assert space_texts((4.21, 5.0), None, True) == ("~4.2 mm", "~5.0 mm")
    texts = [span.text for span in length_markers(stated, lambda source: source)]
    assert texts[0] == f"medial\n{stated.joint_space_mm[0]:.1f} mm"


def test_drawn_in_the_source_and_in_the_frame_of_both_sides(knees, pictures):
    _, left, mirrored = knees
    drawn = {knee.side: pictures.draw(knee) for knee in (left, mirrored)}
    assert set(drawn["left"]) == {WHOLE, BLOCKS}
    whole = np.asarray(Image.open(io.BytesIO(drawn["left"][WHOLE])))
    assert whole.shape[:2] == left.source.shape
    for span in length_markers(left, lambda source: source):
        row, column = np.rint(span.ends.mean(axis=0)).astype(int)
        part = whole[row - 2 : row + 3, column - 2 : column + 3]
        assert len(where(part))
    plain = {side: pictures._plain(knee) for side, knee in (("l", left), ("r", mirrored))}
    lines = {side: where(picture[:18]) for side, picture in plain.items()}
    # The same knee, mirrored: so are the lines.
    mirror = np.abs(lines["l"] - (0, made_grader.SIZE - 1))
    for some, others in ((mirror, lines["r"]), (lines["r"], mirror)):
        apart = np.abs(some[:, None] - others[None]).max(axis=-1)
        assert len(some) >= 8 and apart.min(axis=1).max() <= 1


def test_only_a_reading_is_drawn_by_grade(knees):
    reading = GradeReading(2, dict(enumerate((0.1, 0.2, 0.4, 0.2, 0.1))), 2.0, (1, 2))
    pictures = KneePictures(made_grader.grader_of_five())
    assert set(pictures.draw(knees[0], reading)) == {WHOLE, BLOCKS, BY_GRADE}
    assert set(pictures.draw(knees[0])) == {WHOLE, BLOCKS}


@pytest.mark.parametrize(
    ("grader", "told", "names"),
    [
        (made_grader.grader, (BLOCK_MAPS,), (WHOLE, BLOCKS)),
        (made_grader.grader_of_five, (BLOCK_MAPS, BOUNDARIES), (WHOLE, BLOCKS, BY_GRADE)),
    ],
)
def test_maps_that_the_grading_told_give_the_same_pictures(knees, grader, told, names):
    grader = grader()
    network, pictures = Network(grader, 2, told), KneePictures(grader)
    for knee, row in zip(knees[:2], grade_knees(knees[:2], grader, network), strict=True):
        assert len(row.maps.blocks) == 4
        assert row.maps.boundaries is None or len(row.maps.boundaries) == 4
        computed, told = (pictures.draw(knee, row.reading, maps) for maps in (None, row.maps))
        assert set(told) == set(names)
        for name in names:
            one, other = (
                np.asarray(Image.open(io.BytesIO(drawn[name])), int) for drawn in (computed, told)
            )
            assert np.abs(one - other).max() <= 2


def test_without_a_scale_the_share_is_written_and_without_a_line_nothing(knees):
    bare = dataclasses.replace(knees[0], line_mm=None)
    assert bare.joint_space_mm is None
    share = bare.joint_space_share
    assert [span.text for span in length_markers(bare, lambda source: source)] == [
        f"medial\n{share[0]:.1%}",
        f"lateral\n{share[1]:.1%}",
    ]
    nothing = dataclasses.replace(bare, joint_space=None)
    assert (
        length_markers(nothing, lambda source: source) == [] and nothing.joint_space_share is None
    )
    assert space_texts(None, None) == ("", "")


def test_a_span_is_a_line_between_its_ends():
    black = np.zeros((60, 80, 3), np.uint8)
    picture = draw_length_markers(
        black, [LengthMarker(np.array([[10.0, 40.0], [20.0, 40.0]]), "")], 60
    )
    found = where(picture)
    assert found[:, 0].min() == 10 and found[:, 0].max() == 20
    assert {(row, 40) for row in range(10, 21)} <= set(map(tuple, found.tolist()))
    assert found[:, 1].min() == 38 and found[:, 1].max() == 42  # the ends' bars
    point = draw_length_markers(black, [LengthMarker(np.full((2, 2), 30.0), "0.0 mm")], 60)
    assert len(where(point)) and not black.any()
    assert draw_length_markers(black, [], 60) is black
