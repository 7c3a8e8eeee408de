"""The canonical box around a joint, and mapping knees and radiographs into it and back."""

from collections.abc import Sequence

import numpy as np

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry.radiograph import Radiograph
from xr2mri_jax.geometry.resampling import resample, sample_array
from xr2mri_jax.geometry.sides import checked_side
from xr2mri_jax.geometry.volume import Volume

BOX_MM = (128.0, 128.0, 128.0)  # extent along (d, h, w), outer voxel edge to outer voxel edge

Numbers = Sequence[float] | np.ndarray


def canonical_affine(shape: Sequence[int], center: Numbers = (0, 0, 0)) -> np.ndarray:
    """The affine of the canonical box around a joint, before any mirroring.

    Args:
      shape: voxels along (d, h, w): anterior -> posterior, superior -> inferior, and the
        radiograph's left -> right, which is the patient's right -> left.
      center: the middle of the box, the tibiofemoral joint's centre, RAS mm.

    Returns:
      f64[4, 4], voxel index (d, h, w) -> RAS mm; the voxel size is BOX_MM / shape.

    Raises:
      InputError: the shape is not three positive numbers.
    """
    if len(shape) != 3 or min(shape) < 1:
        raise InputError(f"canonical shape {tuple(shape)}: expected three positive numbers d, h, w")
    size = np.divide(BOX_MM, shape)
    affine = np.eye(4)
    affine[:3, :3] = [[0, 0, -size[2]], [-size[0], 0, 0], [0, -size[1], 0]]
    affine[:3, 3] = np.asarray(center, np.float64) - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


def to_canonical(
    volume: Volume, side: str, center: Numbers, shape: Sequence[int], order: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Resamples a knee into the canonical box; left knees are mirrored along w.

    Args:
      volume: the source in patient coordinates.
      side: "left" or "right".
      center: RAS mm of the tibiofemoral joint's centre.
      shape: voxels along (d, h, w).
      order: as in `resample`.

    Returns:
      f32[d, h, w] in the source's values (zero outside its field) and bool[d, h, w], the field.
    """
    mirrored = checked_side(side) == "left"
    sampled, mask = resample(volume, canonical_affine(shape, center), shape, order)
    array = sampled.array.astype(np.float32, copy=False)
    if mirrored:
        array, mask = array[:, :, ::-1], mask[:, :, ::-1]
    return np.ascontiguousarray(array), np.ascontiguousarray(mask)


def from_canonical(array: np.ndarray, side: str, center: Numbers = (0, 0, 0)) -> Volume:
    """The inverse of `to_canonical`: undoes the mirroring and places the box at the centre.

    Args:
      array: [d, h, w] in the canonical frame, any dtype (kept).
      side: the original side, "left" or "right".
      center: RAS mm of the joint's centre; by default the box sits around the origin.
    """
    if np.ndim(array) != 3:
        raise InputError(f"canonical array has shape {np.shape(array)}: expected d, h, w")
    if checked_side(side) == "left":
        array = array[:, :, ::-1]
    return Volume(np.ascontiguousarray(array), canonical_affine(array.shape, center))


def radiograph_affine(
    radiograph: Radiograph, center_px: Numbers, shape: Sequence[int]
) -> np.ndarray:
    """The map f64[3, 3] from canonical pixels (row, col, 1) to the radiograph's (row, col, 1).

    Args:
      radiograph: with spacing and side; a left knee's columns are reversed.
      center_px: (row, col) of the joint's centre in the radiograph, may be fractional.
      shape: pixels (h, w) of the canonical radiograph, which covers BOX_MM[1] x BOX_MM[2].

    Raises:
      InputError: the radiograph's spacing or side is unknown, or the shape is not two positive
        numbers.
    """
    if radiograph.spacing is None:
        raise InputError("the radiograph's spacing is unknown: expected mm per pixel")
    if len(shape) != 2 or min(shape) < 1:
        raise InputError(f"radiograph shape {tuple(shape)}: expected two positive numbers h, w")
    step = np.divide(BOX_MM[1:], shape) / radiograph.spacing
    if checked_side(radiograph.side) == "left":
        step[1] = -step[1]
    affine = np.eye(3)
    affine[0, 0], affine[1, 1] = step
    affine[:2, 2] = np.asarray(center_px, np.float64) - step * ((np.array(shape) - 1) / 2)
    return affine


def resample_radiograph(
    radiograph: Radiograph, center_px: Numbers, shape: Sequence[int], order: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Samples a radiograph on the canonical grid, smoothed against aliasing as in `resample`.

    Args and errors as for `radiograph_affine`, which also maps back to the source's pixels.

    Returns:
      f32[h, w] in the source's values (zero outside) and a mask bool[h, w], true inside the source.
    """
    step = radiograph_affine(radiograph, center_px, shape)
    return sample_array(radiograph.array, step, tuple(shape), order, 0.0)
