"""Decides which knees a radiograph shows, with side, polarity, centre, scale, refusals and doubts.

`predict`, `grade` and `prepare` all use these decisions.
"""

import dataclasses

import numpy as np

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import SIDES, KneePlace, Radiograph
from xr2mri_jax.preprocess import scale as scales
from xr2mri_jax.preprocess.framing import FILLS, line_columns, pixel_aspect
from xr2mri_jax.preprocess.knee_finder.find import DetectedKnees, detect_knees, refusal
from xr2mri_jax.preprocess.knee_request import FoundKnee, KneeRequest, RefusedKnee
from xr2mri_jax.preprocess.polarity import inverted
from xr2mri_jax.preprocess.scale import Scale

# Maximum slope of a joint line in degrees.
STEEPEST = 25.0
# Below this confidence the side estimated from the image is a guess.
SURE_OF_SIDE = 0.8
DARK_BONE = "bone is dark in the file: the image was inverted"
NAME, IMAGE = "the file's name", "the image"


def knees_of(radiograph: Radiograph, request: KneeRequest) -> tuple[FoundKnee | RefusedKnee, ...]:
    """Decides which knees a radiograph shows.

    The side of a single knee is taken from, in this order, the request, the file, the file name and
    the image; a disagreement adds a doubt that names both sides. With two knees, the position on
    the film determines the sides. If no spacing is stated, it is estimated from the joint line.

    Args:
      radiograph: as read, with side and spacing if its file states them.
      request: the request.

    Returns:
      One answer per possible knee, from left to right in the image: two for a film of two knees,
      even if one of them cannot be used. With `request.side`, only that knee.

    Raises:
      InputError: no frontal, upright knee is found, contradictory sides, or an unusable image.
    """
    if (
        request.side is not None
        and radiograph.side not in (None, request.side)
        and not request.force
    ):
        raise InputError(
            f"{request.radiograph_side_source} says {radiograph.side} knee, found "
            f"{request.side_source}={request.side}, expected the two to agree"
        )
    _require_content(radiograph)
    detected = detect_knees(radiograph)
    if request.centre is not None:
        return (_knee_at_centre(radiograph, request, request.centre, detected),)
    if not detected.places:
        if not request.force or (request.upright and detected.upside_down):
            raise InputError(refusal(detected))
        return (_knee_in_middle(radiograph, request, detected),)
    if len(detected.places) == 2:
        return _bilateral_film(radiograph, request, detected)
    return _single_film(radiograph, request, detected)


def one_knee(radiograph: Radiograph, request: KneeRequest) -> FoundKnee:
    """The requested knee: the only one, or the one of the requested side.

    Raises:
      InputError: as `knees_of`; two knees but no side given, or the knee is refused.
    """
    answers = knees_of(radiograph, request)
    side = request.side or radiograph.side
    if len(answers) > 1 and side is not None:
        answers = tuple(one for one in answers if one.side == side) or answers
    found = [one for one in answers if isinstance(one, FoundKnee)]
    if len(found) > 1:
        raise InputError(
            "found a right and a left knee, expected a choice: give --side=right or --side=left"
        )
    if not found:
        raise InputError("; ".join(one.reason for one in answers if isinstance(one, RefusedKnee)))
    return found[0]


def _require_content(radiograph: Radiograph) -> None:
    array = radiograph.array
    if np.isfinite(array).all() and array.min() == array.max():
        raise InputError(
            f"found the value {array.min():g} in every pixel, expected a radiograph (is it blank?)"
        )


def _single_film(
    radiograph: Radiograph, request: KneeRequest, detected: DetectedKnees
) -> tuple[FoundKnee | RefusedKnee, ...]:
    """The answers for a radiograph with one knee, and perhaps a doubtful second one."""
    (place,) = detected.places
    known_side, source = _known_side(radiograph, request)
    share = line_columns(place, radiograph) / radiograph.shape[1]
    # A film with room for two knees may show a second, undetected one, which the side refers to.
    other = known_side not in (None, place.side) and share < FILLS / 2
    if other and source != NAME and place.side_confidence >= SURE_OF_SIDE:
        raise InputError(f"found a {place.side} knee only, expected the {known_side} one")
    side = place.side if known_side is None or other else known_side
    doubts = _side_doubts(radiograph, request, place, side)
    answers: list[FoundKnee | RefusedKnee] = [
        _make_found_knee(
            radiograph, request, place, side, IMAGE if side != known_side else source, doubts
        )
    ]
    for doubtful in detected.doubtful if request.side is None else ():
        row, column = doubtful.centre_px
        reason = (
            f"a second knee may be at row {row:.0f}, column {column:.0f} (confidence "
            f"{doubtful.confidence * doubtful.side_confidence:.2f}), too doubtful to be used"
        )
        refused = RefusedKnee(SIDES[1 - SIDES.index(side)], reason)
        answers.insert(0 if column < place.centre_px[1] else len(answers), refused)
    return tuple(answers)


