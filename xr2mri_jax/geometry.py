"""Volumes and radiographs with their true geometry, the canonical box, and the way there and back.

World coordinates are RAS+ millimetres as in nibabel: x grows to the patient's right, y to the
front, z to the head. Voxel and pixel indices are integers at the centres, so that an axis of n
voxels covers the indices -0.5 to n - 0.5. Everything here is numpy on the host.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from nibabel import orientations
from scipy import ndimage

from xr2mri_jax.errors import InputError

BOX_MM = (128.0, 128.0, 128.0)  # extent along (d, h, w), outer voxel edge to outer voxel edge
SIDES = ("left", "right")
# Width of the tibial plateau over 44 segmented knees of the Osteoarthritis Initiative: mean and
# standard deviation in mm.
PLATEAU_MM, PLATEAU_DEVIATION_MM = 76.6, 6.0
# Crops of single knees, measured on 300 training crops of the Osteoarthritis Initiative: the joint
# line spans 0.79 of the crop's width (95 % lie within 0.75 to 0.84) whatever the knee's size; the
# joint's centre lies at the middle column and 0.55 of the way down.
LINE_SHARE, CENTRE_ROW = 0.79, 0.55

Numbers = Sequence[float] | np.ndarray

# Index arithmetic on affines leaves errors of about 1e-13; snapping makes whole steps whole, so
# that resampling onto the own grid returns the own values.
_SNAP = 1e-9
_EDGE = 1e-6


@dataclasses.dataclass(frozen=True, eq=False)
class Volume:
    """A 3D array with its place in the world.

    Attributes:
      array: any real dtype [i, j, k].
      affine: f64[4, 4], voxel index -> RAS+ mm, invertible, last row 0 0 0 1; read-only copy.
      doubts: what was decided while the file was read, a clause each: slices that were there twice,
        another series in the folder, voxels that are no numbers.
      side: "left" or "right" where the file says which knee it shows.

    Raises:
      InputError: the array has not three axes or is empty, or the affine is not such a matrix.
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
        """The direction that each axis grows to, nearest of R L A P S I, e.g. ("P", "I", "R")."""
        return orientations.aff2axcodes(self.affine)

    def world(self, index: Any) -> np.ndarray:
        """World coordinates f64[..., 3] in RAS mm of voxel indices [..., 3] (may be broken)."""
        return np.asarray(index, np.float64) @ self.affine[:3, :3].T + self.affine[:3, 3]

    def index(self, world: Any) -> np.ndarray:
        """Voxel indices f64[..., 3] (may be broken) of world coordinates [..., 3] in RAS mm."""
        inverse = np.linalg.inv(self.affine)
        return np.asarray(world, np.float64) @ inverse[:3, :3].T + inverse[:3, 3]


@dataclasses.dataclass(frozen=True, eq=False)
class Radiograph:
    """A radiograph as it is displayed: rows from superior to inferior, bone bright.

    Attributes:
      array: f32[h, w], linear in what the file holds, any range (other dtypes are converted).
      spacing: (row_mm, col_mm), or None where it is unknown.
      side: "left", "right", or None where it is unknown or both knees are in the image.
      doubts: what the file's header makes doubtful, a clause each: a view that is not frontal,
        another body part, a tag that was passed over.
      background: bool[h, w], true where there is no image (padding, shutters); such pixels have the
        lowest value of the others and take no part in an intensity window. None: none.

    Raises:
      InputError: not two axes, a spacing that is not positive, a side that is not in SIDES.
    """

    array: np.ndarray
    spacing: tuple[float, float] | None = None
    side: str | None = None
    doubts: tuple[str, ...] = ()
    background: np.ndarray | None = None

    def __post_init__(self) -> None:
        array = np.asarray(self.array)
        if array.ndim != 2 or 0 in array.shape:
            raise InputError(f"a radiograph has shape {array.shape}: expected two axes, none empty")
        object.__setattr__(self, "array", array.astype(np.float32, copy=False))
        if self.spacing is not None:
            object.__setattr__(self, "spacing", checked_spacing(self.spacing))
        if self.side is not None:
            checked_side(self.side)
        if self.background is not None and np.shape(self.background) != array.shape:
            raise InputError(
                f"background of shape {np.shape(self.background)}: expected {array.shape}"
            )

    @property
    def shape(self) -> tuple[int, int]:
        """Pixels along (h, w)."""
        h, w = self.array.shape
        return h, w


