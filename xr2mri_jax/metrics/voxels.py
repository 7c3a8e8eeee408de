"""Border voxels of a mask, and the distances between those of two masks."""

import numpy as np
from scipy.spatial import cKDTree

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import Volume
from xr2mri_jax.metrics.alignment import Similarity
from xr2mri_jax.metrics.surfaces import SurfaceScores, scores


class Border:
    """The voxels of a mask that share a face with a voxel outside it.

    Attributes:
      points: f64[n, 3], their centres, RAS mm.
      tree: k-d tree of the points.
    """

    def __init__(self, mask: Volume) -> None:
        """Finds the border voxels; everything beyond the array counts as outside the mask.

        Args:
          mask: bool.

        Raises:
          InputError: the mask is empty.
        """
        inner = mask.array.copy()
        for axis in range(3):
            along, array = np.moveaxis(inner, axis, 0), np.moveaxis(mask.array, axis, 0)
            along[1:] &= array[:-1]
            along[:-1] &= array[1:]
            along[0], along[-1] = False, False
        index = np.argwhere(mask.array & ~inner)
        if not len(index):
            raise InputError("found no part of the structure inside the field of view")
        self.points = mask.world(index)
        self.tree = cKDTree(self.points)


def border_scores(
    moved: Border, fixed: Border, transform: Similarity, points: int | None = None
) -> SurfaceScores:
    """Equally weighted distances from each border voxel to the nearest one of the other mask.

    A shape compared with its own copy, rotated or scaled from another grid, has an ASSD of about
    0.5 voxels, because the voxel centres do not coincide. For small differences use
    `surfaces.scores`.

    Args:
      moved, fixed: borders of two masks.
      transform: applied to the first.
      points: sampled points per mask; None: all.
    """
    others, weights = _subsample(moved.points, points)
    targets, target_weights = _subsample(fixed.points, points)
    there = fixed.tree.query(transform.points(others))[0]
    back = transform.scale * moved.tree.query(transform.inverse_points(targets))[0]
    return scores(there, weights, back, target_weights)


def _subsample(points: np.ndarray, count: int | None) -> tuple[np.ndarray, np.ndarray]:
    """A reproducible sample of at most `count` points, and how many points each represents."""
    if count is None or len(points) <= count:
        return points, np.ones(len(points))
    chosen = np.random.default_rng(0).choice(len(points), count, replace=False, shuffle=False)
    return points[chosen], np.full(count, len(points) / count)
