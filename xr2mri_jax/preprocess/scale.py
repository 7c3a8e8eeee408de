"""The pixel size of a radiograph at the knee, stated or estimated from the joint line."""

import dataclasses
from typing import Any

from xr2mri_jax.geometry import PLATEAU_DEVIATION_MM, PLATEAU_MM, KneePlace, Radiograph
from xr2mri_jax.preprocess.framing import line_columns, pixel_aspect

# Length of the finder's joint line over the width of the plateau: median over the frontal
# projections of 33 segmented knees (standard deviation 0.017).
LINE_OVER_PLATEAU = 0.97
# The source of a spacing that the user gives.
GIVEN = "given"
# A joint line of another length in mm belongs to no knee of an adult.
LENGTH_MM = (45.0, 115.0)


@dataclasses.dataclass(frozen=True)
class Scale:
    """Size of a radiograph's pixels.

    Attributes:
      spacing: (row_mm, col_mm).
      source: GIVEN by the user (option, table or argument), "the file", or "the joint line" for an
        estimate.
      deviation: relative standard deviation of an estimate between patients; 0 for a stated size.
    """

    spacing: tuple[float, float]
    source: str
    deviation: float = 0.0

    def said(self) -> str:
        """The warning for an estimated size; "" for a stated one."""
        if not self.deviation:
            return ""
        size = self.spacing[1]
        return (
            f"the spacing was estimated from the joint line: {size:.3g} mm per pixel, standard "
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
    """The size for which the joint line has the length of a mean knee's.

    Args:
      radiograph: its spacing is used only for the pixel aspect.
      place: with a joint line longer than 0.
    """
    column_mm = PLATEAU_MM * LINE_OVER_PLATEAU / line_columns(place, radiograph)
    spacing = column_mm * pixel_aspect(radiograph), column_mm
    return Scale(spacing, "the joint line", PLATEAU_DEVIATION_MM / PLATEAU_MM)


def line_mm(radiograph: Radiograph, place: KneePlace, scale: Scale) -> float:
    """Length of the joint line in mm."""
    return line_columns(place, radiograph) * scale.spacing[1]


def doubt(radiograph: Radiograph, place: KneePlace, scale: Scale) -> str:
    """The reason why the scale is impossible; "" if it is possible."""
    length = line_mm(radiograph, place, scale)
    if LENGTH_MM[0] <= length <= LENGTH_MM[1]:
        return ""
    return (
        f"the {place.side} knee's joint line is {length:.0f} mm long at the spacing of "
        f"{scale.spacing[1]:.3g} mm that {scale.source} states, expected {LENGTH_MM[0]:g} to "
        f"{LENGTH_MM[1]:g} mm"
    )
