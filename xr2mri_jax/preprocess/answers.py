"""What is asked of a radiograph's knees, and what is answered of each."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import KneePlace, Radiograph
from xr2mri_jax.preprocess.scale import Scale


@dataclasses.dataclass(frozen=True)
class Asked:
    """What is said of a radiograph beside its file's content, and what is wanted of it.

    Attributes:
      side: the knee that is wanted; None: every knee that is seen.
      spacing: mm a pixel, one number or (row, col); it goes before the file's, which knows nothing
        of magnification.
      centre: (row, col) of the joint's centre, instead of being looked for.
      joint_line: both ends of the joint line, (row, col) each, given with the centre or None.
      named: the side that the file's name may mean, see `named_side`.
      force: take the middle of a picture in which no knee is seen.
      side_source: what says `side`, for messages.

    Raises:
      InputError: a spacing that is not positive.
    """

    side: str | None = None
    spacing: float | tuple[float, float] | None = None
    centre: tuple[float, float] | None = None
    joint_line: tuple[tuple[float, float], tuple[float, float]] | None = None
    named: str | None = None
    force: bool = False
    side_source: str = "--side"

    def __post_init__(self) -> None:
        if self.spacing is not None:
            found = np.atleast_1d(np.asarray(self.spacing, np.float64))
            if not (np.isfinite(found).all() and found.min() > 0):
                text = " x ".join(f"{value:g}" for value in found)
                raise InputError(f"found --spacing={text}, expected a positive number, mm a pixel")


@dataclasses.dataclass(frozen=True, eq=False)
class FoundKnee:
    """A knee of a radiograph.

    Attributes:
      radiograph: with bone bright, the knee's side, and the spacing of `scale`.
      place: centre, joint line and side of the knee in it.
      side_source: what decided the side: what says `Asked.side`, HEADER, NAME or IMAGE.
      seen_side: the side that the image shows, None where no knee was seen.
      scale: None where nothing states the spacing and no joint line was seen.
      inverted: whether the file's image has dark bone.
      doubts: what looks odd and may be right, a clause each.
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
        """The JSON-able form of all but the image."""
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
    """A place of a radiograph that may be a knee and cannot be used, and why; its side or ""."""

    side: str
    reason: str


def named_side(path: Path) -> str | None:
    """The side that a name such as 9001695L.png may mean: a hint, no statement."""
    found = re.fullmatch(r".*\d[_-]?([LR])", path.stem)
    return None if found is None else {"L": "left", "R": "right"}[found[1]]
