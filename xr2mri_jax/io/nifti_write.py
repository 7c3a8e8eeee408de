"""Writes NIfTI volumes, compressed by ISA-L."""

import os
import struct
from pathlib import Path

import nibabel as nib
import numpy as np
from isal import igzip

from xr2mri_jax import files, geometry
from xr2mri_jax.errors import InputError

_DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")
_SCANNER = 1
_SLOPE_AT = 112  # of scl_slope and scl_inter in the header, bytes
_LEVEL = 2  # of compression; 3, the highest, takes half again as long for 2 %


def write_nifti(
    path: str | os.PathLike[str],
    volume: geometry.Volume,
    step: float | None = None,
    description: str = "",
) -> None:
    """Writes a volume atomically in its dtype, with sform and qform (code 1, scanner), units mm.

    A qform cannot hold a sheared affine: it is left unset (code 0) if it would be off by more than
    0.01 mm.

    Args:
      path: ends with .nii or .nii.gz.
      volume: uint8, int8, uint16, int16, uint32, int32, float32 or float64.
      step: if given, stores u8 multiples of this power of two, with the step in the header
        (scl_slope): a quarter of the bytes. Values are rounded to such multiples.
      description: the header's descrip, at most 79 ASCII characters.

    Raises:
      InputError: another ending or dtype, or values that are not 0 to 255 steps.
    """
    path = Path(path)
    if step is not None:
        volume = geometry.Volume(_in_steps(path, volume.array, step), volume.affine)
    if not path.name.endswith((".nii", ".nii.gz")):
        raise InputError(f"{path}: expected a name that ends with .nii or .nii.gz")
    if volume.array.dtype.name not in _DTYPES:
        raise InputError(f"{path}: cannot hold {volume.array.dtype}, expected {', '.join(_DTYPES)}")
    image = nib.Nifti1Image(volume.array, volume.affine)
    image.set_sform(volume.affine, _SCANNER)
    image.set_qform(volume.affine, _SCANNER)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = description.encode("ascii")
    corners = np.array(np.meshgrid(*((0, n - 1) for n in volume.shape), [1])).reshape(4, -1)
    if np.abs((image.get_qform() - volume.affine) @ corners).max() > 0.01:
        image.set_qform(None, 0)
    content = bytearray(image.to_bytes())
    if step is not None:
        struct.pack_into("<2f", content, _SLOPE_AT, step, 0.0)
    with files.atomic_path(path) as partial:
        # ISA-L compresses five times as fast as zlib, to the same size.
        zipped = path.name.endswith(".gz")
        partial.write_bytes(igzip.compress(content, _LEVEL, mtime=0) if zipped else content)


def _in_steps(path: Path, array: np.ndarray, step: float) -> np.ndarray:
    steps = np.rint(array / step)
    if not (steps.min() >= 0 and steps.max() <= 255):
        raise InputError(
            f"{path}: found values from {array.min():g} to {array.max():g}, expected 0 to "
            f"{255 * step:g}, 255 steps of {step:g}"
        )
    return steps.astype(np.uint8)
