"""Elementary measures of surface points: sections, extremes, profiles, circles."""

import numpy as np

BAND_MM = 1.5  # half the thickness of a section
_FEW = 5  # an extreme is the mean of this many points


def section(points: np.ndarray, z: float) -> np.ndarray:
    """The points within BAND_MM of the level z."""
    return points[np.abs(points[:, 2] - z) < BAND_MM]


def top(values: np.ndarray) -> float:
    """The largest value, as the mean of the few largest; nan if there are too few."""
    if len(values) < _FEW:
        return float("nan")
    return float(np.partition(values, -_FEW)[-_FEW:].mean())


def extent(values: np.ndarray) -> float:
    """Distance from the smallest to the largest value."""
    return top(values) + top(-values)


def mean_of_last(points: np.ndarray, axis: int) -> np.ndarray:
    """The point f64[3] with the largest `axis`, as the mean of the points within 0.4 mm of it."""
    return points[points[:, axis] > top(points[:, axis]) - 0.4].mean(axis=0)


def profile(x: np.ndarray, y: np.ndarray, reach: float, step: float = 2.0) -> tuple:
    """The smallest y in every interval of x from -reach to reach that has points."""
    edges = np.arange(-reach, reach + step, step)
    place = np.digitize(x, edges)
    kept = [
        (edges[i] - step / 2, y[place == i].min())
        for i in range(1, len(edges))
        if (place == i).any()
    ]
    table = np.array(kept)
    return table[:, 0], table[:, 1]


# Directions around a section: towards the front, then in steps of 45 degrees over medial.
DIRECTIONS = (
    "front", "front_medial", "medial", "back_medial", "back", "back_lateral", "lateral",
    "front_lateral",
)  # fmt: skip
_WEDGE = np.radians(7.0)
_LAYER_MM = 3.0  # points deeper below the outermost one belong to another surface


def outline(cut: np.ndarray, centre: tuple[float, float]) -> dict[str, float]:
    """Extent of a section in each of DIRECTIONS from a point (x, y), mm."""
    away = cut[:, :2] - np.array(centre)
    angle = np.arctan2(away[:, 0], -away[:, 1])
    return {name: reach(away, angle, number * np.pi / 4) for number, name in enumerate(DIRECTIONS)}


def reach(away: np.ndarray, angle: np.ndarray, towards: float) -> float:
    """Distance of the outermost surface in a narrow wedge, mm.

    Args:
      away: f64[n, 2], points from the wedge's tip.
      angle: f64[n], their directions, radians.
      towards: the wedge's direction.
    """
    turn = np.abs((angle - towards + np.pi) % (2 * np.pi) - np.pi)
    far = np.linalg.norm(away[turn < _WEDGE], axis=1)
    if len(far) < _FEW:
        return float("nan")
    return float(far[far > far.max() - _LAYER_MM].mean())


def radius(points: np.ndarray) -> float:
    """Radius of the circle that fits f64[n, 2] by algebraic least squares (Kasa, 1976)."""
    if len(points) < 10:
        return float("nan")
    middle = points.mean(axis=0)
    x, y = (points - middle).T
    rows = np.stack([x, y, np.ones_like(x)], axis=1)
    a, b, c = np.linalg.lstsq(rows, x * x + y * y, rcond=None)[0]
    return float(np.sqrt(c + a * a / 4 + b * b / 4))
