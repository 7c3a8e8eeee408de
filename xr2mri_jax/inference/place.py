"""Which knee of a radiograph is meant and where its joint lies: given, the middle, or found."""

import dataclasses
from collections.abc import Sequence

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import BOX_MM, KneePlace, Radiograph
from xr2mri_jax.preprocess.localise import localise

# An image wider than this over the canonical box is no crop around one knee.
CROP = 1.5


def place_knee(
    radiograph: Radiograph, centre: Sequence[float] | None
) -> tuple[Radiograph, Sequence[float] | None, KneePlace | None]:
    """Finds the knee where the image is more than a crop around one.

    Args:
      radiograph: side and spacing as far as they are known; a side says which knee of two is meant.
      centre: (row, col) of the joint's centre, where it was given.

    Returns:
      The radiograph with the side of the knee; the joint's centre as (row, col), None for the
      image's middle (a crop of at most 1.5 times the box's width, or one of unknown spacing); and
      the place that was found, None where nothing was looked for.

    Raises:
      InputError: no knee was found, not the one that is meant, or two where none is meant.
    """
    if centre is not None or radiograph.spacing is None:
        return radiograph, centre, None
    if radiograph.shape[1] * radiograph.spacing[1] <= CROP * BOX_MM[2]:
        return radiograph, None, None
    places = localise(radiograph)
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
    found = places[side]
    return dataclasses.replace(radiograph, side=side), found.centre_px, found
