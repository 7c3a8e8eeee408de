"""The knees of a radiograph and all that is known of each: the one place where that is decided.

`predict`, `grade` and `prepare` take side, polarity, centre, scale, refusals and doubts from here.
"""

import dataclasses

import numpy as np

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import SIDES, KneePlace, Radiograph
from xr2mri_jax.preprocess import scale as scales
from xr2mri_jax.preprocess.answers import Asked, FoundKnee, RefusedKnee
from xr2mri_jax.preprocess.framing import FILLS, line_columns, pixel_aspect
from xr2mri_jax.preprocess.knee_finder.find import Sighting, refusal, see
from xr2mri_jax.preprocess.polarity import inverted
from xr2mri_jax.preprocess.scale import Scale

# A joint line is at most this steep (degrees).
STEEPEST = 25.0
# Below this confidence the side that the image shows is a guess.
SURE_OF_SIDE = 0.8
DARK_BONE = "bone is dark in the file: the image was inverted"
HEADER, NAME, IMAGE = "the file", "the file's name", "the image"


def knees_of(radiograph: Radiograph, asked: Asked) -> tuple[FoundKnee | RefusedKnee, ...]:
    """Decides which knees a radiograph shows.

    The side of a single knee is, in this order, the one asked for, the file's, that of its name,
    and what the image shows; what disagrees is a doubt that names both. Of two knees each has the
    side of its place on the film. Where no spacing is stated it is estimated from the joint line.

    Args:
      radiograph: as read: side and spacing as far as its file states them.
      asked: what else is known.

    Returns:
      One answer for every place that may be a knee, the image's left one first: two for a film of
      two knees, also where one of them cannot be used. With `asked.side` that knee alone.

    Raises:
      InputError: no frontal, upright knee is seen, sides that contradict each other, or an image
        that cannot be used.
    """
    if asked.side is not None and radiograph.side not in (None, asked.side) and not asked.force:
        raise InputError(
            f"the file says {radiograph.side} knee, found {asked.side_source}={asked.side}, "
            "expected the two to agree"
        )
    _require_content(radiograph)
    sighting = see(radiograph)
    if asked.centre is not None:
        return (_given(radiograph, asked, asked.centre, sighting),)
    if not sighting.places:
        if not asked.force:
            raise InputError(refusal(sighting))
        return (_forced(radiograph, asked, sighting),)
    if len(sighting.places) == 2:
        return _two(radiograph, asked, sighting)
    return _one(radiograph, asked, sighting)


