"""Traces the margins of femur and tibia through the compartments of a knee in a radiograph."""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from xr2mri_jax.preprocess import blur

# Over the joint line's length: half the height of the strip, and the largest joint space. Samples
# of the strip per length of the line, across it and along it.
_REACH, _LARGEST = 0.15, 0.14
ACROSS, _ALONG = 220, 160
# Blur of the strip, over the line's length, and scale of the edges in samples.
FINE, EDGE = 1 / 350, 2.0
# Trace: weight of the darkness between the margins, costs of a step of the femur's margin and of
# the gap, weight of the distance from the finder's line, and the least evidence of a gap in a
# column. Chosen on training radiographs of the Osteoarthritis Initiative by how well grades 3 and 4
# separate from 0.
_DARKNESS, _STEP, _GAP_STEP, _PRIOR, _OPEN = 0.06, 0.05, 0.2, 1.0, 0.4
# Darkness is local, and counts below this fraction of the grey value at this quantile of the
# strip's inner part: textured bone has locally dark spots that are brighter than a joint space.
_BELOW_LEVEL, _LEVEL = 0.7, 0.25
_WIDE = (15.0, 15.0)  # rows and columns over which contrast is local
_SMOOTH = 5  # columns over which a margin is averaged
_IMPOSSIBLE = np.float32(-1e9)


class Strip(NamedTuple):
    """The image along the joint line, lateral end first.

    values: f32[rows, columns]; heights, places: of rows and columns, over the line's length.
    """

    values: np.ndarray
    heights: np.ndarray
    places: np.ndarray


def strip_along(
    image: np.ndarray, start: np.ndarray, along: np.ndarray, across: np.ndarray, aspect: float
) -> Strip:
    """Samples an image around the joint line.

    Args:
      image: f32[H, W], bone bright.
      start, along, across: f64[2], (row * aspect, col): the lateral end, the vector to the medial
        end, and the unit vector that points downwards.
      aspect: height of a pixel over its width.
    """
    length = float(np.linalg.norm(along))
    count = 2 * round(_REACH * ACROSS) + 1
    heights = np.linspace(-_REACH, _REACH, count)
    places = np.linspace(-0.02, 1.02, _ALONG)
    # (row, col) of every sample, f64[2, rows, columns].
    points = np.stack(
        [
            (start[axis] + places * along[axis] + (heights * length * across[axis])[:, None]) / tall
            for axis, tall in enumerate((aspect, 1.0))
        ]
    )
    fine = np.array([length * FINE / aspect, length * FINE])
    # Only the part under the strip is filtered: whole films have millions of pixels more.
    low = np.clip(points.min((1, 2)) - 5 * fine, 0, np.array(image.shape) - 2).astype(int)
    high = np.clip(points.max((1, 2)) + 5 * fine + 2, low + 2, image.shape).astype(int)
    part = np.asarray(image[low[0] : high[0], low[1] : high[1]], np.float32)
    smooth = ndimage.gaussian_filter(part, fine)
    points -= low[:, None, None]
    values = ndimage.map_coordinates(smooth, points, order=1, mode="nearest")
    return Strip(values, heights, places)


