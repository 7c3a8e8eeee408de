"""Crops structures to an axis-aligned box and closes their surfaces at its faces."""

import dataclasses

import numpy as np
from scipy import ndimage

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import Volume
from xr2mri_jax.metrics.surfaces import Surface

_STEP_MM = 1.0  # between the points of a cut face


@dataclasses.dataclass(frozen=True, eq=False)
class Box:
    """A box aligned with the RAS axes.

    Attributes:
      low, high: f64[3], opposite corners in mm.
    """

    low: np.ndarray
    high: np.ndarray

    @classmethod
    def around(cls, reach_mm: float) -> "Box":
        """The cube around the origin with half edge `reach_mm`."""
        return cls(np.full(3, -reach_mm), np.full(3, reach_mm))

    @classmethod
    def of(cls, volume: Volume, margin_mm: float, reach_mm: float) -> "Box":
        """The part of the cube around the origin that lies inside a volume's grid.

        For an oblique grid the box is reduced so that the grid contains all of it.

        Args:
          volume: the volume whose grid is used.
          margin_mm: margin to exclude at the grid's borders.
          reach_mm: half the cube's edge.

        Raises:
          InputError: the grid does not contain the cube's centre.
        """
        box = cls.around(reach_mm)
        low, high = box.low.copy(), box.high.copy()
        inverse = np.linalg.inv(volume.affine)
        for axis, size in enumerate(volume.shape):
            length = np.linalg.norm(inverse[axis, :3])  # voxels per mm along the face's normal
            normal = inverse[axis, :3] / length
            main = int(np.abs(normal).argmax())
            lost = (np.abs(normal).sum() - abs(normal[main])) * reach_mm
            first = (-0.5 - inverse[axis, 3]) / length + margin_mm + lost
            last = (size - 0.5 - inverse[axis, 3]) / length - margin_mm - lost
            ends = sorted((first / normal[main], last / normal[main]))
            if first >= last:
                ends = [1.0, -1.0]
            low[main], high[main] = max(low[main], ends[0]), min(high[main], ends[1])
        if (low >= 0).any() or (high <= 0).any():
            raise InputError("found the joint at the border of the label map, expected it inside")
        return cls(low, high)

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Whether each of the points f64[n, 3] lies inside: bool[n]."""
        return np.all((points >= self.low) & (points <= self.high), axis=1)

    def scaled(self, scale: float) -> "Box":
        """The box scaled about the origin."""
        return Box(self.low * scale, self.high * scale)

    def mask(self, grid: Volume) -> np.ndarray:
        """The voxels whose centres lie inside: bool of the grid's shape."""
        inside = np.ones(grid.shape, bool)
        steps = np.ogrid[tuple(slice(0, size) for size in grid.shape)]
        for axis in range(3):
            place = grid.affine[axis, 3] + sum(
                float(grid.affine[axis, i]) * step for i, step in enumerate(steps)
            )
            inside &= (place >= self.low[axis]) & (place <= self.high[axis])
        return inside

    def closed(self, surface: Surface, occupied: Volume, level: float) -> Surface:
        """The closed surface of the part of a structure inside the box, with the cut faces.

        Args:
          surface: the structure's surface.
          occupied: the structure's occupancy, any real dtype.
          level: the occupancy at the surface.

        Raises:
          InputError: no part of the structure lies inside.
        """
        inside = self(surface.points)
        caps = [self._cap(axis, end, occupied, level) for axis in range(3) for end in (-1, 1)]
        points = np.concatenate([surface.points[inside], *(points for points, _, _ in caps)])
        if not len(points):
            raise InputError("found no part of the structure inside the field of view")
        return Surface(
            points,
            np.concatenate([surface.normals[inside], *(normals for _, normals, _ in caps)]),
            np.concatenate([surface.areas[inside], *(areas for _, _, areas in caps)]),
            max(surface.reach, _STEP_MM),
        )

    def _cap(
        self, axis: int, end: int, occupied: Volume, level: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Points, normals and areas of one cut face."""
        across = [other for other in range(3) if other != axis]
        lengths = (self.high - self.low)[across]
        counts = np.ceil(lengths / _STEP_MM).astype(int)
        steps = lengths / counts
        points = np.empty((*counts, 3))
        points[..., axis] = self.high[axis] if end > 0 else self.low[axis]
        places = np.ogrid[: counts[0], : counts[1]]
        for other, step, place in zip(across, steps, places, strict=True):
            points[..., other] = self.low[other] + (place + 0.5) * step
        points = points.reshape(-1, 3)
        filled = ndimage.map_coordinates(
            occupied.array, occupied.index(points).T, order=1, output=np.float32
        )
        points = points[filled >= level]
        normals = np.zeros_like(points)
        normals[:, axis] = end
        return points, normals, np.full(len(points), steps.prod())