def one_knee(radiograph: Radiograph, asked: Asked) -> FoundKnee:
    """The knee that is meant: the only one, or of two that of the side that was asked for.

    Raises:
      InputError: as `knees_of`; two knees and no side, or the knee that is meant is refused.
    """
    answers = knees_of(radiograph, asked)
    meant = asked.side or radiograph.side
    if len(answers) > 1 and meant is not None:
        answers = tuple(one for one in answers if one.side == meant) or answers
    found = [one for one in answers if isinstance(one, FoundKnee)]
    if len(found) > 1:
        raise InputError(
            "found a right and a left knee, expected to be told which: give --side=right or "
            "--side=left"
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


def _one(
    radiograph: Radiograph, asked: Asked, sighting: Sighting
) -> tuple[FoundKnee | RefusedKnee, ...]:
    """The answers of a radiograph in which one knee is seen, and perhaps a doubtful second one."""
    (place,) = sighting.places
    told, source = _told(radiograph, asked)
    share = line_columns(place, radiograph) / radiograph.shape[1]
    # On a film with room for two the other knee was missed: what is told may be meant for that one.
    other = told not in (None, place.side) and share < FILLS / 2
    if other and source != NAME and place.side_confidence >= SURE_OF_SIDE:
        raise InputError(f"found a {place.side} knee only, expected the {told} one")
    side = place.side if told is None or other else told
    doubts = _side_doubts(radiograph, asked, place, side)
    answers: list[FoundKnee | RefusedKnee] = [
        _found(radiograph, asked, place, side, IMAGE if side != told else source, doubts)
    ]
    for doubtful in sighting.doubtful if asked.side is None else ():
        row, column = doubtful.centre_px
        reason = (
            f"a second knee may be at row {row:.0f}, column {column:.0f} (confidence "
            f"{doubtful.confidence * doubtful.side_confidence:.2f}), too doubtful to be used"
        )
        refused = RefusedKnee(SIDES[1 - SIDES.index(side)], reason)
        answers.insert(0 if column < place.centre_px[1] else len(answers), refused)
    return tuple(answers)


def _two(
    radiograph: Radiograph, asked: Asked, sighting: Sighting
) -> tuple[FoundKnee | RefusedKnee, ...]:
    """The answers of a film of two knees: the patient's right one lies at the image's left."""
    sides = ("right", "left")
    swapped = all(
        place.side != side and place.side_confidence >= SURE_OF_SIDE
        for side, place in zip(sides, sighting.places, strict=True)
    )
    if swapped and not asked.force:
        raise InputError(
            "found a left knee at the image's left of a right knee, expected the patient's right "
            "knee at the image's left: is the image mirrored?"
        )
    extra = []
    if asked.side is None and radiograph.side is not None:
        extra = [f"the file says {radiograph.side} knee, but two are seen"]
    answers = []
    for side, place in zip(sides, sighting.places, strict=True):
        if asked.side in (None, side):
            doubts = list(extra)
            if place.side != side:
                doubts.append(
                    f"it is taken as the {side} knee by its place on the film, it looks like a "
                    f"{place.side} one (confidence {place.side_confidence:.2f})"
                )
            source = IMAGE if asked.side is None else asked.side_source
            answers.append(_found(radiograph, asked, place, side, source, doubts))
    return tuple(answers)


def _given(
    radiograph: Radiograph, asked: Asked, centre: tuple[float, float], sighting: Sighting
) -> FoundKnee | RefusedKnee:
    """The knee at a given place; what is seen there says side, polarity and scale."""
    rows, columns = radiograph.shape
    row, column = centre
    if not (0 <= row <= rows - 1 and 0 <= column <= columns - 1):
        raise InputError(
            f"--centre: found row {row:g}, column {column:g}, expected a pixel of the "
            f"{rows} x {columns} image"
        )
    near = [place for place in sighting.places if _near(place, centre, radiograph)]
    told, source = _told(radiograph, asked)
    if not near:
        if told is None:
            raise InputError(_NO_SIDE)
        dark = any(place.dark_bone for place in sighting.places)
        place = KneePlace(told, centre, asked.joint_line or (centre, centre), 1.0, dark)
        doubts = ["no knee was seen at the given place"]
        doubts += _statement_doubts(radiograph, asked, told)
        return _found(radiograph, asked, place, told, source, doubts, seen=False)
    (seen, *_) = near
    side = told or seen.side
    line = asked.joint_line or seen.joint_line
    place = dataclasses.replace(seen, centre_px=centre, joint_line=line)
    doubts = _side_doubts(radiograph, asked, seen, side)
    return _found(radiograph, asked, place, side, source, doubts)


_NO_SIDE = (
    "the side of the knee is unknown: neither the file nor the image says it, give --side=right or "
    "--side=left"
)


def _forced(radiograph: Radiograph, asked: Asked, sighting: Sighting) -> FoundKnee | RefusedKnee:
    """The middle of a picture in which no knee is seen."""
    told, source = _told(radiograph, asked)
    if told is None:
        raise InputError(f"{refusal(sighting)}; {_NO_SIDE}")
    rows, columns = radiograph.shape
    centre = (rows - 1) / 2, (columns - 1) / 2
    place = KneePlace(told, centre, (centre, centre), 0.0)
    doubts = [f"{refusal(sighting)}; its middle was taken because that was asked for"]
    doubts += _statement_doubts(radiograph, asked, told)
    return _found(radiograph, asked, place, told, source, doubts, seen=False)


def _near(place: KneePlace, centre: tuple[float, float], radiograph: Radiograph) -> bool:
    """Whether a given centre is a place's: within half a joint line."""
    down, right = np.subtract(place.centre_px, centre)
    away = float(np.hypot(down * pixel_aspect(radiograph), right))
    return away <= line_columns(place, radiograph) / 2


def _told(radiograph: Radiograph, asked: Asked) -> tuple[str | None, str]:
    """The side that is stated, and by what."""
    stated = (
        (asked.side, asked.side_source),
        (radiograph.side, HEADER),
        (asked.named, NAME),
    )
    return next(((side, source) for side, source in stated if side is not None), (None, IMAGE))


def _side_doubts(radiograph: Radiograph, asked: Asked, place: KneePlace, side: str) -> list[str]:
    """Where the statements of a single knee's side and the image disagree."""
    told, source = _told(radiograph, asked)
    seen = f"{place.side}, confidence {place.side_confidence:.2f}"
    doubts = []
    if told is None:
        doubts.append(f"nothing tells the side: taken from the image ({seen})")
    elif told != place.side:
        doubts.append(f"{source} says {told}, the image looks otherwise ({seen})")
    return doubts + _statement_doubts(radiograph, asked, side)


def _statement_doubts(radiograph: Radiograph, asked: Asked, side: str) -> list[str]:
    """Which statements of a knee's side were not followed."""
    doubts = []
    if asked.named not in (None, side):
        doubts.append(f"the letter at the end of the name may mean {asked.named}, taken as {side}")
    if radiograph.side not in (None, side):
        doubts.append(f"the file says {radiograph.side} knee, taken as {side}")
    return doubts


def _found(
    radiograph: Radiograph,
    asked: Asked,
    place: KneePlace,
    side: str,
    source: str,
    doubts: list[str],
    seen: bool = True,
) -> FoundKnee | RefusedKnee:
    """A knee with its scale, polarity and all doubts; refused where it stands too steep."""
    steep = _steepness(place, radiograph)
    if steep > STEEPEST and not asked.force:
        return RefusedKnee(
            side,
            f"the {side} knee's joint line is {steep:.0f} degrees steep, expected at most "
            f"{STEEPEST:g}: is the radiograph upright?",
        )
    sided = dataclasses.replace(place, side=side)
    scale, doubt = _scale(radiograph, asked, sided)
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


def _scale(
    radiograph: Radiograph, asked: Asked, place: KneePlace
) -> tuple[Scale | None, list[str]]:
    """The knee's scale, and what is doubtful of a stated one.

    A file's spacing at which the knee is impossible gives way to the estimate; a user's does not.
    """
    line = line_columns(place, radiograph) > 0
    stated = None
    if asked.spacing is not None:
        stated = scales.stated(asked.spacing, "--spacing")
    elif radiograph.spacing is not None:
        stated = scales.stated(radiograph.spacing, HEADER)
    if not line:
        return stated, []
    if stated is None:
        return scales.estimated(radiograph, place), []
    doubt = scales.doubt(radiograph, place, stated)
    if not doubt:
        return stated, []
    if asked.spacing is not None:
        return stated, [f"{doubt}: is --spacing right?"]
    return scales.estimated(radiograph, place), [f"{doubt}: not used"]


def _steepness(place: KneePlace, radiograph: Radiograph) -> float:
    """Degrees between the joint line and the image's rows; 0 where there is no line."""
    down, right = np.subtract(place.joint_line[1], place.joint_line[0])
    if down == 0 and right == 0:
        return 0.0
    return abs(float(np.degrees(np.arctan2(down * pixel_aspect(radiograph), right))))
