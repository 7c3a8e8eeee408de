"""Detects a file's format from its content, and turns all errors of bad files into one kind.

Names are not trusted: the Osteoarthritis Initiative's files have no extension at all.
"""

import contextlib
import dataclasses
import gzip
import logging
import os
import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import Volume
from xr2mri_jax.io import nifti_pair
from xr2mri_jax.io.budget import MAX_BYTES

MAX_PIXELS = 50_000_000  # one image; the largest flat-panel radiographs have about 20 million
MAX_VOXELS = 200_000_000  # a series of a knee has 10 to 80 million
_LONGEST = 600  # characters of a message

# Deflate shrinks nothing more than 1032 times (zlib.net/zlib_tech.html): a file that promises more
# bytes is wrong, and no memory is allocated for it.
MOST_INFLATED = 1032
# Plausible sizes in mm of a voxel, a field and a position: wider than any scanner's, so that only
# broken headers are refused.
VOXEL_MM = (0.01, 64.0)
FIELD_MM = 3000.0
FARTHEST_MM = 20_000.0
PIXEL_MM = (0.005, 20.0)
# Millimetres per unit, by its name in headers; no name or "?" means mm.
_UNITS = {
    **dict.fromkeys(("", "?", "unknown", "mm", "millimeter", "millimeters"), 1.0),
    **dict.fromkeys(("m", "meter", "meters"), 1000.0),
    **dict.fromkeys(("cm", "centimeter", "centimeters"), 10.0),
    **dict.fromkeys(("um", "\u00b5m", "\u03bcm", "micron", "microns", "micrometer"), 0.001),
}

NAMES = {
    "dicom": "DICOM",
    "png": "PNG",
    "jpeg": "JPEG",
    "tiff": "TIFF",
    "bmp": "BMP",
    "jpeg2000": "JPEG 2000",
    "webp": "WebP",
    "gif": "GIF",
    "pnm": "PNM",
    "nifti": "NIfTI",
    "nrrd": "NRRD",
    "metaimage": "MetaImage",
    "mgh": "MGH",
}
# MetaImage has no magic number: its header begins with one of these fields.
_METAIMAGE = re.compile(rb"[ \t]*(ObjectType|NDims|Comment|ObjectSubType|Name|ID)[ \t]*=[ \t]*\S")


# Short magic numbers, with the bytes that follow them.
_PICTURES = {
    re.compile(rb"RIFF....WEBPVP8", re.DOTALL): "webp",
    re.compile(rb"BM.{8}....[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0", re.DOTALL): "bmp",
    re.compile(rb"P[2456]\s+(#[^\n]*\n\s*)*\d+\s+\d+\s"): "pnm",
}