@dataclasses.dataclass(frozen=True)
class KneePlace:
    """Where a knee lies in a radiograph as it is displayed; pixels may be broken numbers.

    Attributes:
      side: "left" or "right".
      centre_px: (row, col) of the tibiofemoral joint's centre.
      joint_line: the ends of the joint line, each (row, col): that at the smaller column first.
      confidence: that a knee lies there, in [0, 1]; 1 for a place that was given or is the truth.
      side_confidence: that it is of that side, in [0, 1]; likewise.
      dark_bone: whether the knee was seen in the inverted image.

    Raises:
      InputError: an unknown side, numbers that are not finite, a confidence outside [0, 1].
    """

    side: str
    centre_px: tuple[float, float]
    joint_line: tuple[tuple[float, float], tuple[float, float]]
    confidence: float = 1.0
    dark_bone: bool = False
    side_confidence: float = 1.0

    def __post_init__(self) -> None:
        checked_side(self.side)
        numbers = np.array([self.centre_px, *self.joint_line], np.float64)
        if numbers.shape != (3, 2) or not np.isfinite(numbers).all():
            raise InputError(f"place of the {self.side} knee: expected finite (row, col) pixels")
        for confidence in (self.confidence, self.side_confidence):
            if not 0 <= confidence <= 1:
                raise InputError(f"confidence: found {confidence}, expected 0 to 1")
        centre, first, second = ((row, column) for row, column in numbers.tolist())
        object.__setattr__(self, "centre_px", centre)
        object.__setattr__(self, "joint_line", (first, second))


def checked_affine(affine: Any) -> np.ndarray:
    """Returns `affine` as a read-only f64[4, 4]; raises InputError where it maps no volume."""
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


def checked_spacing(spacing: float | Numbers) -> tuple[float, float]:
    """Returns (row_mm, col_mm) of one number or two; raises InputError unless both are > 0 mm."""
    values = np.atleast_1d(np.asarray(spacing, np.float64))
    if values.shape not in ((1,), (2,)) or not np.isfinite(values).all() or values.min() <= 0:
        raise InputError(f"spacing {spacing}: expected one or two positive numbers, mm a pixel")
    return float(values[0]), float(values[-1])


def checked_side(side: str | None) -> str:
    """Returns `side`; raises InputError unless it is "left" or "right"."""
    if side not in SIDES:
        raise InputError(f"side of the knee is {side!r}: expected one of {', '.join(SIDES)}")
    return side


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


def resample(
    volume: Volume, affine: Any, shape: Sequence[int], order: int = 1, fill: float = 0.0
) -> tuple[Volume, np.ndarray]:
    """Samples a volume on another grid.

    Where a target voxel is larger than the source's, the source is first smoothed along that source
    axis by a Gaussian that takes a voxel-wide point spread to the target's: with the ratio f of the
    target's to the source's voxel, sigma = sqrt((f^2 - 1) / (8 ln 2)) source voxels (Cardoso et
    al., "Scale factor point spread function matching", MICCAI 2015). Order 0, which is for labels,
    is not smoothed. On its own grid a volume keeps its values exactly (orders 0 and 1).

    Args:
      volume: the source, real; voxels that are NaN count as outside its field.
      affine: f64[4, 4] of the target grid, voxel index -> RAS mm.
      shape: voxels of the target grid.
      order: 0 nearest neighbour, 1 linear, 2 to 5 splines.
      fill: the value outside the source's field.

    Returns:
      The volume on the target grid, f32 (order 0: the source's dtype), and bool of the same shape:
      true where the target voxel's centre lies inside the source's field, that is within half a
      source voxel of its outermost centres.

    Raises:
      InputError: a bad affine, or a source with infinite values (order >= 1).
    """
    target = checked_affine(affine)
    step = np.linalg.solve(volume.affine, target)
    array, mask = _sample(volume.array, step, tuple(shape), order, fill)
    return Volume(array, target), mask


