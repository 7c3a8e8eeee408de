"""Finds the knees of a radiograph: side, joint centre and joint line, or a refusal."""

import dataclasses

import numpy as np

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import KneePlace, Radiograph
from xr2mri_jax.preprocess.knee_finder.network import SIDES
from xr2mri_jax.preprocess.knee_finder.peaks import Detection, find, find_one, unambiguous
from xr2mri_jax.preprocess.knee_finder.view import View, whole_view
from xr2mri_jax.preprocess.knee_finder.view_maps import ViewMaps

# Minimum confidence of an accepted knee, and of one that is reported as doubtful.
LEAST_CONFIDENCE, LEAST_DOUBTFUL = 0.4, 0.15
# Minimum confidence of a second knee, which is searched for beside a first one.
LEAST_PARTNER = 0.35
# Minimum probability of a centre in the first look that triggers a second look.
WORTH_A_LOOK = 0.1
# Width of the second look, and of the look for a second knee, over the length of the joint line.
NEAR, BESIDE = 1.4, 2.2
# If no knee is found: size of the first look's view over the whole image, and the second look's
# width. A severely destroyed joint shows by its surroundings.
WIDER, NEAR_WIDER = 1.3, 1.6
# Two places are two knees from this distance on, over the length of the joint line. A second knee
# is searched for if this much of the image lies beside the first one.
APART, ROOM = 0.8, 0.6
# A knee of less confidence is compared with the detections in the image turned upside down.
CERTAIN = 0.9
# Minimum confidence of the second look if the first was clear (`peaks.unambiguous`): below it, the
# first look is completed by the mirror image and the second one repeated. In 1,400 real and
# modified crops the joint centre moves by 0.5 mm at most against looks with the mirror image.
CERTAIN_AFTER_CLEAR = 0.985
# Probability that either look assigns to the side that it did not see.
UNSURE = 0.01
SMALLEST_PIXELS = 48


@dataclasses.dataclass(frozen=True)
class DetectedKnees:
    """The knees detected in a radiograph.

    Attributes:
      places: the accepted knees, from left to right in the image, two at most.
      doubtful: places that may be further knees, with too little confidence.
      best: the largest confidence, including knees that are not accepted.
      upside_down: whether a knee is found in the image turned by 180 degrees, and none, or a less
        likely one, in the image as it is.
    """

    places: tuple[KneePlace, ...]
    doubtful: tuple[KneePlace, ...] = ()
    best: float = 0.0
    upside_down: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class _Knee:
    """A knee in pixels of the radiograph: f64[3, 2] centre, first end, second end.

    `dark`: it was found in the inverted image.
    """

    side: str
    points: np.ndarray
    confidence: float
    side_confidence: float = 1.0
    dark: bool = False

    @property
    def likelihood(self) -> float:
        """Probability that the knee is there and of its side."""
        return self.confidence * self.side_confidence


def detect_knees(
    radiograph: Radiograph, least_confidence: float = LEAST_CONFIDENCE
) -> DetectedKnees:
    """Detects the knees of a radiograph.

    A small network looks at the whole image, and again, closer, at every place where the first look
    found a joint. Each look averages the image and its mirror image. A clear first look at one knee
    skips the mirror image, because it only aims the second look. If one knee is found and there is
    room for another, the mirrored place is searched. If no knee is found, the inverted image is
    searched; knees found there are marked `dark_bone`. If still none is found, both are searched in
    wider views. If none is found with certainty, the image turned by 180 degrees is searched.

    Args:
      radiograph: frontal (posteroanterior or anteroposterior), upright, of either polarity, as
        displayed: the patient's right at the image's left. The spacing is used only for the pixel
        aspect.
      least_confidence: of an accepted knee, in [0, 1].

    Returns:
      What is found. The confidence of a place is the geometric mean over its three points of the
      network's probability, in the close view, that a point lies within 7 % of the view's width
      of its position; the probability of its side is by both looks.

    Raises:
      InputError: pixels that are not finite, or too few of them.
    """
    _check(radiograph)
    image, aspect = radiograph.array, _aspect(radiograph)
    knees = _candidates(image, aspect)
    dark_bone = not _accepted(knees, least_confidence)
    if dark_bone:
        seen = [dataclasses.replace(knee, dark=True) for knee in _candidates(-image, aspect)]
        knees = seen if _accepted(seen, least_confidence) else [*knees, *seen]
    if not _accepted(knees, least_confidence):
        knees = _search_wider(image, aspect) or knees
    sure = _accepted(knees, least_confidence)
    best = max((knee.likelihood for knee in knees), default=0.0)
    if best < CERTAIN:
        turned = max(
            _upside_down_likelihood(one, aspect) for one in (image, -image)[: 1 + dark_bone]
        )
        if turned >= max(least_confidence, best):
            return DetectedKnees((), (), best, True)
    if not sure:
        return DetectedKnees((), (), best)
    rest = [knee for knee in knees if LEAST_DOUBTFUL <= knee.likelihood < least_confidence]
    sure, rest = _with_second(image, sure[:2], rest, aspect)
    return DetectedKnees(tuple(map(_place, sure)), tuple(map(_place, rest)), best)


