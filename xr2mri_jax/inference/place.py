"""Which knee of a radiograph is meant and where its joint lies: given, the middle, or found."""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import BOX_MM, KneePlace, Radiograph
from xr2mri_jax.preprocess.knee_finder.find import find_knees
from xr2mri_jax.preprocess.polarity import bone_bright, inverted, shows_dark_bone

# An image wider than this over the canonical box is no crop around one knee.
CROP = 1.5


@dataclasses.dataclass(frozen=True, eq=False)
class PlacedKnee:
    """The knee that is meant.

    Attributes:
      radiograph: with bone bright and the side of the knee.
      centre: the joint's centre as (row, col), None for the image's middle.
      found: the place that was found, None where the centre was given or is the middle.
      inverted: whether the image had dark bone and was turned round.
    """

    radiograph: Radiograph
    centre: Sequence[float] | None
    found: KneePlace | None
    inverted: bool


def place_knee(radiograph: Radiograph, centre: Sequence[float] | None) -> PlacedKnee:
    """Finds the knee where the image is more than a crop around one, and makes bone bright.

    A crop is at most 1.5 times the box wide, or of unknown spacing: its joint lies in its middle.

    Args:
      radiograph: side and spacing as far as they are known; a side says which knee of two is meant.
      centre: (row, col) of the joint's centre, where it was given.

    Raises:
      InputError: no knee was found, not the one that is meant, or two where none is meant.
    """
    spacing = radiograph.spacing
    crop = spacing is None or radiograph.shape[1] * spacing[1] <= CROP * BOX_MM[2]
    if crop or centre is not None:
        bright, dark = bone_bright(radiograph)
        return PlacedKnee(bright, centre, None, dark)
    places = find_knees(radiograph)
    dark = shows_dark_bone(places)
    side, seen = radiograph.side, " and a ".join(sorted(places))
    if side is None and len(places) > 1:
        raise InputError(
            f"found a {seen} knee, expected to be told which: give --side=right or --side=left"
        )
    if side is None:
        side = next(iter(places))
    if side not in places:
        raise InputError(
            f"found a {seen} knee only, expected the {side} one: give --centre if it is there"
        )
    bright = dataclasses.replace(inverted(radiograph) if dark else radiograph, side=side)
    return PlacedKnee(bright, places[side].centre_px, places[side], dark)


def named_side(path: Path) -> str | None:
    """The side that a name such as 9001695L.png may mean: a hint, no statement."""
    found = re.fullmatch(r".*\d[_-]?([LR])", path.stem)
    return None if found is None else {"L": "left", "R": "right"}[found[1]]
