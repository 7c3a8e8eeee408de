"""The pixel size of a radiograph at the knee, stated or estimated from the joint line."""

import dataclasses
from typing import Any

from xr2mri_jax.geometry import (
    LINE_SHARE,
    PLATEAU_DEVIATION_MM,
    PLATEAU_MM,
    KneePlace,
    Radiograph,
)
from xr2mri_jax.preprocess.framing import is_framed, line_columns, pixel_aspect

# Length of the finder's joint line over the width of the plateau: median over the frontal
# projections of 33 segmented knees (standard deviation 0.017).
LINE_OVER_PLATEAU = 0.97
LINE_MM = PLATEAU_MM * LINE_OVER_PLATEAU  # of the mean knee
# Relative standard deviations of a knee's width, and of the width in mm of crops of single knees:
# 81 to 101 mm in 95 % of those of the Osteoarthritis Initiative.
_LINE_DEVIATION = PLATEAU_DEVIATION_MM / PLATEAU_MM
_CROP_DEVIATION = 0.057
# Relative error of the estimate in such crops: root mean square over 20 knees of known width.
CROP_ERROR = 0.10
# The sources of a spacing that the user gives, and of one that the file states.
GIVEN, HEADER = "given", "the file"
LINE = "the joint line"  # the beginning of the source of an estimate
# Plausible length in mm of an adult's joint line.
LENGTH_MM = (45.0, 115.0)


@dataclasses.dataclass(frozen=True)
class Scale:
    """Size of a radiograph's pixels.

    Attributes:
      spacing: (row_mm, col_mm).
      source: GIVEN by the user (option, table or argument), HEADER or, in a dataset, the option or
        column; or what it was estimated from, "the joint line" or "the joint line and the crop's
        width".
      deviation: relative standard deviation of an estimate between patients; 0 for a stated size.
    """

    spacing: tuple[float, float]
    source: str
    deviation: float = 0.0

    def warning(self) -> str:
        """The warning for an estimated size; "" for a stated one."""
        if not self.deviation:
            return ""
        size = self.spacing[1]
        return (
            f"the spacing was estimated from {self.source}: {size:.3g} mm per pixel, standard "
            f"deviation {self.deviation * size:.2g} mm; --spacing overrides it"
        )

    def record(self) -> dict[str, Any]:
        """The JSON-able record: spacing_mm, source, deviation_mm (of the column size)."""
        return {
            "spacing_mm": list(self.spacing),
            "source": self.source,
            "deviation_mm": self.deviation * self.spacing[1],
        }


def stated(spacing: float | tuple[float, float], source: str) -> Scale:
    """A stated size, given as one number or two."""
    row_mm, column_mm = (spacing, spacing) if isinstance(spacing, int | float) else spacing
    return Scale((float(row_mm), float(column_mm)), source)


def estimated(radiograph: Radiograph, place: KneePlace) -> Scale:
    """The most likely pixel size of a knee of unknown width.

    In a film, the size for which the joint line is as long as a mean knee's. A crop that the joint
    fills is also about as wide as the crop of a mean knee: the estimate is then the mean of both
    logarithms, weighted by their precisions.

    Args:
      radiograph: its spacing is used only for the pixel aspect.
      place: with a joint line longer than 0.
    """
    column_mm, deviation = LINE_MM / line_columns(place, radiograph), _LINE_DEVIATION
    source = LINE
    if is_framed(radiograph, place):
        usual = LINE_MM / LINE_SHARE / radiograph.shape[1]
        share = _CROP_DEVIATION**2 / (_CROP_DEVIATION**2 + _LINE_DEVIATION**2)
        column_mm, deviation = column_mm**share * usual ** (1 - share), CROP_ERROR
        source = f"{LINE} and the crop's width"
    return Scale((column_mm * pixel_aspect(radiograph), column_mm), source, deviation)


def is_estimate(source: str) -> bool:
    """Whether a `Scale.source` is that of an estimated size."""
    return source.startswith(LINE)


def line_mm(radiograph: Radiograph, place: KneePlace, scale: Scale) -> float:
    """Length of the joint line in mm; without a stated scale that of the mean knee.

    Lengths measured in the radiograph in mm are then those of a knee of mean width, like the
    shipped generator's volume.
    """
    if scale.deviation:
        return LINE_MM
    return line_columns(place, radiograph) * scale.spacing[1]


def doubt(radiograph: Radiograph, place: KneePlace, scale: Scale) -> str:
    """The reason why the scale is impossible; "" if it is possible."""
    length = line_mm(radiograph, place, scale)
    if LENGTH_MM[0] <= length <= LENGTH_MM[1]:
        return ""
    named = {GIVEN: "the given spacing", HEADER: "the file's spacing"}
    spacing = named.get(scale.source, f"the spacing ({scale.source})")
    return (
        f"the {place.side} knee's joint line is {length:.0f} mm long at {spacing} of "
        f"{scale.spacing[1]:.3g} mm per pixel, expected {LENGTH_MM[0]:g} to {LENGTH_MM[1]:g} mm"
    )