def _with_second(
    image: np.ndarray, sure: list[_Knee], rest: list[_Knee], aspect: float
) -> tuple[list[_Knee], list[_Knee]]:
    """The accepted knees, from left to right, and a doubtful one if just one is accepted."""
    if len(sure) == 2:
        return sorted(sure, key=_column), []
    (first,) = sure
    beside = _second_knee(-image if first.dark else image, first, aspect)
    found = [] if beside is None else [dataclasses.replace(beside, dark=first.dark)]
    if found and found[0].likelihood < LEAST_PARTNER:
        # Some films are composed of files of different polarity.
        other = _second_knee(image if first.dark else -image, first, aspect)
        found += [] if other is None else [dataclasses.replace(other, dark=not first.dark)]
    rest = _elsewhere([*rest, *found], first, aspect)[:1]
    if rest and rest[0].likelihood >= LEAST_PARTNER:
        return sorted([first, *rest], key=_column), []
    return sure, [knee for knee in rest if knee.likelihood >= LEAST_DOUBTFUL]


def _column(knee: _Knee) -> float:
    return float(knee.points[0, 1])


def find_knees(
    radiograph: Radiograph, least_confidence: float = LEAST_CONFIDENCE
) -> dict[str, KneePlace]:
    """The knees of `detect_knees` by side: both of a bilateral radiograph, or a single one.

    Two knees get their sides from their positions on the film; a single knee gets the radiograph's
    side if that is known.

    Raises:
      InputError: as `detect_knees`; no knee with `least_confidence`.
    """
    detected = detect_knees(radiograph, least_confidence)
    if not detected.places:
        raise InputError(refusal(detected, least_confidence))
    if len(detected.places) == 1:
        (place,) = detected.places
        side = radiograph.side or place.side
        return {side: dataclasses.replace(place, side=side)}
    pairs = zip(SIDES, detected.places, strict=True)
    return {side: dataclasses.replace(place, side=side) for side, place in pairs}


def refusal(detected: DetectedKnees, least_confidence: float = LEAST_CONFIDENCE) -> str:
    """The reason for refusing a radiograph without knees."""
    if detected.upside_down:
        return (
            "no knee was found in the radiograph as it is, but one when it is turned by 180 "
            "degrees: found an upside-down image, expected an upright one"
        )
    return (
        f"no knee was found in the radiograph (confidence {detected.best:.2f}), expected at least "
        f"{least_confidence:g}: is it a frontal knee radiograph, upright?"
    )


def _accepted(knees: list[_Knee], least: float) -> list[_Knee]:
    return [knee for knee in knees if knee.likelihood >= least]


def _search_wider(image: np.ndarray, aspect: float) -> list[_Knee]:
    """The single knee detected with confidence in wider views; [] for none, or for several."""
    for one, dark in ((image, False), (-image, True)):
        knees = _accepted(_candidates(one, aspect, WIDER, NEAR_WIDER), LEAST_CONFIDENCE)
        if len(knees) == 1:
            return [dataclasses.replace(knees[0], dark=dark)]
    return []


def _candidates(
    image: np.ndarray, aspect: float, zoom: float = 1.0, near: float = NEAR
) -> list[_Knee]:
    """All candidates for knees in an image, whatever their confidence; the likeliest first."""
    view = whole_view((image.shape[0], image.shape[1]), aspect)
    view = View(view.centre, zoom * view.side, aspect)
    maps = ViewMaps(image, view)
    only = unambiguous(find(maps.single))
    if only is not None:
        knee = _second_look(image, [_in_source(only, view)], aspect, near)
        if min(knee.confidence, knee.side_confidence) >= CERTAIN_AFTER_CLEAR:
            return [knee]
    first = [_in_source(found, view) for found in find(maps.mirror_averaged())]
    places = _distinct([knee for knee in first if knee.confidence >= WORTH_A_LOOK], aspect)
    seen = [_second_look(image, place, aspect, near) for place in places]
    return [group[0] for group in _distinct(seen, aspect)]


