"""How large a pixel of a radiograph is at the knee: stated, or estimated from the joint line."""

import dataclasses
from typing import Any

from xr2mri_jax.geometry import PLATEAU_DEVIATION_MM, PLATEAU_MM, KneePlace, Radiograph
from xr2mri_jax.preprocess.framing import line_columns, pixel_aspect

# Length of the finder's joint line over the width of the plateau: median over the frontal
# projections of 33 segmented knees (standard deviation 0.017).
LINE_OVER_PLATEAU = 0.97
# A joint line of another length in mm belongs to no knee of an adult.
LENGTH_MM = (45.0, 115.0)


@dataclasses.dataclass(frozen=True)
class Scale:
    """Size of a radiograph's pixels.

    Attributes:
      spacing: (row_mm, col_mm).
      source: "--spacing", "the file", or "the joint line" for an estimate.
      deviation: relative standard deviation of an estimate between patients; 0 for a stated size.
    """

    spacing: tuple[float, float]
    source: str
    deviation: float = 0.0

    def said(self) -> str:
        """What is to be said of an estimate, a clause; "" of a stated size."""
        if not self.deviation:
            return ""
        size = self.spacing[1]
        return (
            f"the spacing was estimated from the joint line: {size:.3g} mm a pixel, standard "
            f"deviation {self.deviation * size:.2g} mm; --spacing states it"
        )

    def record(self) -> dict[str, Any]:
        """The JSON-able form: spacing_mm, source, deviation_mm (of the column's size)."""
        return {
            "spacing_mm": list(self.spacing),
            "source": self.source,
            "deviation_mm": self.deviation * self.spacing[1],
        }


def stated(spacing: float | tuple[float, float], source: str) -> Scale:
    """A stated size, of one number or two."""
    row_mm, column_mm = (spacing, spacing) if isinstance(spacing, int | float) else spacing
    return Scale((float(row_mm), float(column_mm)), source)


def estimated(radiograph: Radiograph, place: KneePlace) -> Scale:
    """The size at which the joint line is as long as a mean knee's.

    Args:
      radiograph: its spacing serves for the pixels' aspect alone.
      place: with a joint line longer than 0.
    """
    column_mm = PLATEAU_MM * LINE_OVER_PLATEAU / line_columns(place, radiograph)
    spacing = column_mm * pixel_aspect(radiograph), column_mm
    return Scale(spacing, "the joint line", PLATEAU_DEVIATION_MM / PLATEAU_MM)


def line_mm(radiograph: Radiograph, place: KneePlace, scale: Scale) -> float:
    """Length of the joint line in mm."""
    return line_columns(place, radiograph) * scale.spacing[1]


def doubt(radiograph: Radiograph, place: KneePlace, scale: Scale) -> str:
    """Why no knee can have this scale, a clause; "" where it can."""
    length = line_mm(radiograph, place, scale)
    if LENGTH_MM[0] <= length <= LENGTH_MM[1]:
        return ""
    return (
        f"the {place.side} knee's joint line is {length:.0f} mm long at the spacing of "
        f"{scale.spacing[1]:.3g} mm that {scale.source} states, expected {LENGTH_MM[0]:g} to "
        f"{LENGTH_MM[1]:g} mm"
    )
