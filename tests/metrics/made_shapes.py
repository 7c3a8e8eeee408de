"""Shapes of known distance, as maps of labels and as occupancies."""

import numpy as np

from xr2mri_jax.geometry import Volume, canonical_affine
from xr2mri_jax.metrics.occupancy import occupancies, softened
from xr2mri_jax.metrics.surfaces import Surface, surface_of


def axes_of(shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """RAS mm x, y, z of the voxels of the canonical box, f32 arrays that broadcast to its shape."""
    d, h, w = np.ogrid[tuple(slice(0, n) for n in shape)]
    affine = canonical_affine(shape)
    x, y, z = w * affine[0, 2], d * affine[1, 0], h * affine[2, 1]
    return tuple((a + affine[i, 3]).astype(np.float32) for i, a in enumerate((x, y, z)))


def world(shape: tuple[int, int, int]) -> np.ndarray:
    """RAS mm f32[d, h, w, 3] of the voxels of the canonical box."""
    return np.stack(np.broadcast_arrays(*axes_of(shape)), axis=-1)


def map_of(inside: np.ndarray) -> Volume:
    """Label 1 where it is true."""
    return Volume(inside.astype(np.uint8), canonical_affine(inside.shape))


def sphere(radius: float, centre=(0.0, 0.0, 0.0), shape=(128, 128, 128)) -> Volume:
    return map_of(np.linalg.norm(world(shape) - centre, axis=-1) < radius)


def box(size, centre=(0.0, 0.0, 0.0), shape=(128, 128, 128)) -> Volume:
    return map_of((np.abs(world(shape) - centre) < np.asarray(size) / 2).all(axis=-1))


def ellipsoid(axes, turn=None, centre=(0.0, 0.0, 0.0)) -> Volume:
    """A pear: an ellipsoid whose front half is narrower, so that no turn maps it on itself."""
    points = world((128, 128, 128)) - centre
    points = points if turn is None else points @ turn
    narrow = np.where(points[..., 1:2] > 0, (0.7, 1.0, 0.85), 1.0)
    return map_of(np.linalg.norm(points / (np.asarray(axes) * narrow), axis=-1) < 1)


def surface(labels: Volume) -> Surface:
    occupied = occupancies(labels, {"shape": (1,)})["shape"]
    return surface_of(softened(occupied, labels))