def to_canonical(
    volume: Volume, side: str, center: Numbers, shape: Sequence[int], order: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Brings a knee into the canonical box; left knees are mirrored along w.

    Args:
      volume: the source in the patient's own coordinates.
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
    """The way back from `to_canonical`: undoes the mirroring and gives the box its place.

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


def mirror_volume(volume: Volume, x: float = 0.0) -> Volume:
    """Reflects a volume in the sagittal plane at `x` (RAS mm): a left knee becomes a right one.

    No voxel is touched: only the affine changes, and with it its handedness.
    """
    flip = np.diag((-1.0, 1.0, 1.0, 1.0))
    flip[0, 3] = 2.0 * x
    return Volume(volume.array, flip @ volume.affine)


def mirror_radiograph(radiograph: Radiograph) -> Radiograph:
    """Reverses the columns and exchanges left and right; an unknown side stays unknown."""
    side = None if radiograph.side is None else SIDES[1 - SIDES.index(radiograph.side)]
    background = radiograph.background
    return dataclasses.replace(
        radiograph,
        array=np.ascontiguousarray(radiograph.array[:, ::-1]),
        side=side,
        background=None if background is None else np.ascontiguousarray(background[:, ::-1]),
    )


def reorient_ras(volume: Volume) -> Volume:
    """Permutes and reverses the axes so that they grow nearest to R, A, S; voxels keep values."""
    transform = orientations.io_orientation(volume.affine)
    array = orientations.apply_orientation(volume.array, transform)
    return Volume(array, volume.affine @ orientations.inv_ornt_aff(transform, volume.shape))


def radiograph_affine(
    radiograph: Radiograph, center_px: Numbers, shape: Sequence[int]
) -> np.ndarray:
    """Canonical pixel (row, col, 1) -> pixel of the radiograph (row, col, 1), f64[3, 3].

    Args:
      radiograph: with spacing and side; a left knee's columns run backwards.
      center_px: (row, col) of the joint's centre in the radiograph, may be broken.
      shape: pixels (h, w) of the canonical radiograph, which covers BOX_MM[1] x BOX_MM[2].

    Raises:
      InputError: the radiograph's spacing or side is unknown, or the shape is not two positive
        numbers.
    """
    if radiograph.spacing is None:
        raise InputError("the radiograph's spacing is unknown: expected mm a pixel")
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

    Args and errors as `radiograph_affine`, which also leads back to the source's pixels.

    Returns:
      f32[h, w] in the source's values (zero outside it) and bool[h, w], true inside the source.
    """
    step = radiograph_affine(radiograph, center_px, shape)
    return _sample(radiograph.array, step, tuple(shape), order, 0.0)


def without_gaps(volume: Volume) -> Volume:
    """The volume with its lowest number in place of voxels that are none (NaN)."""
    array = volume.array
    if array.dtype.kind != "f" or not np.isnan(array).any():
        return volume
    lowest = array[np.isfinite(array)].min()
    return dataclasses.replace(volume, array=np.where(np.isnan(array), lowest, array))


def require_same_geometry(a: Volume, b: Volume, tolerance_mm: float = 1e-3) -> None:
    """Raises InputError that names which of shape, spacing, orientation and origin differ.

    Spacing and orientation differ where they move the far end of the volume by more than
    `tolerance_mm`, the origin where it lies farther apart than that.
    """
    differences = []
    if a.shape != b.shape:
        differences.append(f"shape {a.shape} and {b.shape}")
    extent = np.maximum(a.shape, b.shape)
    if (np.abs(np.subtract(a.spacing, b.spacing)) * extent).max() > tolerance_mm:
        differences.append(f"spacing {_numbers(a.spacing)} and {_numbers(b.spacing)} mm")
    directions = a.affine[:3, :3] / a.spacing, b.affine[:3, :3] / b.spacing
    turn = np.linalg.norm(directions[0] - directions[1], axis=0) * extent * a.spacing
    if turn.max() > tolerance_mm:
        names = ["".join(v.orientation) for v in (a, b)]
        if names[0] == names[1]:
            names = [_numbers(d.ravel(order="F")) for d in directions]
        differences.append(f"orientation {names[0]} and {names[1]}")
    if np.linalg.norm(a.affine[:3, 3] - b.affine[:3, 3]) > tolerance_mm:
        origins = [_numbers(v.affine[:3, 3]) for v in (a, b)]
        differences.append(f"origin {origins[0]} and {origins[1]} mm")
    if differences:
        raise InputError("geometries differ: " + "; ".join(differences))


def _numbers(values: Any) -> str:
    return "(" + ", ".join(f"{value:.6g}" for value in np.asarray(values)) + ")"


def _sample(
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
    """As `_sample`, of what is a number: values and their weights are sampled alike and divided."""
    known = ~np.isnan(array)
    values, mask = _sample(np.where(known, array, 0), step, shape, order, 0.0)
    weights = _sample(known.astype(np.float32), step, shape, min(order, 1), 0.0)[0]
    mask &= weights > 0.5
    divided = values if order == 0 else values / np.maximum(weights, 0.5)
    return np.where(mask, divided, fill).astype(values.dtype), mask


def _smoothed(array: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Matches a f32 source's point spread to the target voxels, see `resample`."""
    # The target voxel's footprint has the covariance matrix @ matrix.T in source voxels.
    excess = np.maximum((matrix**2).sum(axis=1) - 1.0, 0.0)
    for axis, sigma in enumerate(np.sqrt(excess / (8 * np.log(2)))):
        if sigma > 1e-3:
            array = ndimage.gaussian_filter1d(array, sigma, axis, mode="nearest", truncate=3.0)
    return array