def _bilateral_film(
    radiograph: Radiograph, request: KneeRequest, detected: DetectedKnees
) -> tuple[FoundKnee | RefusedKnee, ...]:
    """The answers for a film of two knees: the patient's right knee is on the left."""
    sides = ("right", "left")
    swapped = all(
        place.side != side and place.side_confidence >= SURE_OF_SIDE
        for side, place in zip(sides, detected.places, strict=True)
    )
    if swapped and not request.force:
        raise InputError(
            "found a left knee to the left of a right knee, expected the patient's right knee on "
            "the left of the image: is the image mirrored?"
        )
    extra = []
    if request.side is None and radiograph.side is not None:
        source = request.radiograph_side_source
        extra = [f"{source} says {radiograph.side} knee, but the image shows two knees"]
    answers = []
    for side, place in zip(sides, detected.places, strict=True):
        if request.side in (None, side):
            doubts = list(extra)
            if place.side != side:
                doubts.append(
                    f"taken as the {side} knee because of its position on the film, but it looks "
                    f"like a {place.side} one (confidence {place.side_confidence:.2f})"
                )
            elif place.side_confidence < SURE_OF_SIDE:
                doubts.append(
                    f"taken as the {side} knee because of its position on the film; by its looks "
                    f"it may be the other one (confidence {place.side_confidence:.2f}): are the "
                    "knees exchanged?"
                )
            source = IMAGE if request.side is None else request.side_source
            answers.append(_make_found_knee(radiograph, request, place, side, source, doubts))
    return tuple(answers)


def _knee_at_centre(
    radiograph: Radiograph,
    request: KneeRequest,
    centre: tuple[float, float],
    detected: DetectedKnees,
) -> FoundKnee | RefusedKnee:
    """The knee at a given position, with side, polarity and scale as found there."""
    rows, columns = radiograph.shape
    row, column = centre
    if not (0 <= row <= rows - 1 and 0 <= column <= columns - 1):
        raise InputError(
            f"{request.centre_source}: found row {row:g}, column {column:g}, expected a pixel of "
            f"the {rows} x {columns} image"
        )
    near = [place for place in detected.places if _is_near(place, centre, radiograph)]
    known_side, source = _known_side(radiograph, request)
    if not near:
        if known_side is None:
            raise InputError(_NO_SIDE)
        dark = any(place.dark_bone for place in detected.places)
        place = KneePlace(known_side, centre, request.joint_line or (centre, centre), 1.0, dark)
        doubts = ["no knee was found at the given position"]
        doubts += _statement_doubts(radiograph, request, known_side)
        return _make_found_knee(radiograph, request, place, known_side, source, doubts, seen=False)
    (seen, *_) = near
    side = known_side or seen.side
    line = request.joint_line or seen.joint_line
    place = dataclasses.replace(seen, centre_px=centre, joint_line=line)
    doubts = _side_doubts(radiograph, request, seen, side)
    return _make_found_knee(radiograph, request, place, side, source, doubts)


_NO_SIDE = (
    "the side of the knee is unknown: neither the file nor the image shows it, give --side=right "
    "or --side=left"
)


def _knee_in_middle(
    radiograph: Radiograph, request: KneeRequest, detected: DetectedKnees
) -> FoundKnee | RefusedKnee:
    """The middle of an image in which no knee is found, as a knee."""
    known_side, source = _known_side(radiograph, request)
    if known_side is None:
        raise InputError(f"{refusal(detected)}; {_NO_SIDE}")
    rows, columns = radiograph.shape
    centre = (rows - 1) / 2, (columns - 1) / 2
    place = KneePlace(known_side, centre, (centre, centre), 0.0)
    doubts = [f"{refusal(detected)}; the middle of the image was used"]
    doubts += _statement_doubts(radiograph, request, known_side)
    return _make_found_knee(radiograph, request, place, known_side, source, doubts, seen=False)


def _is_near(place: KneePlace, centre: tuple[float, float], radiograph: Radiograph) -> bool:
    """Whether a given centre is within half a joint line of a detected knee."""
    down, right = np.subtract(place.centre_px, centre)
    away = float(np.hypot(down * pixel_aspect(radiograph), right))
    return away <= line_columns(place, radiograph) / 2


