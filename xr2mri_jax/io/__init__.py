"""Reads and writes files of radiographs and volumes."""

import os
from pathlib import Path

from xr2mri_jax import geometry
from xr2mri_jax.errors import InputError
from xr2mri_jax.io import dicom, dicom_series, formats, image, metaimage, mgh, nifti, nrrd
from xr2mri_jax.io.nifti_write import write_nifti

__all__ = ["read_radiograph", "read_volume", "write_nifti"]


def read_radiograph(
    path: str | os.PathLike[str],
    spacing: float | tuple[float, float] | None = None,
    side: str | None = None,
) -> geometry.Radiograph:
    """Reads one radiograph; the format is detected from the file's content, not its name.

    Args:
      path: DICOM, PNG, TIFF, JPEG (and BMP, JPEG 2000, WebP, GIF, PNM), or NIfTI of one image.
      spacing: mm per pixel, one number or (row, col); overrides what the file says.
      side: "left" or "right"; overrides what the file says.

    Returns:
      The radiograph, f32[h, w], bone bright; spacing and side are None if neither the file nor
      the caller gives them. The modules of the formats describe what each reader does.

    Raises:
      InputError: one line for a file that is missing, broken, of another kind, or a volume, and
        for an invalid spacing or side.
    """
    pixel = None if spacing is None else geometry.checked_spacing(spacing)
    side = None if side is None else geometry.checked_side(side)
    kind = formats.sniff(path)
    if kind == "dicom":
        return dicom.read_radiograph(path, pixel, side)
    if kind == "nifti":
        return nifti.read_nifti_radiograph(path, pixel, side)
    if kind in ("nrrd", "metaimage", "mgh"):
        raise InputError(
            f"{path}: {formats.NAMES[kind]}, expected a radiograph as DICOM, PNG, TIFF, JPEG or "
            "NIfTI"
        )
    return image.read_image(path, pixel, side)


def read_volume(
    path: str | os.PathLike[str], echo: int | None = None, side: str | None = None
) -> geometry.Volume:
    """Reads one MRI volume: a DICOM series' folder, an enhanced DICOM file, NIfTI (one file or a
    pair), NRRD (.nrrd, .nhdr), MetaImage (.mha, .mhd) or MGH (.mgh, .mgz).

    Args:
      path: the folder or file.
      echo: which of several echoes of a DICOM series, 1 for the shortest; None takes the first.
      side: the wanted knee, "left" or "right", which decides between several DICOM series; None if
        it is unknown.

    Returns:
      The volume with its affine in RAS mm; voxels and dtype as stored, unless the file scales them.
      Decisions of the reader are in its `doubts`. Voxels that are not numbers lie outside the
      acquired field.

    Raises:
      InputError: one line for a path that is missing, broken, of another kind, or whose geometry is
        incomplete or irregular.
    """
    path = Path(path)
    if path.is_dir():
        return dicom_series.read_series(path, echo=echo, side=side)
    kind = formats.sniff(path)
    if kind == "nifti":
        return nifti.read_nifti(path)
    if kind == "nrrd":
        return nrrd.read_nrrd(path)
    if kind == "metaimage":
        return metaimage.read_metaimage(path)
    if kind == "mgh":
        return mgh.read_mgh(path)
    if kind == "dicom":
        return dicom_series.read_series(path, echo=echo, side=side)
    raise InputError(f"{path}: {formats.NAMES[kind]}, expected an MRI volume")
