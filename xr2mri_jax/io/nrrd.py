"""Reads NRRD files: volumes, and 3D Slicer's segments in their header."""

import dataclasses
import io
import math
import os
import re
from pathlib import Path
from typing import Any

import nrrd
import numpy as np

from xr2mri_jax import geometry
from xr2mri_jax.errors import InputError
from xr2mri_jax.io import formats, raw_data

# Signs that turn each space's axes into RAS.
_SPACES = {
    "right-anterior-superior": (1, 1, 1),
    "ras": (1, 1, 1),
    "left-anterior-superior": (-1, 1, 1),
    "las": (-1, 1, 1),
    "left-posterior-superior": (-1, -1, 1),
    "lps": (-1, -1, 1),
}

# The names of each type in the definition of the NRRD format.
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
_ENCODINGS = {
    **{"raw": "raw", "gzip": "gzip", "gz": "gzip", "bzip2": "bzip2", "bz2": "bzip2"},
    **dict.fromkeys(("ascii", "text", "txt"), "ascii"),
    "hex": "hex",
}
_DATA_FILE = re.compile(rb"^data ?file:[ \t]*(.*)$", re.MULTILINE)


@dataclasses.dataclass(frozen=True, eq=False)
class Nrrd:
    """A file's content.

    Attributes:
      array: [layer, i, j, k]; one layer if the file has three axes.
      affine: f64[4, 4], index (i, j, k) -> RAS mm.
      header: fields by name, as text or parsed by pynrrd.
    """

    array: np.ndarray
    affine: np.ndarray
    header: dict[str, Any]


def read_nrrd(path: str | os.PathLike[str]) -> geometry.Volume:
    """Reads an NRRD volume; voxels keep their dtype.

    Data are attached or lie in files beside the header (.nhdr), raw, gzip, bzip2, hex or text. A
    fourth axis of size one is dropped.

    Raises:
      InputError: broken, not three spatial axes, a space that is not RAS, LAS or LPS, no origin,
        more or fewer data than the sizes need, or an unknown unit.
    """
    found = read_layers(path)
    if len(found.array) > 1:
        raise InputError(
            f"{path}: 4 axes with {len(found.array)} layers, expected a volume of three axes"
        )
    return formats.require_plausible(geometry.Volume(found.array[0], found.affine), path)


def read_layers(path: str | os.PathLike[str]) -> Nrrd:
    """Reads an NRRD file of three spatial axes and an optional fourth one: 3D Slicer's layers.

    Raises:
      InputError: as `read_nrrd`, except for the number of layers.
    """
    path = Path(path)
    with formats.reading(path, "NRRD"):
        text, attached, names = _split(path)
        header = nrrd.read_header(io.BytesIO(text))
        _require_axes(header, path)
        spatial = _spatial_axes(header, path)
        affine = _affine(header, spatial, path)
        sizes = [int(n) for n in header["sizes"]]
        if min(sizes) < 1 or math.prod(sizes) > formats.MAX_VOXELS:
            raise InputError(f"{path}: sizes {sizes}, expected 1 to {formats.MAX_VOXELS} voxels")
        array = _array(header, sizes, path, attached, names)
        extra = [axis for axis in range(len(sizes)) if axis not in spatial]
        array = np.moveaxis(array, extra, range(len(extra)))
        return Nrrd(array if extra else array[None], affine, dict(header))


def _split(path: Path) -> tuple[bytes, bytes, list[str]]:
    """The header's text without the names of data files, the bytes after it, and these names."""
    with path.open("rb") as stream:
        head = stream.read(raw_data.MAX_HEADER)
        ends = [found for mark in (b"\n\n", b"\r\n\r\n") if (found := head.find(mark)) >= 0]
        end = min(ends, default=len(head))
        if not ends and (len(head) == raw_data.MAX_HEADER or not _DATA_FILE.search(head)):
            raise InputError(f"{path}: no blank line ends the header")
        text = head[:end].replace(b"\r\n", b"\n")
        named = _DATA_FILE.search(text)
        if named is None:
            behind = end + (4 if head[end : end + 4] == b"\r\n\r\n" else 2)
            return text + b"\n\n", head[behind:] + stream.read(), []
    value = named[1].decode("utf-8", "replace").strip()
    if value.upper().startswith("LIST"):
        lines = text[named.end() :].decode("utf-8", "replace").splitlines()
        return text[: named.start()] + b"\n", b"", [line for line in lines if line.strip()]
    rest = text[: named.start()] + text[named.end() + 1 :]
    several = raw_data.pattern_names(value) if re.search(r"%0?\d*d", value) else [value]
    return rest + b"\n\n", b"", several


def _require_axes(header: dict[str, Any], path: Path) -> None:
    sizes = np.atleast_1d(header.get("sizes", ()))
    if header.get("dimension") not in (3, 4) or len(sizes) != header["dimension"]:
        raise InputError(
            f"{path}: {header.get('dimension')} axes of {len(sizes)} sizes, expected three"
        )


