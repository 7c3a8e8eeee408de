"""Detections from probability maps: the likeliest position of each point, with its probability."""

from typing import NamedTuple

import numpy as np

from xr2mri_jax.preprocess.knee_finder.network import CELLS, POINTS, SIDES
from xr2mri_jax.preprocess.knee_finder.view import SIZE

# Cells around a peak that count as the same place.
RADIUS = 4
# A view is clear if all three points of one knee have at least probability CLEAR, the centre of a
# knee of the other side at most ABSENT, and the joint line spans at least this share of the view's
# width, as in a crop of one knee.
CLEAR, ABSENT, CLEAR_LINE = 0.97, 0.02, 0.6


class Detection(NamedTuple):
    """A knee detected in a view.

    Attributes:
      side: "right" or "left".
      points: f64[3, 2], (row, col) in pixels of the view: centre, first and second end.
      probability: f64[3], the probability that each point lies within RADIUS of its position.
    """

    side: str
    points: np.ndarray
    probability: np.ndarray


def find(maps: np.ndarray) -> tuple[Detection, Detection]:
    """Finds the peaks of one view's maps.

    Args:
      maps: f32[6, CELLS * CELLS + 1] of `network.probabilities`.

    Returns:
      The right and the left knee, whether they are present or not.
    """
    grids = maps[:, :-1].reshape(len(SIDES), len(POINTS), CELLS, CELLS)
    found = []
    for side, group in zip(SIDES, grids, strict=True):
        points, chances = zip(*(_peak(grid) for grid in group), strict=True)
        found.append(Detection(side, np.array(points), np.array(chances)))
    return found[0], found[1]


def unambiguous(found: tuple[Detection, Detection]) -> Detection | None:
    """The detection of a view that clearly shows one knee; None for any other view."""
    other, likely = sorted(found, key=lambda knee: float(knee.probability[0]))
    line = float(np.hypot(*(likely.points[2] - likely.points[1])))
    certain = likely.probability.min() >= CLEAR and other.probability[0] <= ABSENT
    return likely if certain and line >= CLEAR_LINE * SIZE else None


def find_one(maps: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The single knee of a view, whichever side it is.

    The maps of both sides are added, because the position of a knee does not depend on its side.

    Args:
      maps: f32[6, CELLS * CELLS + 1] of `network.probabilities`.

    Returns:
      f64[3, 2], (row, col) in pixels of the view; f64[3], the probability that each point lies
      within RADIUS of there; f64[2], the mean share of a right and of a left knee in it.
    """
    grids = maps[:, :-1].reshape(len(SIDES), len(POINTS), CELLS, CELLS)
    points, chances = zip(*(_peak(grid) for grid in grids.sum(0)), strict=True)
    shares = [[_mass(grid, point) for grid, point in zip(g, points, strict=True)] for g in grids]
    return np.array(points), np.array(chances), np.mean(shares, axis=1)


def _mass(grid: np.ndarray, point: tuple[float, float]) -> float:
    """The sum of a map around a point in pixels of the view."""
    row, column = (round((value - 0.5) / 2) for value in point)
    rows = slice(max(0, row - RADIUS), row + RADIUS + 1)
    return float(grid[rows, max(0, column - RADIUS) : column + RADIUS + 1].sum())


def _peak(grid: np.ndarray) -> tuple[tuple[float, float], float]:
    """The mean position around the highest cell, in pixels of the view, and the sum there."""
    top = np.unravel_index(int(grid.argmax()), grid.shape)
    rows, columns = (
        np.arange(max(0, at - RADIUS), min(CELLS, at + RADIUS + 1)) for at in map(int, top)
    )
    part = grid[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(np.float64)
    mass = float(part.sum())
    row = float((part.sum(1) * rows).sum()) / max(mass, 1e-12)
    column = float((part.sum(0) * columns).sum()) / max(mass, 1e-12)
    return (2 * row + 0.5, 2 * column + 0.5), min(mass, 1.0)