def _known_side(radiograph: Radiograph, request: KneeRequest) -> tuple[str | None, str]:
    """The stated side, or None, and its origin."""
    stated = (
        (request.side, request.side_source),
        (radiograph.side, request.radiograph_side_source),
        (request.named, NAME),
    )
    return next(((side, source) for side, source in stated if side is not None), (None, IMAGE))


def _side_doubts(
    radiograph: Radiograph, request: KneeRequest, place: KneePlace, side: str
) -> list[str]:
    """Doubts about the side of a single knee: disagreements of statements and image."""
    known_side, source = _known_side(radiograph, request)
    seen = f"{place.side}, confidence {place.side_confidence:.2f}"
    doubts = []
    if known_side is None:
        doubts.append(f"the side is not stated: taken from the image ({seen})")
    elif known_side != place.side:
        doubts.append(
            f"{source} says {known_side}, but the image looks like the other side ({seen})"
        )
    return doubts + _statement_doubts(radiograph, request, side)


def _statement_doubts(radiograph: Radiograph, request: KneeRequest, side: str) -> list[str]:
    """Doubts about statements of the side that were not followed."""
    doubts = []
    if request.named not in (None, side):
        doubts.append(f"the file name may mean the {request.named} knee, taken as {side}")
    if radiograph.side not in (None, side):
        doubts.append(overruled(request.radiograph_side_source, radiograph.side, side))
    return doubts


def overruled(source: str, stated: str, side: str) -> str:
    """The doubt about the stated side of a knee that was taken as one of the other side."""
    return f"{source} says {stated} knee, taken as {side}"


def _make_found_knee(
    radiograph: Radiograph,
    request: KneeRequest,
    place: KneePlace,
    side: str,
    source: str,
    doubts: list[str],
    seen: bool = True,
) -> FoundKnee | RefusedKnee:
    """A knee with its scale, polarity and all doubts, or the reason why it is refused."""
    sided = dataclasses.replace(place, side=side)
    reason = "" if request.force else _refusal(radiograph, request, sided)
    if reason:
        return RefusedKnee(side, reason)
    scale, doubt = _scale(radiograph, request, sided)
    bright = inverted(radiograph) if place.dark_bone else radiograph
    spacing = radiograph.spacing if scale is None else scale.spacing
    return FoundKnee(
        dataclasses.replace(bright, side=side, spacing=spacing),
        sided,
        source,
        place.side if seen else None,
        scale,
        place.dark_bone,
        (*radiograph.doubts, *([DARK_BONE] if place.dark_bone else []), *doubts, *doubt),
    )


def _refusal(radiograph: Radiograph, request: KneeRequest, place: KneePlace) -> str:
    """The reason if the joint line is too steep or impossible at the given spacing; else ""."""
    steep = _steepness(place, radiograph)
    if steep > STEEPEST:
        return (
            f"the {place.side} knee's joint line is tilted by {steep:.0f} degrees, expected at "
            f"most {STEEPEST:g}: is the radiograph upright?"
        )
    if request.spacing is None or not line_columns(place, radiograph) > 0:
        return ""
    given = scales.stated(request.spacing, scales.GIVEN)
    doubt = scales.doubt(radiograph, place, given)
    return f"{doubt}: is the spacing right?" if doubt else ""


def _scale(
    radiograph: Radiograph, request: KneeRequest, place: KneePlace
) -> tuple[Scale | None, list[str]]:
    """The knee's scale, and doubts about a stated one.

    An impossible spacing from the file is replaced by the estimate. One given by the user is kept;
    the knee is then refused, unless `request.force`.
    """
    line = line_columns(place, radiograph) > 0
    stated = None
    if request.spacing is not None:
        stated = scales.stated(request.spacing, scales.GIVEN)
    elif radiograph.spacing is not None:
        stated = scales.stated(radiograph.spacing, request.spacing_source)
    if not line:
        return stated, []
    if stated is None:
        return scales.estimated(radiograph, place), []
    doubt = scales.doubt(radiograph, place, stated)
    if not doubt:
        return stated, []
    if request.spacing is not None:
        return stated, [f"{doubt}: is the spacing right?"]
    return scales.estimated(radiograph, place), [f"{doubt}: not used"]


def _steepness(place: KneePlace, radiograph: Radiograph) -> float:
    """Angle in degrees between the joint line and the image rows; 0 if there is no line."""
    down, right = np.subtract(place.joint_line[1], place.joint_line[0])
    if down == 0 and right == 0:
        return 0.0
    return abs(float(np.degrees(np.arctan2(down * pixel_aspect(radiograph), right))))
