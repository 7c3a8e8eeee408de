"""Volumes with their place in the world: array, affine, and changes that keep the geometry true."""

import dataclasses
from typing import Any

import numpy as np
from nibabel import orientations

from xr2mri_jax.errors import InputError


@dataclasses.dataclass(frozen=True, eq=False)
class Volume:
    """A 3D array with its affine.

    Attributes:
      array: any real dtype [i, j, k].
      affine: f64[4, 4], voxel index -> RAS+ mm, invertible, last row 0 0 0 1; read-only copy.
      doubts: what the reader decided about the file, one clause each: duplicate slices, another
        series in the folder, voxels that are not numbers.
      side: "left" or "right" if the file names the knee, else None.

    Raises:
      InputError: the array does not have three axes or is empty, or the affine is invalid.
    """

    array: np.ndarray
    affine: np.ndarray
    doubts: tuple[str, ...] = ()
    side: str | None = None

    def __post_init__(self) -> None:
        array = np.asarray(self.array)
        if array.ndim != 3 or 0 in array.shape:
            raise InputError(f"a volume has shape {array.shape}: expected three axes, none empty")
        object.__setattr__(self, "array", array)
        object.__setattr__(self, "affine", checked_affine(self.affine))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along (i, j, k)."""
        i, j, k = self.array.shape
        return i, j, k

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size in mm along (i, j, k)."""
        i, j, k = np.linalg.norm(self.affine[:3, :3], axis=0).tolist()
        return i, j, k

    @property
    def orientation(self) -> tuple[str, str, str]:
        """The nearest of R L A P S I in which each axis increases, e.g. ("P", "I", "R")."""
        return orientations.aff2axcodes(self.affine)

    def world(self, index: Any) -> np.ndarray:
        """World coordinates f64[..., 3] in RAS mm of voxel indices [..., 3] (may be fractional)."""
        return np.asarray(index, np.float64) @ self.affine[:3, :3].T + self.affine[:3, 3]

    def index(self, world: Any) -> np.ndarray:
        """Voxel indices f64[..., 3] (may be fractional) of world coordinates [..., 3] in RAS mm."""
        inverse = np.linalg.inv(self.affine)
        return np.asarray(world, np.float64) @ inverse[:3, :3].T + inverse[:3, 3]


def checked_affine(affine: Any) -> np.ndarray:
    """Returns `affine` as a read-only f64[4, 4]; raises InputError if it is invalid."""
    matrix = np.array(affine, dtype=np.float64)
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        raise InputError(f"affine of shape {matrix.shape}: expected 4x4 finite numbers")
    if not np.array_equal(matrix[3], (0.0, 0.0, 0.0, 1.0)):
        raise InputError(f"affine ends with row {matrix[3].tolist()}: expected 0 0 0 1")
    lengths = np.linalg.norm(matrix[:3, :3], axis=0)
    if lengths.min() == 0 or abs(np.linalg.det(matrix[:3, :3] / lengths)) < 1e-6:
        raise InputError(f"affine {matrix[:3, :3].tolist()} cannot be inverted")
    matrix.setflags(write=False)
    return matrix


def mirror_volume(volume: Volume, x: float = 0.0) -> Volume:
    """Reflects a volume in the sagittal plane at `x` (RAS mm): a left knee becomes a right one.

    Only the affine changes, and with it its handedness; the voxels stay as they are.
    """
    flip = np.diag((-1.0, 1.0, 1.0, 1.0))
    flip[0, 3] = 2.0 * x
    return Volume(volume.array, flip @ volume.affine)


def reorient_ras(volume: Volume) -> Volume:
    """Permutes and reverses the axes to be nearest to R, A, S; voxel values do not change."""
    transform = orientations.io_orientation(volume.affine)
    array = orientations.apply_orientation(volume.array, transform)
    return Volume(array, volume.affine @ orientations.inv_ornt_aff(transform, volume.shape))


def without_gaps(volume: Volume) -> Volume:
    """The volume with its lowest finite value in place of NaN voxels."""
    array = volume.array
    if array.dtype.kind != "f" or not np.isnan(array).any():
        return volume
    lowest = array[np.isfinite(array)].min()
    return dataclasses.replace(volume, array=np.where(np.isnan(array), lowest, array))
