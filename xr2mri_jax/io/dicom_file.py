"""A DICOM file's header, read within a budget."""

import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
from pydicom import uid
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info, read_partial

from xr2mri_jax.errors import InputError
from xr2mri_jax.io import formats
from xr2mri_jax.io.budget import MAX_BYTES, Budget, require_inflatable
from xr2mri_jax.io.dicom_tags import get, named

# Unpacked bytes of a deflated file; pydicom holds several copies in memory.
MAX_DEFLATED = 256 * 1024**2
MAX_ELEMENTS = 100_000
_PREAMBLE = 132
_GROUP_LENGTH = 12  # bytes of the element with the length of the meta information
_SMALL = MAX_DEFLATED // formats.MOST_INFLATED  # a file this short cannot unpack to more
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_PIXELS = (0x7FE0, 0x7FE00008)  # where pixels begin: their group, and the tags of float pixels


def read_any(path: str | os.PathLike[str], pixels: bool = False) -> pydicom.Dataset:
    """Reads a DICOM file of any kind, with or without preamble, by default without its pixels.

    Raises:
      InputError: not DICOM, broken, too large, or with too many elements.
    """
    path = Path(path)
    with formats.reading(path, "DICOM"):
        _require_budget(path)
        with path.open("rb") as stream:
            dataset = read_partial(stream, stop_when=_stop(path, pixels), force=True)
        if "TransferSyntaxUID" not in dataset.file_meta:
            implicit, little = dataset.original_encoding
            dataset.file_meta.TransferSyntaxUID = (
                uid.ImplicitVRLittleEndian
                if implicit
                else (uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian)
            )
        return dataset


def read_header(path: str | os.PathLike[str], pixels: bool = False) -> pydicom.Dataset:
    """Reads a DICOM image like `read_any`.

    Raises:
      InputError: as `read_any`, without Rows and Columns, or with too many pixels.
    """
    path = Path(path)
    dataset = read_any(path, pixels)
    for keyword in ("Rows", "Columns"):
        value = get(dataset, keyword)
        if not value:
            raise InputError(f"{path}: {named(keyword)} is absent, expected a DICOM image")
        if not isinstance(value, int):
            raise InputError(f"{path}: {named(keyword)} is not a number, expected a DICOM image")
    if dataset.Rows * dataset.Columns > formats.MAX_PIXELS:
        raise InputError(f"{path}: more than {formats.MAX_PIXELS} pixels")
    return dataset


def _stop(path: Path, pixels: bool) -> Callable[[Any, str | None, int], bool]:
    """The callback that pydicom calls before every element: counts them, stops at the pixels."""
    budget = Budget(path, most_parts=MAX_ELEMENTS)

    def stop(tag: Any, vr: str | None, length: int) -> bool:
        budget.part()
        return not pixels and tag >> 16 == _PIXELS[0] and int(tag) >= _PIXELS[1]

    return stop


def _require_budget(path: Path) -> None:
    """Refuses a file that is too large, packed or unpacked, before it is read."""
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise InputError(f"{path}: has {size} bytes, expected at most {MAX_BYTES}")
    if size <= _SMALL:
        return
    try:
        meta = read_file_meta_info(path)
    except InvalidDicomError:
        # Without the preamble pydicom also reads meta information at the start.
        if _DEFLATED in path.read_bytes():
            raise InputError(f"{path}: deflated, expected the preamble and DICM first") from None
        return
    if meta.get("TransferSyntaxUID") != uid.DeflatedExplicitVRLittleEndian:
        return
    length = meta.get("FileMetaInformationGroupLength")
    if not isinstance(length, int):
        raise InputError(f"{path}: {named('FileMetaInformationGroupLength')} is absent")
    with path.open("rb") as stream:
        stream.seek(_PREAMBLE + _GROUP_LENGTH + length)
        require_inflatable(stream, Budget(path, MAX_DEFLATED), -zlib.MAX_WBITS)
