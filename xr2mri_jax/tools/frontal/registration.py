"""Registers distance maps to a reference by a similarity, in two and three dimensions."""

import dataclasses
from collections.abc import Callable

import numpy as np
from scipy import ndimage, optimize
from scipy.spatial.transform import Rotation

_LOOSE_MM = 1.5  # larger residuals have less weight
_STEPS = 40


@dataclasses.dataclass(frozen=True, eq=False)
class Distances:
    """A signed distance map around the origin, negative inside.

    Attributes:
      array: f32[n, ...], mm, of two or three axes.
      step: mm between the samples; the array's middle is the origin.
      low, high: f64[axes], mm: beyond them their values continue, as in a shaft.
    """

    array: np.ndarray
    step: float
    low: np.ndarray
    high: np.ndarray

    def at(self, points: np.ndarray) -> np.ndarray:
        """f32[n], mm: linear interpolation at points f[n, axes] in mm."""
        middle = (np.array(self.array.shape) - 1) / 2
        where = np.clip(points, self.low, self.high) / self.step + middle
        return ndimage.map_coordinates(
            self.array, where.T, order=1, mode="nearest", output=np.float32
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Similarity:
    """The similarity x -> scale * turn @ x + shift, mm of the reference -> mm of a knee."""

    turn: np.ndarray
    shift: np.ndarray
    scale: float

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Moves points f[n, axes]."""
        return self.scale * points @ self.turn.T + self.shift

    @classmethod
    def of(cls, values: np.ndarray, axes: int) -> "Similarity":
        """Made from turns in radians (one in 2D, three in 3D), shifts in mm, logarithm of scale."""
        if axes == 2:
            c, s = np.cos(values[0]), np.sin(values[0])
            turn = np.array([[c, -s], [s, c]])
        else:
            turn = Rotation.from_rotvec(values[:3]).as_matrix()
        return cls(turn, values[-axes - 1 : -1], float(np.exp(values[-1])))


def register(distances: Distances, points: np.ndarray) -> Similarity:
    """The similarity that registers a reference's surface to a knee's.

    Args:
      distances: of the knee.
      points: f64[n, axes], mm, on the surface (or outline) of the reference.
    """
    axes = points.shape[1]
    turns = 1 if axes == 2 else 3

    def off(values: np.ndarray) -> np.ndarray:
        place = Similarity.of(values, axes)
        return distances.at(place(points)) / place.scale

    start = np.zeros(turns + axes + 1)
    scale = np.array([0.02] * turns + [1.0] * axes + [0.02])
    # Interpolated f32 distances need a larger step than the default for their derivatives.
    found = optimize.least_squares(
        off, start, x_scale=scale, loss="soft_l1", f_scale=_LOOSE_MM, diff_step=None,
        jac=lambda x: _slopes(off, x, scale), max_nfev=_STEPS, xtol=1e-4, ftol=1e-4,
    )  # fmt: skip
    return Similarity.of(found.x, axes)


def _slopes(
    off: Callable[[np.ndarray], np.ndarray], values: np.ndarray, scale: np.ndarray
) -> np.ndarray:
    steps = np.diag(0.1 * scale)
    return np.stack(
        [(off(values + step) - off(values - step)) / (2 * step.sum()) for step in steps], axis=1
    )