def sniff(path: str | os.PathLike[str]) -> str:
    """Detects a file's format from its first bytes.

    Returns:
      "dicom" (with or without the preamble), "png", "jpeg", "tiff", "bmp", "jpeg2000", "webp",
      "gif", "pnm", "nifti" (also gzipped, and either file of a pair), "nrrd", "metaimage" or
      "mgh" (also gzipped).

    Raises:
      InputError: the file is missing, not an ordinary file, empty, unreadable, of another format,
        or gzipped although no reader of its format unpacks it.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file")
    if path.is_dir():
        raise InputError(f"{path}: is a folder, expected one file")
    if not path.is_file():  # opening a pipe would wait for a writer
        raise InputError(f"{path}: is a pipe, socket or device, expected an ordinary file")
    with reading(path, "a file"):
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise InputError(f"{path}: has {size} bytes, expected at most {MAX_BYTES}")
        head, zipped = _head(path)
    if not head:
        raise InputError(f"{path}: the file is empty")
    kind = _kind(head)
    header = nifti_pair.header_of(path)
    if not kind and header != path and is_nifti(_head(header)[0]):
        kind = "nifti"
    if not kind:
        raise InputError(f"{path}: unknown kind of file, expected {', '.join(NAMES.values())}")
    if zipped and kind not in ("nifti", "mgh"):
        raise InputError(f"{path}: {NAMES[kind]} file is gzipped, expected it unpacked")
    return kind


def _kind(head: bytes) -> str:
    """The format by the first (unzipped) bytes, "" if it is unknown."""
    if head[128:132] == b"DICM":
        return "dicom"
    for magic, kind in (
        (b"\x89PNG\r\n\x1a\n", "png"),
        (b"\xff\xd8\xff", "jpeg"),
        (b"II*\0", "tiff"),
        (b"MM\0*", "tiff"),
        (b"II+\0", "tiff"),
        (b"MM\0+", "tiff"),
        (b"NRRD000", "nrrd"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "jpeg2000"),
        (b"\xff\x4f\xff\x51\0", "jpeg2000"),
        (b"GIF87a", "gif"),
        (b"GIF89a", "gif"),
    ):
        if head.startswith(magic):
            return kind
    for form, kind in _PICTURES.items():
        if form.match(head):
            return kind
    if is_nifti(head):
        return "nifti"
    if _METAIMAGE.match(head):
        return "metaimage"
    if is_mgh(head):
        return "mgh"
    if _starts_like_bare_dicom(head):
        return "dicom"
    return ""


@contextlib.contextmanager
def reading(path: str | os.PathLike[str], kind: str) -> Iterator[None]:
    """Turns every exception of a decoder within into an `InputError` that names the file.

    Decoders raise errors of every class for bad files (OSError, struct.error, SyntaxError, ...).
    Warnings about odd but readable headers are silenced, those about huge images are errors.
    pydicom's log is silenced too: a traceback for every decoder that it tries, beside its error.
    """
    logger = logging.getLogger("pydicom")
    level = logger.level
    try:
        logger.setLevel(logging.CRITICAL + 1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            yield
    except InputError as error:
        said = str(error) if str(path) in str(error) else f"{path}: {error}"
        # A damaged tag may hold thousands of numbers; the message names it and stays on one line.
        line = " ".join(said.split()) if len(said.splitlines()) > 1 else said
        raise InputError(line if len(line) <= _LONGEST else f"{line[:_LONGEST]} ...") from error
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        if kind == "DICOM":  # it may quote any tag, even the patient's name
            reason = ""
        said = f"{type(error).__name__}: {reason}" if reason else type(error).__name__
        raise InputError(f"{path}: cannot be read as {kind} ({said})") from error
    finally:
        logger.setLevel(level)


def require_plausible(volume: Volume, path: str | os.PathLike[str]) -> Volume:
    """Returns a volume; raises InputError if it cannot be one of a body part.

    Voxels that are NaN or infinite are outside the acquired field: they become NaN, and the volume
    gets a doubt. Refused are volumes without a finite voxel, voxels of a size outside VOXEL_MM, a
    field longer than FIELD_MM, a corner farther than FARTHEST_MM from the origin, and axes less
    than 45 degrees apart.
    """
    spacing = np.array(volume.spacing)
    said = " x ".join(f"{size:.4g}" for size in spacing)
    if spacing.min() < VOXEL_MM[0] or spacing.max() > VOXEL_MM[1]:
        raise InputError(
            f"{path}: voxels of {said} mm, expected {VOXEL_MM[0]:g} to {VOXEL_MM[1]:g} mm each way"
        )
    longest = float((spacing * volume.shape).max())
    farthest = float(np.abs(volume.affine[:3, 3]).max())
    if longest > FIELD_MM or farthest > FARTHEST_MM:
        raise InputError(
            f"{path}: a field of {longest:.4g} mm at {farthest:.4g} mm from the origin, expected "
            f"at most {FIELD_MM:g} and {FARTHEST_MM:g} mm"
        )
    axes = volume.affine[:3, :3] / spacing
    if np.abs(np.triu(axes.T @ axes, 1)).max() > np.sqrt(0.5):
        raise InputError(f"{path}: axes less than 45 degrees apart, expected a right-angled grid")
    return _with_field(volume, path)


def _with_field(volume: Volume, path: str | os.PathLike[str]) -> Volume:
    if volume.array.dtype.kind != "f":
        return volume
    finite = np.isfinite(volume.array)
    if finite.all():
        return volume
    if not finite.any():
        raise InputError(f"{path}: has no voxel that is a finite number")
    kind = "infinite or not a number" if np.isinf(volume.array).any() else "not a number (NaN)"
    said = f"{1 - finite.mean():.2%} of the voxels are {kind}: taken as outside the field"
    array = np.where(finite, volume.array, volume.array.dtype.type(np.nan))
    return dataclasses.replace(volume, array=array, doubts=(*volume.doubts, said))


def in_millimetres(affine: np.ndarray, unit: str) -> np.ndarray:
    """Converts an affine f64[4, 4] from the header's unit to mm; InputError if it is unknown."""
    factor = _UNITS.get(unit.strip().lower())
    if factor is None:
        raise InputError("lengths in an unknown unit, expected mm")
    return np.diag([factor] * 3 + [1.0]) @ affine


def plausible_spacing(spacing: tuple[float, float]) -> tuple[float, float]:
    """Returns a header's mm per pixel (row, col); raises InputError outside PIXEL_MM."""
    if not PIXEL_MM[0] <= min(spacing) <= max(spacing) <= PIXEL_MM[1]:
        raise InputError(
            f"pixel spacing {spacing[0]:.4g} x {spacing[1]:.4g} mm, expected {PIXEL_MM[0]:g} to "
            f"{PIXEL_MM[1]:g} mm"
        )
    return spacing


def is_nifti(head: bytes) -> bool:
    """Whether the (unzipped) first 348 bytes or more are a NIfTI-1 or -2 header."""
    if len(head) < 348:
        return False
    little, big = struct.unpack("<i", head[:4])[0], struct.unpack(">i", head[:4])[0]
    if 348 in (little, big):
        return head[344:348] in (b"n+1\0", b"ni1\0")
    return 540 in (little, big) and head[4:8] in (b"n+2\0", b"ni2\0")


# FreeSurfer's FsTutorial/MghFormat, big endian: version, four sizes, type, degrees of freedom,
# whether the geometry is valid, spacing, directions and the centre's position.
MGH_HEADER = struct.Struct(">7ih15f")
_MGH_TYPES = (0, 1, 3, 4, 10)


def is_mgh(head: bytes) -> bool:
    """Whether the (unzipped) first bytes are an MGH header, which has no magic number."""
    if len(head) < MGH_HEADER.size:
        return False
    version, *sizes, kind, _, known = MGH_HEADER.unpack_from(head)[:8]
    plausible = all(0 < n < 1 << 16 for n in sizes)
    return version == 1 and plausible and kind in _MGH_TYPES and known in (0, 1)


def _head(path: Path) -> tuple[bytes, bool]:
    """The first (unzipped) bytes, and whether the file is gzipped."""
    with path.open("rb") as stream:
        head = stream.read(600)
    if head[:2] != b"\x1f\x8b":
        return head, False
    try:
        with gzip.open(path, "rb") as unzipped:
            return unzipped.read(600), True
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: broken gzip file ({error})") from error


def _starts_like_bare_dicom(head: bytes) -> bool:
    """DICOM without preamble begins with an element of group 0002 or 0008, little endian."""
    if len(head) < 12 or head[:2] not in (b"\x02\0", b"\x08\0") or head[3] != 0:
        return False
    explicit = head[4:6].isalpha() and head[4:6].isupper()
    return explicit or struct.unpack("<I", head[4:8])[0] <= 1024
