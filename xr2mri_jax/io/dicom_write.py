"""Writes a volume as a folder of a DICOM series that viewers and archives open."""

import os
from pathlib import Path

import numpy as np
import pydicom
from nibabel import orientations
from pydicom import Dataset, uid
from pydicom.dataset import FileMetaDataset
from pydicom.valuerep import DSfloat

from xr2mri_jax import files, geometry
from xr2mri_jax.errors import InputError
from xr2mri_jax.io.dicom_modules import SeriesLabel, shared_header

# Directions of increasing columns, rows and slices of a plane, as radiologists view it.
PLANES = {"sagittal": "PIR", "coronal": "LIP", "axial": "LPS"}
_RAS_TO_LPS = np.array((-1.0, -1.0, 1.0))
_LEVELS = 65535
_SHEAR = 1e-3  # cosine between axes; DICOM readers assume right angles
_SHOWN = (0.5, 99.5)  # percentiles that become black and white


def write_series(
    folder: str | os.PathLike[str],
    volume: geometry.Volume,
    *,
    side: str | None = None,
    label: SeriesLabel | None = None,
    source: Dataset | None = None,
    keep_identity: bool = False,
    plane: str | None = None,
    value_range: tuple[float, float] | None = None,
) -> list[Path]:
    """Writes a derived MR Image Storage series, one file per slice; all of them or nothing.

    Whole numbers that fit into 16 bits are stored unchanged. Others become u16 with a rescale: they
    are restored within half a step, (high - low) / 131070, of f32 values between `low` and `high`,
    the ends of `value_range` or of the array.

    Args:
      folder: is created, and appears complete; may exist if it is empty.
      volume: any real dtype, finite; RAS mm. The headers hold LPS mm, as DICOM requires.
      side: of the knee, "left" or "right"; None if unknown.
      label: what the headers say about the series.
      source: header of the DICOM image that the volume was derived from.
      keep_identity: copies patient and study from `source`, else the series is anonymous; see
        `dicom_modules.shared_header`.
      plane: "sagittal", "coronal" or "axial" slices; None keeps the array's axes as columns, rows
        and slices (a left-handed volume's slices are counted from its other end).
      value_range: lowest and highest value of the scale for values that are not whole numbers;
        values outside are clipped.

    Returns:
      The files, in the order of the slices.

    Raises:
      InputError: a folder that is not empty, axes that are not at right angles, values that are
        not finite, another plane or side, a value range that does not increase, or no identity to
        keep.
    """
    folder = Path(folder)
    require_free(folder)
    if side is not None:
        geometry.checked_side(side)
    volume = _sliced(volume, plane)
    scale = _scale(volume.array, value_range)
    header = shared_header(label or SeriesLabel(), side, source, keep_identity)
    _add_pixel_format(header, volume, scale)
    names = [f"{k + 1:04d}.dcm" for k in range(volume.shape[2])]
    with files.atomic_folder(folder) as partial:
        for k, name in enumerate(names):
            _write_slice(partial / name, header, volume, k, scale)
    return [folder / name for name in names]


def require_free(folder: Path) -> None:
    """Raises InputError if `folder` is a file, or a folder that is not empty."""
    if folder.is_dir() and any(folder.iterdir()):
        raise InputError(f"{folder}: the folder is not empty, expected a new or an empty one")
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file, expected a folder's name")


def _sliced(volume: geometry.Volume, plane: str | None) -> geometry.Volume:
    """The volume with axes (column, row, slice) that form a right-handed system."""
    axes = volume.affine[:3, :3] / volume.spacing
    if np.abs(axes.T @ axes - np.eye(3)).max() > _SHEAR:
        raise InputError(
            f"the volume's axes {np.round(axes.T, 4).tolist()} are not at right angles, expected a "
            "grid without shear: resample it first"
        )
    if plane is not None:
        if plane not in PLANES:
            raise InputError(f"plane is {plane!r}, expected one of {', '.join(PLANES)}")
        turn = orientations.ornt_transform(
            orientations.io_orientation(volume.affine), orientations.axcodes2ornt(PLANES[plane])
        )
        array = orientations.apply_orientation(volume.array, turn)
        affine = volume.affine @ orientations.inv_ornt_aff(turn, volume.shape)
        volume = geometry.Volume(array, affine)
    if np.linalg.det(volume.affine[:3, :3]) > 0:
        return volume
    flip = np.diag((1.0, 1.0, -1.0, 1.0))
    flip[2, 3] = volume.shape[2] - 1
    return geometry.Volume(volume.array[:, :, ::-1], volume.affine @ flip)


