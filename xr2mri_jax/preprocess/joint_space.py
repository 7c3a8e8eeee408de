"""Width of the tibiofemoral joint space in a radiograph, medial and lateral."""

import dataclasses
import functools
from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from xr2mri_jax.geometry import KneePlace, Radiograph
from xr2mri_jax.preprocess.framing import pixel_aspect

COMPARTMENTS = ("medial", "lateral")
# Along the joint line, from the lateral end (0) to the medial one (1): where margins are traced in
# the medial compartment, and where the joint space counts, about the fixed locations of Neumann et
# al., Osteoarthr Cartil 17:761-765, 2009. The lateral compartment is the mirror image.
_TRACED, _COUNTED = (0.62, 0.90), (0.65, 0.85)
# Half the strip that is looked at and the largest joint space, over the line's length; samples of
# the strip across the line in one length, and along it.
_REACH, _LARGEST = 0.15, 0.14
_ACROSS, _ALONG = 220, 160
# Trace: scale of the edges (samples), weight of the darkness between the margins, costs of a step
# of the femur's margin and of the gap, weight of the distance from the finder's line. Chosen on 260
# training radiographs of the Osteoarthritis Initiative by how well grades 3 and 4 part from 0.
_EDGE, _DARKNESS, _STEP, _GAP_STEP, _PRIOR = 2.0, 0.06, 0.05, 0.2, 1.0
_SMOOTH = 5  # columns over which a margin is averaged


class Compartment(NamedTuple):
    """The joint space of one compartment.

    Attributes:
      share: least distance between the margins over the joint line's length; the edge filter's
        blur is taken out.
      femur, tibia: f64[n, 2], (row, col) in pixels of the margins that were traced.
      narrowest: f64[2, 2], (row, col) of the two points that are nearest to each other.
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
        """The JSON-able form: shares of the joint line's length, and mm where that is known.

        Args:
          line_mm: length of the joint line in mm, or None.
        """
        shares = {name: getattr(self, name).share for name in COMPARTMENTS}
        known = {} if line_mm is None else self.millimetres(line_mm)
        return {name: {"share": share, "mm": known.get(name)} for name, share in shares.items()}

    def millimetres(self, line_mm: float) -> dict[str, float]:
        """The joint space in mm by compartment, of a joint line of `line_mm`."""
        return {name: getattr(self, name).share * line_mm for name in COMPARTMENTS}


class _Strip(NamedTuple):
    """The image along the joint line, lateral end first.

    values: f32[rows, columns]; heights, places: of rows and columns, over the line's length.
    """

    values: np.ndarray
    heights: np.ndarray
    places: np.ndarray


def measure_joint_space(radiograph: Radiograph, place: KneePlace) -> JointSpace | None:
    """Traces the margins of femur and tibia and measures between them.

    In a strip along the joint line two margins are traced through each compartment together by
    dynamic programming: bright above and dark below the femur's, dark above and bright below the
    tibia's, darkness between them, few steps. The joint space is the least distance between them in
    the compartment's middle part.

    Args:
      radiograph: f32[H, W], bone bright, upright, as displayed.
      place: side and joint line of the knee in it.

    Returns:
      The joint space; None where the place has no joint line.
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
    strip = _strip(radiograph.array, lateral, along, across, aspect)
    edge, dark = _edges(strip.values)

    def pixels(columns: np.ndarray, heights: np.ndarray) -> np.ndarray:
        points = lateral + columns[:, None] * along + heights[:, None] * length * across
        return points / (aspect, 1.0)

    found = {}
    for name in COMPARTMENTS:
        low, high = _TRACED if name == "medial" else (1 - _TRACED[1], 1 - _TRACED[0])
        traced = (strip.places >= low) & (strip.places <= high)
        columns = strip.places[traced]
        femur, tibia = _margins(strip.heights, edge[:, traced], dark[:, traced])
        upper, lower = np.stack([columns, femur], 1), np.stack([columns, tibia], 1)
        inwards = np.where(columns < 0.5, 1 - columns, columns)
        counted = np.flatnonzero((inwards >= _COUNTED[0]) & (inwards <= _COUNTED[1]))
        distances, nearest = cKDTree(upper).query(lower[counted])
        least = int(np.argmin(distances))
        two = np.stack([upper[nearest[least]], lower[counted[least]]])
        found[name] = Compartment(
            _unblurred(float(distances[least])),
            pixels(columns, femur),
            pixels(columns, tibia),
            pixels(two[:, 0], two[:, 1]),
        )
    return JointSpace(**found)


def _unblurred(share: float) -> float:
    """The width of a gap whose margins are seen `share` apart after the edge filter's blur.

    The steepest places of a dark band of width g under a normal blur s lie 2x apart, with
    ln((x + g/2) / (x - g/2)) = x g / s^2: never less than 2s, however narrow the band is.
    """
    apparent, true = _blur_table()
    return float(np.interp(share, apparent, true)) if share < apparent[-1] else share


@functools.cache
def _blur_table() -> tuple[np.ndarray, np.ndarray]:
    """Apparent and true widths, rising, up to where they agree."""
    blur = float(np.hypot(_EDGE / _ACROSS, 1 / 350))
    true = np.linspace(1e-4, 8.0, 200) * blur
    low, high = np.maximum(true / 2, blur * 0.5) * (1 + 1e-12), true / 2 + 2 * blur
    for _ in range(60):  # bisection; the left side falls with x, the right one rises
        x = (low + high) / 2
        above = np.log((x + true / 2) / np.maximum(x - true / 2, 1e-300)) > x * true / blur**2
        low, high = np.where(above, x, low), np.where(above, high, x)
    return 2 * x, true


