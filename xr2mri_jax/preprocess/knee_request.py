"""The request for the knees of a radiograph, and the result for each possible knee."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import KneePlace, Radiograph
from xr2mri_jax.preprocess.scale import HEADER, Scale


@dataclasses.dataclass(frozen=True)
class KneeRequest:
    """The requested knee of a radiograph, and what is known about it besides the file's content.

    Attributes:
      side: the requested knee; None: every knee that is found.
      spacing: mm per pixel, one number or (row, col); overrides the file's.
      centre: (row, col) of the joint centre; None: located in the image.
      joint_line: both ends of the joint line, (row, col) each, given with the centre; or None.
      named: the side that the file name suggests, see `named_side`.
      force: use the middle of the image if no knee is found in it; accept a tilted joint line, and
        a spacing at which its length is impossible.
      upright: refuse an image in which a knee is found only upside down, even with `force`.
      side_source, centre_source: the origin of `side` and of `centre`, for messages.
      radiograph_side_source, spacing_source: the origin of the radiograph's own side and spacing,
        for messages.

    Raises:
      InputError: a spacing that is not positive.
    """

    side: str | None = None
    spacing: float | tuple[float, float] | None = None
    centre: tuple[float, float] | None = None
    joint_line: tuple[tuple[float, float], tuple[float, float]] | None = None
    named: str | None = None
    force: bool = False
    upright: bool = False
    side_source: str = "--side"
    centre_source: str = "--centre"
    radiograph_side_source: str = HEADER
    spacing_source: str = HEADER

    def __post_init__(self) -> None:
        if self.spacing is not None:
            found = np.atleast_1d(np.asarray(self.spacing, np.float64))
            if not (np.isfinite(found).all() and found.min() > 0):
                text = " x ".join(f"{value:g}" for value in found)
                raise InputError(
                    f"--spacing: found {text}, expected a positive number, mm per pixel"
                )


@dataclasses.dataclass(frozen=True, eq=False)
class FoundKnee:
    """A knee found in a radiograph.

    Attributes:
      radiograph: with bone bright, the knee's side, and the spacing of `scale`.
      place: centre, joint line and side of the knee in it.
      side_source: the origin of the side: `side_source` or `radiograph_side_source` of the request,
        NAME or IMAGE.
      seen_side: the side estimated from the image, None if no knee was found.
      scale: None if no spacing is known and no joint line was found.
      inverted: whether the file's image has dark bone.
      doubts: the doubtful decisions, one text each.
    """

    radiograph: Radiograph
    place: KneePlace
    side_source: str
    seen_side: str | None
    scale: Scale | None
    inverted: bool = False
    doubts: tuple[str, ...] = ()

    @property
    def side(self) -> str:
        """The knee's side, "left" or "right"."""
        return self.place.side

    def record(self) -> dict[str, Any]:
        """The JSON-able record of everything but the image."""
        return {
            "side": self.side,
            "side_source": self.side_source,
            "side_seen": self.seen_side,
            "centre_px": list(self.place.centre_px),
            "joint_line_px": [list(end) for end in self.place.joint_line],
            "confidence": self.place.confidence,
            "side_confidence": self.place.side_confidence,
            "scale": None if self.scale is None else self.scale.record(),
            "inverted": self.inverted,
            "doubts": list(self.doubts),
        }


@dataclasses.dataclass(frozen=True)
class RefusedKnee:
    """A possible knee that cannot be used: its side, or "" if unknown, and the reason."""

    side: str
    reason: str


def named_side(path: Path) -> str | None:
    """The side suggested by a file name such as 9001695L.png: a hint, not a statement."""
    found = re.fullmatch(r".*\d[_-]?([LR])", path.stem)
    return None if found is None else {"L": "left", "R": "right"}[found[1]]
