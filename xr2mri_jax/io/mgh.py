"""Reads volumes from FreeSurfer's files: .mgh, and .mgz, which is gzipped."""

import gzip
import math
import os
from pathlib import Path
from typing import IO, cast

import numpy as np

from xr2mri_jax import geometry
from xr2mri_jax.errors import InputError
from xr2mri_jax.io import formats
from xr2mri_jax.io.budget import MAX_BYTES

_VOXELS_AT = 284
_TYPES = {0: ">u1", 1: ">i4", 3: ">f4", 4: ">i2", 10: ">u2"}
_MOST_BEHIND = 1 << 24  # bytes of scan parameters and tags that follow the voxels


def read_mgh(path: str | os.PathLike[str]) -> geometry.Volume:
    """Reads an MGH volume, gzipped or not; voxels keep their dtype.

    Raises:
      InputError: broken, several frames, no geometry (left and right would be a guess), directions
        that are not unit vectors, or fewer bytes than the sizes need.
    """
    path = Path(path)
    with formats.reading(path, "MGH"), _open(path) as stream:
        head = stream.read(_VOXELS_AT)
        if not formats.is_mgh(head) or len(head) < _VOXELS_AT:
            raise InputError(f"{path}: no MGH header")
        fields = formats.MGH_HEADER.unpack_from(head)
        _, *sizes, frames, kind, _, known = fields[:8]
        dtype = np.dtype(_TYPES[kind])
        if frames != 1:
            raise InputError(f"{path}: holds {frames} frames, expected a volume of three axes")
        if not known:
            raise InputError(f"{path}: its header has no geometry, so its orientation is unknown")
        affine = _affine(np.array(fields[8:], np.float64), sizes)
        array = np.frombuffer(_content(stream, path, sizes, dtype), dtype)
        array = array.reshape(sizes, order="F").astype(dtype.newbyteorder("="), copy=False)
        return formats.require_plausible(geometry.Volume(array, affine), path)


def _affine(place: np.ndarray, sizes: list[int]) -> np.ndarray:
    """Voxel index -> RAS mm; the centre is the centre of the voxel at half the sizes."""
    spacing, directions, centre = place[:3], place[3:12].reshape(3, 3).T, place[12:]
    if not np.isfinite(place).all() or np.abs(np.linalg.norm(directions, axis=0) - 1).max() > 1e-2:
        raise InputError("its directions are not unit vectors, expected a geometry")
    affine = np.eye(4)
    affine[:3, :3] = directions * spacing
    affine[:3, 3] = centre - affine[:3, :3] @ np.divide(sizes, 2)
    return geometry.checked_affine(affine)


def _content(stream: IO[bytes], path: Path, sizes: list[int], dtype: np.dtype) -> bytes:
    """The voxels' bytes; also reads what follows, so that a gzip stream's checksum is checked."""
    count = math.prod(sizes)
    needed = count * dtype.itemsize
    if count > formats.MAX_VOXELS or needed > MAX_BYTES:
        raise InputError(f"{path}: sizes {sizes} need {needed} bytes, more than {MAX_BYTES}")
    if needed > formats.MOST_INFLATED * path.stat().st_size:
        raise InputError(f"{path}: sizes {sizes} need {needed} bytes, the file is cut off")
    found = stream.read(needed)
    if len(found) < needed:
        raise InputError(f"{path}: sizes {sizes} need {needed} bytes, found {len(found)}")
    if len(stream.read(_MOST_BEHIND + 1)) > _MOST_BEHIND:
        raise InputError(f"{path}: more than {_MOST_BEHIND} bytes follow the voxels")
    return found


def _open(path: Path) -> IO[bytes]:
    with path.open("rb") as stream:
        zipped = stream.read(2) == b"\x1f\x8b"
    return cast(IO[bytes], gzip.open(path, "rb") if zipped else path.open("rb"))
