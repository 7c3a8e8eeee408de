"""Volumes from NRRD files."""

import bz2
import io
import math
import os
import zlib
from pathlib import Path
from typing import IO

import nrrd
import numpy as np

from xr2mri_jax import geometry
from xr2mri_jax.errors import InputError
from xr2mri_jax.io import formats

# Sign that turns each space's axes into RAS.
_SPACES = {
    "right-anterior-superior": (1, 1, 1),
    "ras": (1, 1, 1),
    "left-anterior-superior": (-1, 1, 1),
    "las": (-1, 1, 1),
    "left-posterior-superior": (-1, -1, 1),
    "lps": (-1, -1, 1),
}

# The names of the NRRD format's definition for each type.
_TYPES = {
    name: dtype
    for dtype, names in {
        "i1": "signed char,int8,int8_t",
        "u1": "uchar,unsigned char,uint8,uint8_t",
        "i2": "short,short int,signed short,signed short int,int16,int16_t",
        "u2": "ushort,unsigned short,unsigned short int,uint16,uint16_t",
        "i4": "int,signed int,int32,int32_t",
        "u4": "uint,unsigned int,uint32,uint32_t",
        "i8": "longlong,long long,long long int,signed long long,signed long long int,int64,"
        "int64_t",
        "u8": "ulonglong,unsigned long long,unsigned long long int,uint64,uint64_t",
        "f4": "float",
        "f8": "double",
    }.items()
    for name in names.split(",")
}


def read_nrrd(path: str | os.PathLike[str]) -> geometry.Volume:
    """Reads a NRRD volume (attached data: raw, gzip or bzip2); voxels keep their dtype.

    Raises:
      InputError: broken, not three spatial axes, a space that is not RAS, LAS or LPS, no origin,
        data in another file, more or fewer data than the sizes need, or units other than mm.
    """
    path = Path(path)
    with formats.reading(path, "NRRD"), path.open("rb") as stream:
        header = nrrd.read_header(stream)
        affine = _affine(header, path)
        if np.prod(header["sizes"], dtype=np.float64) > formats.MAX_VOXELS:
            raise InputError(f"{path}: sizes {header['sizes'].tolist()} are too large")
        array = nrrd.read_data({**header, "encoding": "raw"}, _payload(header, path, stream))
        array = array.astype(array.dtype.newbyteorder("="), copy=False)
        return formats.require_plausible(geometry.Volume(array, affine), path)


def _payload(header: dict, path: Path, stream: IO[bytes]) -> io.BytesIO:
    """The raw voxels, of exactly the length that the sizes need; never much more is unpacked."""
    if {"line skip", "lineskip", "byte skip", "byteskip"} & set(header):
        raise InputError(f"{path}: skips lines or bytes, expected data right after the header")
    sizes = [int(n) for n in header["sizes"]]
    itemsize = _itemsize(str(header["type"]))
    needed = math.prod(sizes) * itemsize
    stored = stream.read()
    encoding = str(header["encoding"]).lower()
    if encoding in ("gzip", "gz"):
        unzip = zlib.decompressobj(zlib.MAX_WBITS | 16)
        data = unzip.decompress(stored, needed + 1) + unzip.decompress(unzip.unconsumed_tail, 1)
        ended = unzip.eof
    elif encoding in ("bzip2", "bz2"):
        unpack = bz2.BZ2Decompressor()
        data = unpack.decompress(stored, needed + 1)
        data += b"" if unpack.eof else unpack.decompress(b"", 1)
        ended = unpack.eof
    elif encoding == "raw":
        data, ended = stored, True
    else:
        raise InputError(f"{path}: encoding {encoding}, expected raw, gzip or bzip2")
    if len(data) != needed or not ended:
        found = f"{len(data)} bytes" if ended or len(data) < needed else "more, or a cut-off end"
        raise InputError(f"{path}: sizes {sizes} need {needed} bytes, found {found}")
    return io.BytesIO(data)


def _itemsize(kind: str) -> int:
    try:
        return np.dtype(_TYPES[kind]).itemsize
    except KeyError:
        raise InputError(f"type is {kind}, expected integers or floats") from None


def _affine(header: dict, path: Path) -> np.ndarray:
    if "data file" in header or "datafile" in header:
        raise InputError(f"{path}: its data are in another file, expected one .nrrd file")
    if header["dimension"] != 3:
        raise InputError(f"{path}: {header['dimension']} axes, expected three")
    space = str(header.get("space", "none")).lower()
    if space not in _SPACES:
        raise InputError(f"{path}: space is {space}, expected one of {', '.join(_SPACES)}")
    units = {str(unit).strip('"') for unit in header.get("space units", ["mm"])}
    if units != {"mm"}:
        raise InputError(f"{path}: space units {sorted(units)}, expected mm")
    for key in ("space directions", "space origin"):
        if key not in header or not np.isfinite(header[key]).all():
            raise InputError(f"{path}: {key} absent or incomplete")
    affine = np.eye(4)
    affine[:3, :3] = np.asarray(header["space directions"], np.float64).T
    affine[:3, 3] = header["space origin"]
    return np.diag((*_SPACES[space], 1)) @ affine