def margins(strip: Strip, traced: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The margins of femur and tibia in the medial and the lateral compartment.

    Dynamic programming finds the best pair of margins: bright above and dark below the femur's,
    dark above and bright below the tibia's, darkness between them, few steps. Where no gap is
    visible the margins coincide.

    Args:
      strip: along the joint line.
      traced: bool[columns] of the strip, the medial compartment; the lateral one is its mirror
        image.

    Returns:
      femur, tibia: f64[2, n] heights over the line's length, medial and lateral, outwards.
    """
    edge, dark = (
        np.stack([field[:, traced], field[:, ::-1][:, traced]]).astype(np.float32)
        for field in _edges(strip.values)
    )
    summed = np.cumsum(_DARKNESS * dark, axis=1)
    above = np.concatenate([np.zeros_like(summed[:, :1]), summed[:, :-1]], axis=1)
    upper, gap = _follow(edge + above, _PRIOR * (strip.heights / 0.1) ** 2)
    step = strip.heights[1] - strip.heights[0]
    femur, tibia = (
        np.stack([_peaks(*one) for one in zip(field, rows, strict=True)])
        for field, rows in ((-edge, upper), (edge, upper + gap))
    )
    femur, tibia = (
        ndimage.uniform_filter1d(strip.heights[0] + rows * step, _SMOOTH, axis=1, mode="nearest")
        for rows in (femur, tibia)
    )
    return femur, np.maximum(tibia, femur)


def _edges(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Downward derivative of brightness, and darkness, over the contrast: f32[rows, columns]."""
    # Scaled by a power of two, which is exact: squares of values of any size stay finite.
    _, exponent = np.frexp(float(values.max()) - float(values.min()))
    values = np.ldexp(values, -exponent)
    spread = float(np.ptp(values)) or 1.0
    contrast = np.sqrt(blur.gaussian((values - blur.gaussian(values, _WIDE)) ** 2, _WIDE))
    contrast += 0.02 * spread
    edge = blur.along_rows(values, EDGE, order=1)
    edge = EDGE * blur.along_columns(edge, 2) / contrast
    dark = (blur.gaussian(values, (12, 6)) - values) / contrast
    outer = values.shape[1] // 10  # soft tissue beside the knee
    inner = values[:, outer:-outer]
    level = np.quantile(inner, _LEVEL)
    return edge, dark + _BELOW_LEVEL * (level - values) / max(float(inner.std()), 1e-3 * spread)


def _peaks(edge: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Rows i[columns], moved by at most half a row to the peaks of f32[rows, columns]."""
    columns = np.arange(len(rows))
    inner = np.clip(rows, 1, len(edge) - 2)
    before, at, after = (edge[inner + by, columns] for by in (-1, 0, 1))
    bend = 2 * at - before - after
    moved = np.where(bend > 1e-9, (after - before) / np.maximum(2 * bend, 1e-9), 0.0)
    return rows + np.clip(moved, -0.5, 0.5)


def _follow(shown: np.ndarray, away: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The best pairs of margins from the first to the last column of each compartment.

    Args:
      shown: f32[n, rows, columns], downward derivative of brightness plus the darkness summed over
        the rows above: a pair of margins gains the value at the lower row minus that at the upper.
      away: f64[rows], cost of a joint space by the row of its middle.

    Returns:
      i[n, columns]: rows of the femur's margin, and the gaps.
    """
    count, rows, columns = shown.shape
    cost = _cost(away)
    gaps = cost.shape[1]
    # An impossible entry follows each row of pairs, and all rows: neighbours of all pairs then lie
    # at fixed distances, and a step is one pass over memory.
    width = gaps + 1
    by_column = np.ascontiguousarray(np.moveaxis(shown, 2, 0))
    below = np.pad(by_column, ((0, 0), (0, 0), (0, gaps - 1)), mode="edge")
    below = np.lib.stride_tricks.sliding_window_view(below, gaps, axis=2)
    scores = np.full((count, rows + 1, width), _IMPOSSIBLE)
    pairs, flat = scores[:, :rows, :gaps], scores.reshape(-1)
    # The best totals by column: after the column itself, and after the femur's step into the next.
    totals = np.empty((columns, flat.size), np.float32)
    stepped = np.empty_like(totals[1:])
    for column in range(columns):
        np.subtract(below[column], by_column[column, ..., None], out=pairs)
        pairs -= cost
        if not column:
            totals[0] = flat
            continue
        _best_of_neighbours(totals[column - 1], _GAP_STEP, 1, stepped[column - 1])
        _best_of_neighbours(stepped[column - 1], _STEP, width, totals[column])
        totals[column] += flat
    found = np.zeros((2, count, columns), int)
    for one, ends in enumerate(totals[-1].reshape(count, -1)):
        place = int(ends.argmax()) + one * len(ends)
        path = [place]
        for column in range(columns - 1, 0, -1):
            place += _came_from(stepped[column - 1], place, _STEP, width)
            place += _came_from(totals[column - 1], place, _GAP_STEP, 1)
            path.append(place)
        found[:, one] = np.divmod(np.subtract(path[::-1], one * len(ends)), width)
    return found[0], found[1]


def _cost(away: np.ndarray) -> np.ndarray:
    """f32[rows, gaps]: the cost of each pair of margins by its position alone."""
    rows = len(away)
    upper = np.arange(rows)[:, None]
    lower = upper + np.arange(round(_LARGEST * ACROSS) + 1)
    outside, lower = lower >= rows, np.minimum(lower, rows - 1)
    cost = away[(upper + lower) // 2] + _OPEN * (lower > upper)
    return np.where(outside, -_IMPOSSIBLE, cost).astype(np.float32)


def _best_of_neighbours(total: np.ndarray, cost: float, apart: int, out: np.ndarray) -> None:
    """The best of each f32[pairs] and its neighbours at distance `apart`, these less `cost`."""
    less = total - np.float32(cost)
    np.copyto(out, total)
    np.maximum(out[apart:], less[:-apart], out=out[apart:])
    np.maximum(out[:-apart], less[apart:], out=out[:-apart])


def _came_from(total: np.ndarray, place: int, cost: float, apart: int) -> int:
    """The move, -apart, 0 or +apart, to the source of the best value in `_best_of_neighbours`.

    On ties 0 comes before -apart before +apart. The last entry, which is impossible, precedes the
    first one.
    """
    own = total[place]
    lower = total[place - apart] - np.float32(cost)
    upper = total[place + apart] - np.float32(cost)
    if own >= max(lower, upper):
        return 0
    return -apart if lower >= upper else apart
