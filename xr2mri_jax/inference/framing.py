"""The knees of a radiograph as the training radiographs show them: found, turned round, framed."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import KneePlace, Radiograph
from xr2mri_jax.preprocess.framing import (
    FILLS,
    LINE_SHARE,
    frame_radiograph,
    is_framed,
    line_columns,
)
from xr2mri_jax.preprocess.knee_finder.find import find_knees
from xr2mri_jax.preprocess.polarity import inverted, shows_dark_bone

# What is worth a note: a frame with less image in it, or less fine than this share of the network's
# pixels.
COVERED, FINE = 0.9, 0.5


@dataclasses.dataclass(frozen=True, eq=False)
class FramedKnee:
    """A knee as the network sees it.

    Attributes:
      side: "left" or "right".
      image: f32[h, w, 1] in [0, 1], bone bright, a left knee mirrored.
      notes: what looks odd and may be right, a clause each.
      source: u8[H, W], the file's whole radiograph, bone bright, in the knee's grey window.
      record: of the `StandardRadiograph`, the way from the frame to the source.
    """

    side: str
    image: np.ndarray
    notes: tuple[str, ...]
    source: np.ndarray
    record: Mapping[str, Any]

    @property
    def displayed(self) -> np.ndarray:
        """f32[h, w]: the image with the mirroring undone."""
        return self.image[:, ::-1, 0] if self.side == "left" else self.image[..., 0]


def frame_knees(
    radiograph: Radiograph,
    shape: Sequence[int],
    contrast: Mapping[str, Any],
    side: str | None = None,
    named: str | None = None,
) -> list[FramedKnee]:
    """Finds the knees and frames each as the training radiographs are framed.

    A square image that one joint fills is taken as it is. Of any other the frame is cut: a square
    (in mm, where the pixels are not) of 1 / 0.79 joint lines, so that no pixel spacing is needed.
    The side is, in this order, `side`, the radiograph's own, `named`, and what the image shows,
    which is then noted. Of two knees each has the side of its place on the film.

    Args:
      radiograph: frontal, upright; dark bone is turned round and noted.
      shape: (h, w) of the network's radiographs.
      contrast: as for `standardise_radiograph`.
      side: which knee is meant; of two it is the only one that is framed.
      named: the side that the file's name may mean.

    Returns:
      One knee, or the right and the left one.

    Raises:
      InputError: no knee, not the one that is meant, sides that contradict each other, or an image
        that cannot be standardised.
    """
    if side is not None and radiograph.side not in (None, side):
        raise InputError(
            f"the file says {radiograph.side} knee, found --side={side}, expected the two to agree"
        )
    upright, places, notes = _found(radiograph)
    told = side or radiograph.side or named
    if len(places) == 1:
        (place,) = places.values()
        chosen = [(_one_side(place, told, upright), _side_notes(place, told, side, radiograph))]
        if named not in (None, chosen[0][0]):
            chosen[0][1].append(
                f"the letter at the end of the name may mean {named}, taken as {chosen[0][0]}"
            )
        chosen_places = [place]
    else:
        wanted = [side] if side is not None else ["right", "left"]
        extra = []
        if side is None and radiograph.side is not None:
            extra = [f"the file says {radiograph.side} knee, but two are seen"]
        chosen = [(name, list(extra)) for name in wanted]
        chosen_places = [places[name] for name in wanted]
    return [
        _framed(upright, name, place, [*notes, *more], shape, contrast)
        for (name, more), place in zip(chosen, chosen_places, strict=True)
    ]


def _found(radiograph: Radiograph) -> tuple[Radiograph, dict[str, KneePlace], list[str]]:
    """The radiograph with bright bone and without its side, its knees, and what was noted."""
    array = radiograph.array
    plain = Radiograph(array, radiograph.spacing)
    if np.isfinite(array).all() and array.min() == array.max():
        raise InputError(
            f"found the value {array.min():g} in every pixel, expected a radiograph (is it blank?)"
        )
    places = find_knees(plain)
    if shows_dark_bone(places):
        return inverted(plain), places, ["bone is dark in the file: the image was inverted"]
    return plain, places, []


def _one_side(place: KneePlace, told: str | None, radiograph: Radiograph) -> str:
    # On a film with room for two the other knee was missed: what is told may be meant for that one.
    if (
        told not in (None, place.side)
        and line_columns(place, radiograph) < FILLS / 2 * radiograph.shape[1]
    ):
        raise InputError(f"found a {place.side} knee only, expected the {told} one")
    return told or place.side


def _side_notes(
    place: KneePlace, told: str | None, side: str | None, radiograph: Radiograph
) -> list[str]:
    seen = f"{place.side}, confidence {place.confidence:.2f}"
    if told is None:
        return [f"nothing tells the side: taken from the image ({seen})"]
    if told != place.side:
        source = "--side" if side else "the file" if radiograph.side else "the file's name"
        return [f"{source} says {told}, the image looks otherwise ({seen})"]
    return []


def _framed(
    radiograph: Radiograph,
    side: str,
    place: KneePlace,
    notes: list[str],
    shape: Sequence[int],
    contrast: Mapping[str, Any],
) -> FramedKnee:
    standard = frame_radiograph(radiograph, dataclasses.replace(place, side=side), shape, contrast)
    wide = float(radiograph.shape[1])
    if not is_framed(radiograph, place):
        wide = line_columns(place, radiograph) / LINE_SHARE
    if wide < FINE * shape[1]:
        notes.append(f"{wide:.0f} pixels across the knee, the network expects {shape[1]}")
    missing = standard.record["outside"]["share"]
    if missing > 1 - COVERED:
        notes.append(f"{missing:.0%} of the frame around the knee lie outside the image")
    window = standard.record["window"]
    shown = (radiograph.array - window["low"]) / (window["high"] - window["low"])
    source = np.rint(255 * np.clip(shown, 0, 1)).astype(np.uint8)
    return FramedKnee(side, standard.image, tuple(notes), source, standard.record)
