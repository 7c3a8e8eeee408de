"""Turns NIfTI in two files, a header (.hdr) and its voxels (.img), into one file's content."""

import gzip
import struct
from pathlib import Path

from xr2mri_jax.errors import InputError
from xr2mri_jax.io.budget import MAX_BYTES, inflated

# Bytes of each header, and the positions of the magic number and of the voxels' offset in it.
_NIFTI_1 = (348, slice(344, 348), b"n+1\0", 108, "f")
_NIFTI_2 = (540, slice(4, 12), b"n+2\0\r\n\x1a\n", 168, "q")
_ENDINGS = {".hdr": ".img", ".hdr.gz": ".img.gz"}
_GZIP = 31  # zlib's window bits of a gzip stream
_LONGEST = 1 << 24  # bytes of a header with its extensions


def header_of(path: Path) -> Path:
    """The header of a pair if `path` is its voxels' file; any other path unchanged."""
    for header, voxels in _ENDINGS.items():
        if path.name.lower().endswith(voxels):
            for found in (_renamed(path, voxels, header), _renamed(path, voxels, ".hdr")):
                if found.is_file():
                    return found
    return path


def voxels_of(path: Path) -> Path:
    """The file with the voxels of a pair's header.

    Raises:
      InputError: not a header's ending, or no such file.
    """
    for header, voxels in _ENDINGS.items():
        if path.name.lower().endswith(header):
            for found in (_renamed(path, header, voxels), _renamed(path, header, ".img.gz")):
                if found.is_file():
                    return found
            raise InputError(f"{path}: header of a .hdr/.img pair, but there is no .img beside it")
    raise InputError(f"{path}: header of a .hdr/.img pair, expected a name that ends with .hdr")


def single_file(path: Path) -> bytes:
    """A pair as the content of one NIfTI file, without header extensions.

    Args:
      path: the header.

    Raises:
      InputError: as `voxels_of`, a broken or too large file.
    """
    head, voxels = _content(path, _LONGEST), _content(voxels_of(path), MAX_BYTES)
    order = "<" if head[0] in (348 & 0xFF, 540 & 0xFF) else ">"
    two = struct.unpack(f"{order}i", head[:4])[0] == 540
    size, magic, single, place, form = _NIFTI_2 if two else _NIFTI_1
    (start,) = struct.unpack_from(f"{order}{form}", head, place)
    if not 0 <= start <= len(voxels):
        raise InputError(f"{path}: vox_offset is {start:g}, expected at most {len(voxels)}")
    header = bytearray(head[:size])
    header[magic] = single
    struct.pack_into(f"{order}{form}", header, place, size + 4)
    return bytes(header) + bytes(4) + voxels[int(start) :]


def _renamed(path: Path, ending: str, other: str) -> Path:
    """The same name with another ending, in capitals if the ending is in capitals."""
    upper = path.name[-len(ending) :].isupper()
    return path.with_name(path.name[: -len(ending)] + (other.upper() if upper else other))


def _content(path: Path, most: int) -> bytes:
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f"{path}: has more than {MAX_BYTES} bytes")
    stored = path.read_bytes()
    if stored[:2] != b"\x1f\x8b":
        return stored
    data, ended = inflated(stored, most, _GZIP)
    if not ended or len(data) > most:
        raise gzip.BadGzipFile("cut off, or longer than its header says")
    return data