def _array(
    header: dict[str, Any], sizes: list[int], path: Path, attached: bytes, names: list[str]
) -> np.ndarray:
    """The voxels [sizes], in the machine's byte order."""
    encoding = _ENCODINGS.get(str(header.get("encoding", "")).lower())
    if encoding is None:
        raise InputError(f"{path}: encoding is unknown, expected raw, gzip, bzip2, hex or ascii")
    try:
        dtype = np.dtype(_TYPES[str(header["type"])])
    except KeyError:
        raise InputError(f"{path}: its type is unknown, expected integers or floats") from None
    if dtype.itemsize > 1 and encoding != "ascii":
        order = str(header.get("endian", "")).lower()
        if order not in ("little", "big"):
            raise InputError(f"{path}: endian is absent, expected little or big")
        dtype = dtype.newbyteorder("<" if order == "little" else ">")
    lines, skip = _number(header, "line skip", path), _number(header, "byte skip", path)
    parts = raw_data.read_files(path, names) if names else [attached]
    needed, left = math.prod(sizes) * dtype.itemsize, divmod(math.prod(sizes), len(parts))
    if left[1] or lines < 0:
        raise InputError(f"{path}: {len(parts)} data files do not share {sizes} voxels equally")
    stored = [_without_lines(part, lines) for part in parts]
    if encoding == "ascii":
        texts = [
            raw_data.ascii_values(path, part[max(skip, 0) :], left[0], dtype) for part in stored
        ]
        return np.concatenate(texts).reshape(sizes, order="F")
    if encoding == "hex":
        stored, encoding = [_of_digits(part, path) for part in stored], "raw"
    data = b"".join(
        raw_data.payload(path, part, needed // len(parts), encoding, skip) for part in stored
    )
    array = np.frombuffer(data, dtype).reshape(sizes, order="F")
    return array.astype(dtype.newbyteorder("="), copy=False)


def _of_digits(stored: bytes, path: Path) -> bytes:
    try:
        return bytes.fromhex(stored.decode("ascii"))
    except ValueError:
        raise InputError(f"{path}: its data are not hexadecimal digits") from None


def _without_lines(stored: bytes, lines: int) -> bytes:
    for _ in range(min(lines, len(stored))):
        stored = stored.partition(b"\n")[2]
    return stored


def _number(header: dict[str, Any], name: str, path: Path) -> int:
    value = header.get(name, header.get(name.replace(" ", ""), 0))
    if not isinstance(value, int) or not -1 <= value <= 1 << 30:
        raise InputError(f"{path}: {name} is not a valid number, expected 0 or more")
    return value


def _directions(header: dict[str, Any], path: Path) -> list[np.ndarray | None]:
    """One vector per axis; None for an axis that is not spatial."""
    if "space directions" not in header:
        raise InputError(f"{path}: space directions absent or incomplete")
    found: list[np.ndarray | None] = []
    for row in header["space directions"]:
        vector = None if row is None else np.asarray(row, np.float64)
        found.append(None if vector is None or np.isnan(vector).all() else vector)
    return found


def _spatial_axes(header: dict[str, Any], path: Path) -> list[int]:
    space = str(header.get("space", "none")).lower()
    if space not in _SPACES:
        known = space if re.fullmatch(r"[a-z0-9-]{1,40}", space) else "unknown"
        raise InputError(f"{path}: space is {known}, expected one of {', '.join(_SPACES)}")
    axes = [axis for axis, row in enumerate(_directions(header, path)) if row is not None]
    if len(axes) != 3 or len(_directions(header, path)) != header["dimension"]:
        raise InputError(
            f"{path}: {header['dimension']} axes, space directions absent or incomplete for "
            f"{header['dimension'] - len(axes)}, expected three"
        )
    return axes


def _affine(header: dict[str, Any], spatial: list[int], path: Path) -> np.ndarray:
    units = {str(unit).strip('"') for unit in np.atleast_1d(header.get("space units", ["mm"]))}
    if len(units) != 1:
        raise InputError(f"{path}: space units differ, expected mm")
    rows = _directions(header, path)
    directions = np.array([rows[axis] for axis in spatial])
    origin = np.asarray(header.get("space origin", ()), np.float64)
    for name, values, shape in (
        ("space directions", directions, (3, 3)),
        ("space origin", origin, (3,)),
    ):
        if values.shape != shape or not np.isfinite(values).all():
            raise InputError(f"{path}: {name} absent or incomplete")
    affine = np.eye(4)
    affine[:3, :3] = directions.T
    affine[:3, 3] = origin
    ras = np.diag((*_SPACES[str(header["space"]).lower()], 1)) @ affine
    return formats.in_millimetres(ras, units.pop())
