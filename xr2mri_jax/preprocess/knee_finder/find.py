"""Finds knees in a radiograph: side, joint centre and joint line, or a refusal."""

import dataclasses
import itertools
from typing import NoReturn

import numpy as np

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import KneePlace, Radiograph
from xr2mri_jax.preprocess.knee_finder.network import CELLS, POINTS, SIDES, look
from xr2mri_jax.preprocess.knee_finder.peaks import Found, find, find_one
from xr2mri_jax.preprocess.knee_finder.view import View, cut, normalise, whole_view

# Least confidence of a knee that is returned.
LEAST_CONFIDENCE = 0.5
# Least probability of a centre in the first look that is worth a second one.
WORTH_A_LOOK = 0.1
# Width of the second look over the length of the joint line.
NEAR = 1.4
# Two places are two knees from this distance on, over the length of the joint line.
APART = 0.8
# A joint line is at most this steep (degrees) and, where the spacing is known, so long in mm.
STEEPEST, LENGTH_MM = 25.0, (45.0, 115.0)
# What either look leaves to the side that it did not see.
UNSURE = 0.01
SMALLEST_PIXELS = 48


@dataclasses.dataclass(frozen=True)
class _Knee:
    """A knee in pixels of the radiograph: f64[3, 2] centre, first end, second end."""

    side: str
    points: np.ndarray
    confidence: float


def find_knees(
    radiograph: Radiograph, least_confidence: float = LEAST_CONFIDENCE
) -> dict[str, KneePlace]:
    """Finds both knees of a bilateral radiograph, or the knee of a single one.

    A small network looks at the whole image and again, near, at every place where the first look
    saw a joint; each look is the mean of the image's and its mirror image's. Where the radiograph
    names its side and shows one knee, that side is taken and only the place is looked for. Where no
    knee is seen the inverted image is looked at; knees found there are marked `dark_bone`, and the
    radiograph is to be inverted before it is used (`polarity.inverted`).

    Args:
      radiograph: frontal (posteroanterior or anteroposterior), upright, of either polarity, as
        displayed: the patient's right at the image's left. The spacing may be unknown; pixels are
        then taken to be square.
      least_confidence: of a knee that is returned, in [0, 1].

    Returns:
      The places by side, "right" and "left" or one of them: a knee that is not seen with
      `least_confidence` is left out where the other one is. The confidence is the network's
      probability, in the near view, that the least certain of the three points lies within 7 % of
      the view's width of where it was put, times the probability of the side by both looks.

    Raises:
      InputError: pixels that are not finite, too few of them, no knee with `least_confidence`, or
        places that a patient's knees cannot have.
    """
    _check(radiograph)
    knees = _knees(radiograph.array, radiograph)
    sure = [knee for knee in knees if knee.confidence >= least_confidence]
    dark_bone = not sure
    if dark_bone:
        inverted = _knees(-radiograph.array, radiograph)
        sure = [knee for knee in inverted if knee.confidence >= least_confidence]
        if not sure:
            _refuse([*knees, *inverted], least_confidence)
    if len(sure) == 1 and radiograph.side is not None:
        sure = [dataclasses.replace(sure[0], side=radiograph.side)]
    _check_places(sure, radiograph)
    return {knee.side: _place(knee, dark_bone) for knee in sure}


def _knees(image: np.ndarray, radiograph: Radiograph) -> list[_Knee]:
    """What both looks find in an image of the radiograph's shape, likely or not."""
    spacing = radiograph.spacing or (1.0, 1.0)
    aspect = spacing[0] / spacing[1]
    view = whole_view(radiograph.shape, aspect)
    first = [_in_source(found, view) for found in find(_maps(image, view))]
    places = _distinct([knee for knee in first if knee.confidence >= WORTH_A_LOOK], aspect)
    near = [_near(image, place, aspect) for place in places]
    return [group[0] for group in _distinct(near, aspect)]


def _refuse(knees: list[_Knee], least_confidence: float) -> NoReturn:
    best = max((knee.confidence for knee in knees), default=0.0)
    raise InputError(
        f"no knee was found in the radiograph (confidence {best:.2f}), expected at least "
        f"{least_confidence:g}: is it a frontal knee radiograph, upright?"
    )


def _check(radiograph: Radiograph) -> None:
    if min(radiograph.shape) < SMALLEST_PIXELS:
        raise InputError(
            f"found a radiograph of {radiograph.shape[0]} x {radiograph.shape[1]} pixels, expected "
            f"at least {SMALLEST_PIXELS} each way to find a knee in"
        )
    if not np.isfinite(radiograph.array).all():
        raise InputError("found pixels that are not finite, expected finite values")