def _upside_down_likelihood(image: np.ndarray, aspect: float) -> float:
    """The largest likelihood of a knee in the image rotated by 180 degrees."""
    return max((knee.likelihood for knee in _candidates(image[::-1, ::-1], aspect)), default=0.0)


def _second_knee(image: np.ndarray, knee: _Knee, aspect: float) -> _Knee | None:
    """A candidate at the mirrored place of a knee, if there is room for a second one."""
    columns = image.shape[1]
    row, column = knee.points[0].tolist()
    length = _distance(knee.points[1], knee.points[2], aspect)
    left, right = column - length / 2, columns - 1 - column - length / 2
    if max(left, right) < ROOM * length:
        return None
    mirrored = columns - 1 - column
    if abs(mirrored - column) < APART * length:
        mirrored = left / 2 if left > right else columns - 1 - right / 2
    view = View((row, mirrored), BESIDE * length, aspect)
    first = max(
        (_in_source(f, view) for f in find(ViewMaps(image, view).mirror_averaged())),
        key=_first_confidence,
    )
    # The joint lines of a patient's knees are alike: a peak without a line must not decide.
    half = np.array([[0.0, 0.0], [0.0, -length / 2], [0.0, length / 2]])
    place = dataclasses.replace(first, points=first.points[:1] + half)
    return _second_look(image, [place], aspect)


def _first_confidence(knee: _Knee) -> float:
    return knee.confidence


def _elsewhere(knees: list[_Knee], knee: _Knee, aspect: float) -> list[_Knee]:
    """The candidates at other places than a knee, the likeliest first."""
    length = max(_distance(knee.points[1], knee.points[2], aspect), 1.0)
    kept = [
        one for one in knees if _distance(one.points[0], knee.points[0], aspect) >= APART * length
    ]
    return sorted(kept, key=lambda one: -one.likelihood)


def _check(radiograph: Radiograph) -> None:
    if min(radiograph.shape) < SMALLEST_PIXELS:
        raise InputError(
            f"found a radiograph of {radiograph.shape[0]} x {radiograph.shape[1]} pixels, expected "
            f"at least {SMALLEST_PIXELS} each way to find a knee in"
        )
    if not np.isfinite(radiograph.array).all():
        raise InputError("found pixels that are not finite, expected finite values")


def _aspect(radiograph: Radiograph) -> float:
    row_mm, column_mm = radiograph.spacing or (1.0, 1.0)
    return row_mm / column_mm


def _in_source(found: Detection, view: View) -> _Knee:
    return _Knee(found.side, view.to_source(found.points), float(found.probability[0]))


def _second_look(image: np.ndarray, place: list[_Knee], aspect: float, near: float = NEAR) -> _Knee:
    """The second look at a place; both looks together determine the side.

    Args:
      place: the first look's detections there, the likeliest first, of one side or of both.
    """
    width = max(_distance(place[0].points[1], place[0].points[2], aspect), 4.0)
    view = View(tuple(place[0].points[0].tolist()), near * width, aspect)
    points, probability, sides = find_one(ViewMaps(image, view).mirror_averaged())
    before = {knee.side: knee.confidence for knee in place}
    scores = [
        (share + UNSURE) * (before.get(side, 0.0) + UNSURE)
        for side, share in zip(SIDES, sides.tolist(), strict=True)
    ]
    best = int(np.argmax(scores))
    share = scores[best] / sum(scores)
    # One point hidden by an implant must not hide a knee; a point that is surely absent must.
    confidence = float(np.prod(probability) ** (1 / len(probability)))
    return _Knee(SIDES[best], view.to_source(points), confidence, share)


def _distance(one: np.ndarray, other: np.ndarray, aspect: float) -> float:
    """Distance of two points in columns."""
    return float(np.hypot((one[0] - other[0]) * aspect, one[1] - other[1]))


def _distinct(knees: list[_Knee], aspect: float) -> list[list[_Knee]]:
    """Groups of knees at one place, the likeliest first in each."""
    groups: list[list[_Knee]] = []
    for knee in sorted(knees, key=lambda knee: -knee.likelihood):
        for group in groups:
            one = group[0]
            length = max(_distance(one.points[1], one.points[2], aspect), 1.0)
            if _distance(knee.points[0], one.points[0], aspect) < APART * length:
                group.append(knee)
                break
        else:
            groups.append([knee])
    return groups


def _place(knee: _Knee) -> KneePlace:
    centre, first, second = ((float(row), float(column)) for row, column in knee.points)
    confidence, side = min(knee.confidence, 1.0), min(knee.side_confidence, 1.0)
    return KneePlace(knee.side, centre, (first, second), confidence, knee.dark, side)
