"""Reads volumes from MetaImage files: .mha, and .mhd with its data beside it."""

import math
import os
import re
from pathlib import Path
from typing import Literal

import numpy as np

from xr2mri_jax import geometry
from xr2mri_jax.errors import InputError
from xr2mri_jax.io import formats, raw_data

# MetaIO's sizes: its long has 4 bytes.
_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
# Names that MetaIO treats as synonyms.
_MATRIX = ("TransformMatrix", "Rotation", "Orientation")
_OFFSET = ("Offset", "Position", "Origin")
_SPACING = ("ElementSpacing", "ElementSize")
_ORDER = ("BinaryDataByteOrderMSB", "ElementByteOrderMSB")
_LPS_TO_RAS = np.diag((-1.0, -1.0, 1.0, 1.0))
_LINE = re.compile(rb"[ \t]*([A-Za-z0-9_]+)[ \t]*=[ \t]*([^\r\n]*)\r?(\n|$)")


def read_metaimage(path: str | os.PathLike[str]) -> geometry.Volume:
    """Reads a MetaImage volume; voxels keep their dtype.

    World coordinates are LPS mm, as ITK reads and writes them. Each row of TransformMatrix is the
    direction of an axis. Data are raw, zlib-packed or text, attached (ElementDataFile = LOCAL) or
    in a file, a LIST or a pattern of files beside the header. A fourth axis of one is dropped.

    Raises:
      InputError: broken, not three axes, several channels, no spacing, an unknown unit, or more or
        fewer data than the sizes need.
    """
    path = Path(path)
    with formats.reading(path, "MetaImage"):
        fields, attached, names = _split(path)
        sizes = [int(n) for n in _numbers(fields, ("DimSize",), path)]
        while len(sizes) > 3 and sizes[-1] == 1:
            sizes.pop()
        if len(sizes) != 3 or min(sizes) < 1 or math.prod(sizes) > formats.MAX_VOXELS:
            raise InputError(f"{path}: DimSize is {sizes[:5]}, expected three sizes")
        if int(_numbers(fields, ("NDims",), path, [len(sizes)])[0]) < len(sizes):
            raise InputError(f"{path}: NDims is less than the sizes in DimSize")
        affine, doubts = _affine(fields, path)
        array = _array(fields, sizes, path, attached, names)
        return formats.require_plausible(geometry.Volume(array, affine, doubts), path)


def _split(path: Path) -> tuple[dict[str, str], bytes, list[str]]:
    """The header's fields, the attached data, and the names of data files."""
    with path.open("rb") as stream:
        head = stream.read(raw_data.MAX_HEADER)
        fields: dict[str, str] = {}
        at = 0
        while "ElementDataFile" not in fields:
            line = _LINE.match(head, at)
            if line is None:
                raise InputError(f"{path}: its header ends without ElementDataFile")
            name, value = line[1].decode(), line[2].decode("utf-8", "replace").strip()
            if name in fields:
                raise InputError(f"{path}: {name} occurs twice, expected it once")
            fields[name] = value
            at = line.end()
        where = fields["ElementDataFile"]
        if where.upper() == "LOCAL":
            return fields, head[at:] + stream.read(), []
    if where.upper().startswith("LIST"):
        lines = head[at:].decode("utf-8", "replace").splitlines()
        return fields, b"", [line.strip() for line in lines if line.strip()]
    several = raw_data.pattern_names(where) if re.search(r"%0?\d*d", where) else [where]
    return fields, b"", several


