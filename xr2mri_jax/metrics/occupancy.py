"""Converts label maps to occupancies: the fraction of each grid voxel that a structure fills."""

from collections.abc import Mapping

import numpy as np
from scipy import ndimage

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import Volume, canonical_affine

GRID = (128, 128, 128)  # voxels of 1 mm over the canonical box
# Samples per voxel and axis. 8 samples per voxel locate a smooth surface to about 0.1 mm.
_SAMPLES = 2
# Standard deviation, in voxels of the map, of the Gaussian that removes the map's voxel steps.
_SOFTEN_VOXELS = 0.75
# Axes of two grids are parallel if they diverge by less than this many voxels over the grid.
_PARALLEL = 0.01


def occupancies(labels: Volume, codes: Mapping[str, tuple[int, ...]]) -> dict[str, Volume]:
    """Occupancies of structures on the 1 mm grid of the canonical box around the origin.

    Args:
      labels: integers; any orientation and voxel size.
      codes: the labels of each structure, by the structure's name.

    Returns:
      f32[128, 128, 128] in [0, 1] by name, axes d, h, w; 0 outside the map.
    """
    affine = canonical_affine(GRID)
    filled = {name: np.zeros(GRID, np.uint8) for name in codes}
    array = labels.array.astype(np.uint8, copy=False)
    known = {name: np.isin(np.arange(256), members) for name, members in codes.items()}
    for place in np.ndindex(*(_SAMPLES,) * 3):
        shift = np.eye(4)
        shift[:3, 3] = (np.array(place) + 0.5) / _SAMPLES - 0.5
        step = np.linalg.solve(labels.affine, affine @ shift)
        sampled = _nearest(array, step)
        for name, members in known.items():
            filled[name] += members[sampled]
    share = np.float32(1 / _SAMPLES**3)
    return {name: Volume(count * share, affine) for name, count in filled.items()}


def _nearest(array: np.ndarray, step: np.ndarray) -> np.ndarray:
    """The nearest voxel's value at every voxel of GRID, 0 outside the array.

    Args:
      array: u8.
      step: f64[4, 4], from indices of GRID to indices of the array.
    """
    main = np.abs(step[:3, :3]).argmax(axis=1)
    others = np.abs(step[:3, :3]).sum(axis=1) - np.abs(step[[0, 1, 2], main])
    if len(set(main)) < 3 or others.max() * max(GRID) > _PARALLEL:
        return ndimage.affine_transform(
            array, step[:3, :3], step[:3, 3], output_shape=GRID, order=0, mode="grid-constant"
        )
    # Parallel axes: look up each axis separately.
    padded = np.pad(array, 1)
    indices = []
    for axis, other in enumerate(main):
        index = np.floor(step[axis, other] * np.arange(GRID[other]) + step[axis, 3] + 0.5)
        indices.append(np.clip(index, -1, array.shape[axis]).astype(int) + 1)
    return padded[np.ix_(*indices)].transpose(np.argsort(main))


def softened(occupancy: Volume, labels: Volume) -> Volume:
    """Smooths an occupancy to remove the voxel steps of its label map from the surface.

    A sphere of radius R loses sigma^2 / R of its radius, with sigma = 0.75 voxels of the map: 0.03
    mm at 20 mm and voxels of 1 mm. Structures as thin as two voxels of the map get thinner; use
    their unsmoothed occupancy.

    Args:
      occupancy: a structure's occupancy from `occupancies`.
      labels: the label map that it was computed from.
    """
    reach = np.abs(labels.affine[:3, :3]).max(axis=1) * _SOFTEN_VOXELS  # mm along R, A, S
    sigma = np.abs(np.linalg.solve(occupancy.affine[:3, :3], np.diag(reach))).max(axis=1)
    array = ndimage.gaussian_filter(occupancy.array, sigma, mode="nearest", truncate=3.0)
    return Volume(array, occupancy.affine)


def resampled(
    occupancy: Volume, onto: Volume, transform: np.ndarray, level: float = 0.5
) -> np.ndarray:
    """Transforms a structure and resamples it on another grid.

    Args:
      occupancy: any real dtype, any grid.
      onto: the target grid.
      transform: f64[4, 4], applied to the structure's points, RAS mm.
      level: minimum occupancy of an occupied voxel.

    Returns:
      bool of the grid's shape: occupancy of `level` or more; False outside the source grid.
    """
    step = np.linalg.solve(transform @ occupancy.affine, onto.affine)
    array = ndimage.affine_transform(
        occupancy.array,
        step[:3, :3],
        step[:3, 3],
        output_shape=onto.shape,
        order=1,
        output=np.float32,
    )
    return array >= level


def dice(first: np.ndarray, second: np.ndarray, field: np.ndarray) -> float:
    """Dice coefficient of two masks within a field of view: 2 |A and B| / (|A| + |B|).

    Args:
      first, second, field: bool[d, h, w].

    Raises:
      InputError: both masks are empty there.
    """
    a, b = first & field, second & field
    total = np.count_nonzero(a) + np.count_nonzero(b)
    if not total:
        raise InputError("found both structures empty in the common field of view")
    return 2 * np.count_nonzero(a & b) / total
