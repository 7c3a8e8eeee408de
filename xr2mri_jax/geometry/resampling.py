"""Resampling of arrays and volumes onto another grid, with smoothing against aliasing."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import ndimage

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry.volume import Volume, checked_affine

# Index arithmetic on affines leaves errors of about 1e-13. Steps this close to a whole number are
# rounded, so that resampling onto a volume's own grid returns its own values.
_SNAP = 1e-9
_EDGE = 1e-6


def resample(
    volume: Volume, affine: Any, shape: Sequence[int], order: int = 1, fill: float = 0.0
) -> tuple[Volume, np.ndarray]:
    """Samples a volume on another grid.

    If a target voxel is larger than a source voxel along a source axis, the source is first
    smoothed along this axis by a Gaussian that matches a voxel-wide point spread to the target's:
    sigma = sqrt((f^2 - 1) / (8 ln 2)) source voxels, where f is the ratio of target to source voxel
    (Cardoso et al., "Scale factor point spread function matching", MICCAI 2015). Order 0, which is
    for labels, does not smooth. On its own grid a volume keeps its values exactly (orders 0, 1).

    Args:
      volume: the source, real; NaN voxels count as outside its field.
      affine: f64[4, 4] of the target grid, voxel index -> RAS mm.
      shape: voxels of the target grid.
      order: 0 nearest neighbour, 1 linear, 2 to 5 splines.
      fill: the value outside the source's field.

    Returns:
      The volume on the target grid, f32 (order 0: the source's dtype), and a mask, bool of the same
      shape: true if the target voxel's centre lies inside the source's field, that is within half a
      source voxel of its outermost centres.

    Raises:
      InputError: a bad affine, or a source with infinite values (order >= 1).
    """
    target = checked_affine(affine)
    step = np.linalg.solve(volume.affine, target)
    array, mask = sample_array(volume.array, step, tuple(shape), order, fill)
    return Volume(array, target), mask


def sample_array(
    array: np.ndarray, step: np.ndarray, shape: tuple[int, ...], order: int, fill: float
) -> tuple[np.ndarray, np.ndarray]:
    """Samples at source index = step @ (target index, 1), in two or three dimensions."""
    whole = np.round(step)
    step = np.where(np.abs(step - whole) < _SNAP, whole, step)
    matrix, offset = step[:-1, :-1], step[:-1, -1]
    if array.dtype.kind == "f" and np.isnan(array).any():
        return _sample_known(array, step, shape, order, fill)
    if order > 0:
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise InputError("the source has values that are not finite: cannot be interpolated")
        array = _smoothed(array.astype(np.float32, copy=False), matrix)
    out = ndimage.affine_transform(
        array, matrix, offset, output_shape=shape, output=array.dtype, order=order, mode="nearest"
    )
    grid = np.ogrid[tuple(slice(0, n) for n in shape)]
    mask = np.ones(shape, bool)
    for row, start, n in zip(matrix, offset, array.shape, strict=True):
        position = start + sum(a * g for a, g in zip(row, grid, strict=True))
        mask &= (position >= -0.5 - _EDGE) & (position <= n - 0.5 + _EDGE)
    out[~mask] = fill
    return out, mask


def _sample_known(
    array: np.ndarray, step: np.ndarray, shape: tuple[int, ...], order: int, fill: float
) -> tuple[np.ndarray, np.ndarray]:
    """`sample_array` for arrays with NaN: samples known values and their weights, and divides."""
    known = ~np.isnan(array)
    values, mask = sample_array(np.where(known, array, 0), step, shape, order, 0.0)
    weights = sample_array(known.astype(np.float32), step, shape, min(order, 1), 0.0)[0]
    mask &= weights > 0.5
    divided = values if order == 0 else values / np.maximum(weights, 0.5)
    return np.where(mask, divided, fill).astype(values.dtype), mask


def _smoothed(array: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Matches the point spread of an f32 source to the target voxels, see `resample`."""
    # The target voxel's footprint has the covariance matrix @ matrix.T in source voxels.
    excess = np.maximum((matrix**2).sum(axis=1) - 1.0, 0.0)
    for axis, sigma in enumerate(np.sqrt(excess / (8 * np.log(2)))):
        if sigma > 1e-3:
            array = ndimage.gaussian_filter1d(array, sigma, axis, mode="nearest", truncate=3.0)
    return array