def _array(
    fields: dict[str, str], sizes: list[int], path: Path, attached: bytes, names: list[str]
) -> np.ndarray:
    """The voxels [sizes], in the machine's byte order."""
    kind = fields.get("ElementType", "")
    if kind not in _TYPES:
        raise InputError(f"{path}: ElementType is absent or unknown, expected MET_SHORT or such")
    if int(_numbers(fields, ("ElementNumberOfChannels",), path, [1])[0]) != 1:
        raise InputError(f"{path}: has several channels, expected one")
    text = not _truth(fields, ("BinaryData",), True, path)
    order: Literal["<", ">"] = ">" if _truth(fields, _ORDER, False, path) else "<"
    dtype = np.dtype(_TYPES[kind]).newbyteorder(order)
    skip = int(_numbers(fields, ("HeaderSize",), path, [0])[0])
    if skip < -1:
        raise InputError(f"{path}: HeaderSize is {skip}, expected -1 or more")
    encoding = "zlib" if _truth(fields, ("CompressedData",), False, path) else "raw"
    parts = raw_data.read_files(path, names) if names else [attached]
    if math.prod(sizes) % len(parts):
        raise InputError(f"{path}: {len(parts)} data files do not share {sizes} voxels equally")
    count = math.prod(sizes) // len(parts)
    if text:
        values = [raw_data.ascii_values(path, part, count, dtype) for part in parts]
        return np.concatenate(values).reshape(sizes, order="F").astype(dtype.newbyteorder("="))
    needed = count * dtype.itemsize
    data = b"".join(
        raw_data.payload(path, part if skip <= 0 else part[skip:], needed, encoding, min(skip, 0))
        for part in parts
    )
    array = np.frombuffer(data, dtype).reshape(sizes, order="F")
    return array.astype(dtype.newbyteorder("="), copy=False)


def _affine(fields: dict[str, str], path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    spacing = np.array(_numbers(fields, _SPACING, path))[:3]
    if len(spacing) != 3 or spacing.min() <= 0:
        found = spacing.tolist()
        raise InputError(f"{path}: ElementSpacing is {found}, expected three, above 0 mm")
    doubts = []
    if not any(name in fields for name in _MATRIX):
        doubts.append("no TransformMatrix: its axes are taken to point to left, back and head")
    matrix = _square(_numbers(fields, _MATRIX, path, np.eye(3).ravel().tolist()), path)
    offset = np.array(_numbers(fields, _OFFSET, path, [0.0, 0.0, 0.0]))[:3]
    if len(offset) != 3:
        raise InputError(f"{path}: Offset has {len(offset)} numbers, expected three")
    if np.abs(matrix @ matrix.T - np.eye(3)).max() > 1e-2:
        raise InputError(f"{path}: TransformMatrix is not a rotation, expected three unit vectors")
    affine = np.eye(4)
    affine[:3, :3] = matrix.T * spacing
    affine[:3, 3] = offset
    unit = fields.get("DistanceUnits", "mm")
    return formats.in_millimetres(_LPS_TO_RAS @ affine, unit), tuple(doubts)


def _square(values: list[float], path: Path) -> np.ndarray:
    """The spatial part f64[3, 3] of a matrix of three or four axes."""
    size = math.isqrt(len(values))
    if size not in (3, 4) or size**2 != len(values):
        raise InputError(f"{path}: TransformMatrix has {len(values)} numbers, expected nine")
    return np.reshape(values, (size, size))[:3, :3]


def _numbers(
    fields: dict[str, str],
    names: tuple[str, ...],
    path: Path,
    default: list[float] | list[int] | None = None,
) -> list[float]:
    text = next((fields[name] for name in names if name in fields), None)
    if text is None:
        if default is None:
            raise InputError(f"{path}: {names[0]} is absent")
        return [float(value) for value in default]
    try:
        values = [float(word) for word in text.split()]
    except ValueError:
        values = []
    if not values or len(values) > 16 or not np.isfinite(values).all():
        raise InputError(f"{path}: {names[0]} is not a list of finite numbers")
    return values


def _truth(fields: dict[str, str], names: tuple[str, ...], default: bool, path: Path) -> bool:
    text = next((fields[name] for name in names if name in fields), str(default)).lower()
    if text not in ("true", "false", "1", "0"):
        raise InputError(f"{path}: {names[0]} is neither True nor False")
    return text in ("true", "1")