def _maps(image: np.ndarray, view: View) -> np.ndarray:
    """What the network sees in a view: the mean of it and of its mirror image."""
    channels = normalise(*cut(image, view))
    if not channels.any():
        return np.zeros((len(SIDES) * len(POINTS), CELLS * CELLS + 1), np.float32)
    maps = look(np.stack([channels, channels[:, ::-1]]))
    return (maps[0] + mirrored_maps(maps[1])) / 2


def mirrored_maps(maps: np.ndarray) -> np.ndarray:
    """The maps f32[6, cells + 1] of a mirror image as those of the image."""
    grids = maps[:, :-1].reshape(len(SIDES), len(POINTS), CELLS, CELLS)[..., ::-1]
    absent = maps[:, -1:].reshape(len(SIDES), len(POINTS), 1)
    # Right and left change places, and so do the ends of a line.
    grids, absent = grids[::-1][:, [0, 2, 1]], absent[::-1][:, [0, 2, 1]]
    flat = grids.reshape(len(maps), CELLS * CELLS)
    return np.concatenate([flat, absent.reshape(len(maps), 1)], axis=1)


def _in_source(found: Found, view: View) -> _Knee:
    return _Knee(found.side, view.to_source(found.points), float(found.probability[0]))


def _near(image: np.ndarray, place: list[_Knee], aspect: float) -> _Knee:
    """The second look at a place; the side is judged by both looks together.

    Args:
      place: what the first look saw there, the likeliest first, of one side or of both.
    """
    width = max(_distance(place[0].points[1], place[0].points[2], aspect), 4.0)
    view = View(tuple(place[0].points[0].tolist()), NEAR * width, aspect)
    points, probability, sides = find_one(_maps(image, view))
    before = {knee.side: knee.confidence for knee in place}
    scores = [
        (share + UNSURE) * (before.get(side, 0.0) + UNSURE)
        for side, share in zip(SIDES, sides.tolist(), strict=True)
    ]
    best = int(np.argmax(scores))
    confidence = float(probability.min()) * scores[best] / sum(scores)
    return _Knee(SIDES[best], view.to_source(points), confidence)


def _distance(one: np.ndarray, other: np.ndarray, aspect: float) -> float:
    """Of two points, in columns."""
    return float(np.hypot((one[0] - other[0]) * aspect, one[1] - other[1]))


def _distinct(knees: list[_Knee], aspect: float) -> list[list[_Knee]]:
    """Groups of knees at one place, the likeliest first in each."""
    groups: list[list[_Knee]] = []
    for knee in sorted(knees, key=lambda knee: -knee.confidence):
        for group in groups:
            one = group[0]
            length = max(_distance(one.points[1], one.points[2], aspect), 1.0)
            if _distance(knee.points[0], one.points[0], aspect) < APART * length:
                group.append(knee)
                break
        else:
            groups.append([knee])
    return groups


def _check_places(knees: list[_Knee], radiograph: Radiograph) -> None:
    """Refuses what no radiograph of one patient's knees can show."""
    spacing = np.array(radiograph.spacing or (1.0, 1.0))
    for knee in knees:
        down, right = (knee.points[2] - knee.points[1]) * spacing
        steep = abs(float(np.degrees(np.arctan2(down, right))))
        if steep > STEEPEST:
            raise InputError(
                f"the {knee.side} knee's joint line is {steep:.0f} degrees steep, expected at most "
                f"{STEEPEST:g}: is the radiograph upright?"
            )
        length = float(np.hypot(down, right))
        if radiograph.spacing and not LENGTH_MM[0] <= length <= LENGTH_MM[1]:
            raise InputError(
                f"the {knee.side} knee's joint line is {length:.0f} mm long at a spacing of "
                f"{spacing[1]:g} mm, expected {LENGTH_MM[0]:g} to {LENGTH_MM[1]:g}: is the spacing "
                "right?"
            )
    for one, other in itertools.combinations(sorted(knees, key=lambda k: k.points[0, 1]), 2):
        if (one.side, other.side) != ("right", "left"):
            raise InputError(
                f"found a {one.side} knee at the image's left of a {other.side} knee, expected the "
                "patient's right knee at the image's left, and one knee of each side"
            )


def _place(knee: _Knee, dark_bone: bool) -> KneePlace:
    centre, first, second = ((float(row), float(column)) for row, column in knee.points)
    confidence = min(knee.confidence, 1.0)
    return KneePlace(knee.side, centre, (first, second), confidence, dark_bone)