def _strip(
    image: np.ndarray, start: np.ndarray, along: np.ndarray, across: np.ndarray, aspect: float
) -> _Strip:
    """Samples the image about the line; points are (row * aspect, col)."""
    length = float(np.linalg.norm(along))
    count = 2 * round(_REACH * _ACROSS) + 1
    heights = np.linspace(-_REACH, _REACH, count)
    places = np.linspace(-0.02, 1.02, _ALONG)
    points = start + places[None, :, None] * along + heights[:, None, None] * length * across
    points = points / (aspect, 1.0)
    blur = np.array([length / 350 / aspect, length / 350])
    # Only what the strip sees is filtered: whole films have millions of pixels more.
    low = np.clip(points.min((0, 1)) - 5 * blur, 0, np.array(image.shape) - 2).astype(int)
    high = np.clip(points.max((0, 1)) + 5 * blur + 2, low + 2, image.shape).astype(int)
    part = np.asarray(image[low[0] : high[0], low[1] : high[1]], np.float32)
    smooth = ndimage.gaussian_filter(part, blur)
    values = ndimage.map_coordinates(
        smooth, np.moveaxis(points - low, -1, 0), order=1, mode="nearest"
    )
    return _Strip(values, heights, places)


def _edges(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Brightness derived downwards, and darkness, over the contrast: f32[rows, columns] each."""
    contrast = np.sqrt(
        ndimage.gaussian_filter((values - ndimage.gaussian_filter(values, 15)) ** 2, 15)
    )
    contrast += 0.02 * max(float(np.ptp(values)), 1e-6)
    edge = ndimage.gaussian_filter1d(values, _EDGE, axis=0, order=1)
    edge = _EDGE * ndimage.gaussian_filter1d(edge, 2, axis=1) / contrast
    return edge, (ndimage.gaussian_filter(values, (12, 6)) - values) / contrast


def _margins(
    heights: np.ndarray, edge: np.ndarray, dark: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Heights of the femur's and the tibia's margin in the columns of `_edges`, f64[n] each."""
    summed = np.cumsum(_DARKNESS * dark, axis=0)
    above = np.concatenate([np.zeros((1, summed.shape[1])), summed[:-1]])
    largest = round(_LARGEST * _ACROSS)
    upper, gap = _follow(edge, above, _PRIOR * (heights / 0.1) ** 2, largest)
    step = heights[1] - heights[0]
    rows = _peaks(-edge, upper), _peaks(edge, upper + gap)
    femur, tibia = (
        ndimage.uniform_filter1d(heights[0] + row * step, _SMOOTH, mode="nearest") for row in rows
    )
    return femur, tibia


def _peaks(edge: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Rows i[columns] moved by half a row at most to the peaks of f32[rows, columns]."""
    columns = np.arange(len(rows))
    inner = np.clip(rows, 1, len(edge) - 2)
    before, at, after = (edge[inner + by, columns] for by in (-1, 0, 1))
    bend = 2 * at - before - after
    moved = np.where(bend > 1e-9, (after - before) / np.maximum(2 * bend, 1e-9), 0.0)
    return rows + np.clip(moved, -0.5, 0.5)


def _follow(
    edge: np.ndarray, above: np.ndarray, away: np.ndarray, largest: int
) -> tuple[np.ndarray, np.ndarray]:
    """The best pair of margins from the first to the last column.

    Args:
      edge: f32[rows, columns], derivative of the brightness downwards.
      above: f32[rows, columns], darkness summed over the rows above.
      away: f64[rows], cost of a joint space whose middle lies in a row.
      largest: gap in rows.

    Returns:
      i[columns]: rows of the femur's margin, and the gaps.
    """
    rows, columns = edge.shape
    upper = np.arange(rows)[:, None]
    lower = upper + np.arange(largest + 1)
    outside, lower = lower >= rows, np.minimum(lower, rows - 1)
    far = away[(upper + lower) // 2]

    def score(column: int) -> np.ndarray:
        gained = edge[lower, column] - edge[upper, column]
        gained = gained + above[lower, column] - above[upper, column] - far
        return np.where(outside, -1e9, gained)

    total = score(0)
    came = np.zeros((columns, *total.shape), np.int8)
    for column in range(1, columns):
        padded = np.pad(total, 1, constant_values=-1e9)
        moves = np.stack([
            padded[1 + down : 1 + down + rows, 1 + wide : 2 + wide + largest]
            - _STEP * abs(down) - _GAP_STEP * abs(wide)
            for down in (-1, 0, 1) for wide in (-1, 0, 1)
        ])  # fmt: skip
        came[column] = moves.argmax(axis=0)
        total = moves.max(axis=0) + score(column)
    row, gap = np.unravel_index(int(total.argmax()), total.shape)
    path = [(int(row), int(gap))]
    for column in range(columns - 1, 0, -1):
        down, wide = divmod(int(came[column][path[-1]]), 3)
        path.append((path[-1][0] + down - 1, path[-1][1] + wide - 1))
    found = np.array(path[::-1])
    return found[:, 0], found[:, 1]
