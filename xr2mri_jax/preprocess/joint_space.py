"""Width of the tibiofemoral joint space in a radiograph, medial and lateral."""

import dataclasses
import functools
from typing import Any, NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from xr2mri_jax.geometry import KneePlace, Radiograph
from xr2mri_jax.preprocess.framing import pixel_aspect
from xr2mri_jax.preprocess.joint_space_trace import ACROSS, EDGE, FINE, margins, strip_along

COMPARTMENTS = ("medial", "lateral")
# Ranges along the joint line, from its lateral end (0) to the medial one (1), in the medial
# compartment: where margins are traced, and where the joint space counts. The lateral compartment
# is the mirror image. The fixed locations of Neumann et al., Osteoarthr Cartil 17:761-765, 2009,
# lie at 0.70 to 0.85 medially and, mirrored, at 0.70 to 0.90 laterally. The slopes of the tibial
# spines are excluded; the outer part, often the narrowest in worn knees, is included.
_TRACED = (0.62, 0.94)
_COUNTED = {"medial": (0.68, 0.88), "lateral": (0.68, 0.90)}


class Compartment(NamedTuple):
    """The joint space of one compartment.

    Attributes:
      share: least distance between the margins over the joint line's length, corrected for the
        blur of the edge filter.
      femur, tibia: f64[n, 2], (row, col) in pixels of the traced margins.
      narrowest: f64[2, 2], (row, col) of the two points nearest to each other.
    """

    share: float
    femur: np.ndarray
    tibia: np.ndarray
    narrowest: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class JointSpace:
    """The joint space of a knee.

    Attributes:
      medial, lateral: the compartments.
    """

    medial: Compartment
    lateral: Compartment

    def record(self, line_mm: float | None = None) -> dict[str, Any]:
        """The JSON-able form: shares of the joint line's length, and mm if its length is known.

        Args:
          line_mm: length of the joint line in mm, or None.
        """
        shares = {name: getattr(self, name).share for name in COMPARTMENTS}
        known = {} if line_mm is None else self.millimetres(line_mm)
        return {name: {"share": share, "mm": known.get(name)} for name, share in shares.items()}

    def millimetres(self, line_mm: float) -> dict[str, float]:
        """The joint space in mm by compartment, for a joint line of `line_mm`."""
        return {name: getattr(self, name).share * line_mm for name in COMPARTMENTS}


def measure_joint_space(radiograph: Radiograph, place: KneePlace) -> JointSpace | None:
    """Traces the margins of femur and tibia and measures their distance.

    In a strip along the joint line the two margins of each compartment are traced together, see
    `joint_space_trace.margins`. The joint space is the least distance between them in the
    weight-bearing part of the compartment; 0 if bone touches bone.

    Args:
      radiograph: f32[H, W], bone bright, upright, as displayed.
      place: side and joint line of the knee in it.

    Returns:
      The joint space; None if the place has no joint line.
    """
    aspect = pixel_aspect(radiograph)
    ends = np.array(place.joint_line, np.float64) * (aspect, 1.0)
    # The line's ends are ordered by column; a right knee's lateral end lies at the image's left.
    lateral, medial = ends if place.side == "right" else ends[::-1]
    along = medial - lateral
    length = float(np.linalg.norm(along))
    if length <= 0:
        return None
    across = np.array([along[1], -along[0]]) / length
    across = across if across[0] > 0 else -across
    strip = strip_along(radiograph.array, lateral, along, across, aspect)

    def pixels(columns: np.ndarray, heights: np.ndarray) -> np.ndarray:
        points = lateral + columns[:, None] * along + heights[:, None] * length * across
        return points / (aspect, 1.0)

    traced = (strip.places >= _TRACED[0]) & (strip.places <= _TRACED[1])
    # The strip's columns are symmetric: mirrored ones are the lateral compartment.
    columns = strip.places[traced]
    found = {}
    for name, femur, tibia in zip(COMPARTMENTS, *margins(strip, traced), strict=True):
        place_of = columns if name == "medial" else 1 - columns
        upper, lower = np.stack([place_of, femur], 1), np.stack([place_of, tibia], 1)
        low, high = _COUNTED[name]
        counted = np.flatnonzero((columns >= low) & (columns <= high))
        distances, nearest = cKDTree(upper).query(lower[counted])
        least = int(np.argmin(distances))
        two = np.stack([upper[nearest[least]], lower[counted[least]]])
        found[name] = Compartment(
            _unblurred(float(distances[least])),
            pixels(place_of, femur),
            pixels(place_of, tibia),
            pixels(two[:, 0], two[:, 1]),
        )
    return JointSpace(**found)


def _unblurred(share: float) -> float:
    """The true width of a gap whose margins appear `share` apart after the edge filter's blur.

    The steepest places of a dark band of width g under a normal blur s lie 2x apart, with
    ln((x + g/2) / (x - g/2)) = x g / s^2: never less than 2s, however narrow the band is.
    """
    apparent, true = _blur_table()
    return float(np.interp(share, apparent, true)) if share < apparent[-1] else share


@functools.cache
def _blur_table() -> tuple[np.ndarray, np.ndarray]:
    """Apparent and true widths, increasing, up to where they agree."""
    blur = float(np.hypot(EDGE / ACROSS, FINE))
    true = np.linspace(1e-4, 8.0, 200) * blur
    low, high = np.maximum(true / 2, blur * 0.5) * (1 + 1e-12), true / 2 + 2 * blur
    for _ in range(60):  # bisection; the left side decreases with x
        x = (low + high) / 2
        above = np.log((x + true / 2) / np.maximum(x - true / 2, 1e-300)) > x * true / blur**2
        low, high = np.where(above, x, low), np.where(above, high, x)
    true[0] = 0.0  # margins that coincide, and the narrowest band
    return 2 * x, true
