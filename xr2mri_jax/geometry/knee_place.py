"""The place of a knee in a radiograph, and typical measurements of knees."""

import dataclasses

import numpy as np

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry.sides import checked_side

# Width of the tibial plateau in mm, mean and standard deviation over 44 segmented knees of the
# Osteoarthritis Initiative.
PLATEAU_MM, PLATEAU_DEVIATION_MM = 76.6, 6.0
# Measured on 300 training crops of single knees of the Osteoarthritis Initiative: the joint line
# spans 0.79 of the crop's width (95 % lie within 0.75 to 0.84) whatever the knee's size; the
# joint's centre lies at the middle column, 0.55 of the way down.
LINE_SHARE, CENTRE_ROW = 0.79, 0.55


@dataclasses.dataclass(frozen=True)
class KneePlace:
    """Where a knee lies in a radiograph as displayed; pixel positions may be fractional.

    Attributes:
      side: "left" or "right".
      centre_px: (row, col) of the tibiofemoral joint's centre.
      joint_line: the ends of the joint line, each (row, col), the end at the smaller column first.
      confidence: that a knee lies there, in [0, 1]; 1 for a given or a true place.
      side_confidence: that the side is right, in [0, 1]; 1 for a given or a true side.
      dark_bone: whether the knee was found in the inverted image.

    Raises:
      InputError: an unknown side, numbers that are not finite, or a confidence outside [0, 1].
    """

    side: str
    centre_px: tuple[float, float]
    joint_line: tuple[tuple[float, float], tuple[float, float]]
    confidence: float = 1.0
    dark_bone: bool = False
    side_confidence: float = 1.0

    def __post_init__(self) -> None:
        checked_side(self.side)
        numbers = np.array([self.centre_px, *self.joint_line], np.float64)
        if numbers.shape != (3, 2) or not np.isfinite(numbers).all():
            raise InputError(f"place of the {self.side} knee: expected finite (row, col) pixels")
        for confidence in (self.confidence, self.side_confidence):
            if not 0 <= confidence <= 1:
                raise InputError(f"confidence: found {confidence}, expected 0 to 1")
        centre, first, second = ((row, column) for row, column in numbers.tolist())
        object.__setattr__(self, "centre_px", centre)
        object.__setattr__(self, "joint_line", (first, second))