def _scale(
    array: np.ndarray, value_range: tuple[float, float] | None
) -> tuple[np.dtype, float, float]:
    """Stored dtype, rescale slope and intercept, as the header's decimal strings represent them."""
    if array.dtype.kind not in "biuf":
        raise InputError(f"voxels of type {array.dtype}, expected real numbers")
    low, high = float(array.min()), float(array.max())
    if not np.isfinite([low, high]).all():
        raise InputError("the volume has values that are not finite: DICOM cannot store them")
    if array.dtype.kind != "f":
        for dtype in (np.dtype(np.uint16), np.dtype(np.int16)):
            if array.dtype != np.int16 or dtype == np.int16:
                limits = np.iinfo(dtype)
                if limits.min <= low and high <= limits.max:
                    return dtype, 1.0, 0.0
    if value_range is not None:
        low, high = value_range
        if not low < high:
            raise InputError(f"value range {low:g} to {high:g}, expected it to rise")
    span = high - low
    slope = _decimal(span / _LEVELS) if 0 < span < np.inf else float(span == 0)
    if slope == 0:
        raise InputError(f"values from {low:g} to {high:g}: too far apart or too close for 16 bits")
    return np.dtype(np.uint16), slope, _decimal(low)


def _add_pixel_format(
    header: Dataset, volume: geometry.Volume, scale: tuple[np.dtype, float, float]
) -> None:
    dtype, slope, intercept = scale
    header.Columns, header.Rows = volume.shape[:2]
    header.SamplesPerPixel = 1
    header.PhotometricInterpretation = "MONOCHROME2"
    header.BitsAllocated = header.BitsStored = 16
    header.HighBit = 15
    header.PixelRepresentation = int(dtype.kind == "i")
    between_columns, between_rows, between_slices = volume.spacing
    header.PixelSpacing = [_ds(between_rows), _ds(between_columns)]
    header.SliceThickness = header.SpacingBetweenSlices = _ds(between_slices)
    axes = (volume.affine[:3, :2] / volume.spacing[:2]).T * _RAS_TO_LPS
    header.ImageOrientationPatient = [_ds(v) for v in axes.ravel()]
    if (slope, intercept) != (1.0, 0.0):
        header.RescaleSlope, header.RescaleIntercept = _ds(slope), _ds(intercept)
        header.RescaleType = "US"  # unspecified
    # The function LINEAR uses c - 0.5 as its middle and w - 1 as its width, and requires a width of
    # at least 1 (PS3.3 C.11.2.1.2): this form fits small ranges too.
    low, high = np.percentile(volume.array[::2, ::2, ::2], _SHOWN)
    header.WindowCenter = _ds((float(low) + float(high)) / 2 + 0.5)
    header.WindowWidth = _ds(float(high) - float(low) + 1.0)


def _write_slice(
    path: Path,
    header: Dataset,
    volume: geometry.Volume,
    k: int,
    scale: tuple[np.dtype, float, float],
) -> None:
    dtype, slope, intercept = scale
    plane = volume.array[:, :, k].T
    if (slope, intercept) != (1.0, 0.0):
        levels = np.rint((plane.astype(np.float64) - intercept) / slope)
        plane = np.clip(levels, 0, _LEVELS)
    dataset = Dataset(header)
    dataset.SOPInstanceUID = uid.generate_uid()
    dataset.InstanceNumber = k + 1
    position = volume.world((0, 0, k)) * _RAS_TO_LPS
    dataset.ImagePositionPatient = [_ds(v) for v in position]
    normal = np.cross(*np.reshape([float(v) for v in header.ImageOrientationPatient], (2, 3)))
    dataset.SliceLocation = _ds(float(position @ normal))
    dataset.PixelData = np.ascontiguousarray(plane, dtype.newbyteorder("<")).tobytes()
    dataset["PixelData"].VR = "OW"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)


def _ds(value: float) -> DSfloat:
    """A decimal string of at most 16 characters; adding 0 makes a negative zero positive."""
    return DSfloat(float(value) + 0.0, auto_format=True)


def _decimal(value: float) -> float:
    """The number that the decimal string of `value` represents."""
    return float(str(_ds(value)))
