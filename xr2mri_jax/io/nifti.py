"""Reads NIfTI volumes and radiographs."""

import contextlib
import gzip
import io
import math
import os
import re
import struct
from collections.abc import Iterator
from io import IOBase
from pathlib import Path
from typing import Any, Literal, cast

import nibabel as nib
import numpy as np
from nibabel import imageglobals

from xr2mri_jax import geometry
from xr2mri_jax.errors import InputError
from xr2mri_jax.io import formats, nifti_pair
from xr2mri_jax.io.budget import MAX_BYTES
from xr2mri_jax.io.image import without_gaps

_FORMS_MM = 1.0  # sform and qform may differ this much at a corner: qform's angles are rounded
_PIXDIM_SHARE = 0.01
_MOST_EXTENSIONS = 1 << 24


def read_nifti(path: str | os.PathLike[str]) -> geometry.Volume:
    """Reads a NIfTI-1 or -2 volume, gzipped or not: one file under any name, or a .hdr/.img pair.

    The affine is the sform, else the qform; if both exist and differ, that is a doubt. Voxels keep
    their dtype unless the header scales them (then f32).

    Raises:
      InputError: broken, not 3D (a fourth axis of one is dropped), complex or coloured voxels,
        an unknown unit, neither sform nor qform (left and right would be a guess), or a header that
        contradicts itself or the file: affine against pixdim, datatype against bitpix, more or
        fewer bytes than the shape needs.
    """
    path = Path(path)
    with formats.reading(path, "NIfTI"), _open(path) as stream:
        image = _image(stream, path)
        shape = image.shape[:3] + tuple(n for n in image.shape[3:] if n != 1)
        if len(shape) != 3:
            raise InputError(f"{path}: NIfTI of shape {image.shape}, expected three axes")
        if not _has_form(image):
            raise InputError(f"{path}: has neither sform nor qform, so its orientation is unknown")
        affine, doubts = _affine(image), tuple(_two_places(image))
        voxels = _voxels(image, stream).reshape(shape, order="A")
        return formats.require_plausible(geometry.Volume(voxels, affine, doubts), path)


def read_nifti_radiograph(
    path: str | os.PathLike[str],
    spacing: tuple[float, float] | None = None,
    side: str | None = None,
) -> geometry.Radiograph:
    """Reads a NIfTI of one image: one of its three axes has one voxel.

    If the affine places the image in the coronal plane, it is turned as radiographs are displayed:
    rows from superior to inferior, columns from the patient's right to left. Otherwise (2D images
    merely stored as NIfTI) the first axis is the column from left to right and the second the row:
    from top to bottom, as ITK writes it, or from bottom to top if the axes point to left and front,
    as dcm2niix writes it. Pixels that are not finite are background.

    Args:
      path: the file.
      spacing: mm per pixel (row, col); None takes the header's, which counts as unknown without
        sform and qform and with voxel size 1.
      side: "left", "right" or None.

    Raises:
      InputError: broken, or a volume.
    """
    path = Path(path)
    with formats.reading(path, "NIfTI"), _open(path) as stream:
        image = _image(stream, path)
        shape = image.shape[:3] + (1,) * (3 - len(image.shape))
        single = [axis for axis, n in enumerate(shape) if n == 1]
        if not single or any(n != 1 for n in image.shape[3:]):
            raise InputError(f"{path}: a volume of shape {image.shape}, expected a radiograph")
        axes = [axis for axis in range(3) if axis != single[-1]]
        array = _voxels(image, stream).reshape(shape, order="A").squeeze(single[-1])
        affine = _affine(image)
        sizes = np.linalg.norm(affine[:3, :3], axis=0)[axes]
        codes = nib.orientations.aff2axcodes(affine)
        if _has_form(image) and {codes[a] for a in axes} in _CORONAL:
            rows = 0 if codes[axes[0]] in "SI" else 1
            array = array if rows == 0 else array.T
            array = array if codes[axes[rows]] == "I" else array[::-1]
            array = array if codes[axes[1 - rows]] == "L" else array[:, ::-1]
            own = sizes[[rows, 1 - rows]]
        else:
            array, own = array.T, sizes[::-1]
            if _has_form(image) and [codes[a] for a in axes] == ["L", "A"]:
                array = array[::-1]
        if spacing is None and (_has_form(image) or not np.all(sizes == 1)):
            spacing = formats.plausible_spacing((float(own[0]), float(own[1])))
        doubts: list[str] = []
        pixels, background = without_gaps(np.ascontiguousarray(array, dtype=np.float32), doubts)
        return geometry.Radiograph(pixels, spacing, side, tuple(doubts), background)


_CORONAL = tuple({x, z} for x in "LR" for z in "SI")


def _open(path: Path) -> IOBase:
    path = nifti_pair.header_of(path)
    with path.open("rb") as stream:
        zipped = stream.read(2) == b"\x1f\x8b"
    with cast(IOBase, gzip.open(path, "rb") if zipped else path.open("rb")) as stream:
        magic = stream.read(348)
    if magic[344:346] == b"ni" or magic[4:6] == b"ni":
        return io.BytesIO(nifti_pair.single_file(path))
    return cast(IOBase, gzip.open(path, "rb") if zipped else path.open("rb"))


def _image(stream: IOBase, path: Path) -> nib.Nifti1Image:
    """The image with its header checked; its voxels are still in the stream."""
    head = stream.read(540)
    stream.seek(0)
    if not formats.is_nifti(head):
        raise InputError(f"{path}: no NIfTI header")
    two = 540 in (int.from_bytes(head[:4], "little"), int.from_bytes(head[:4], "big"))
    _require_near_voxels(head, two, path)
    with _nibabel_silenced():
        image = (nib.Nifti2Image if two else nib.Nifti1Image).from_stream(stream)
    if np.prod(image.shape, dtype=np.float64) > formats.MAX_VOXELS:
        raise InputError(f"{path}: shape {image.shape} has more than {formats.MAX_VOXELS} voxels")
    # Read from the bytes: nibabel silently corrects a wrong bitpix.
    order: Literal["little", "big"] = "little" if head[0] in (348 & 0xFF, 540 & 0xFF) else "big"
    bits = int.from_bytes(head[14:16] if two else head[72:74], order)
    stored = image.get_data_dtype()
    if bits != 8 * stored.itemsize:
        raise InputError(f"{path}: bitpix is {bits}, expected {8 * stored.itemsize} for {stored}")
    _require_bytes(image, path, stream)
    return image


def _affine(image: nib.Nifti1Image) -> np.ndarray:
    """Voxel index -> RAS mm."""
    return formats.in_millimetres(image.affine, image.header.get_xyzt_units()[0])


def _require_near_voxels(head: bytes, two: bool, path: Path) -> None:
    """Limits the extensions before the voxels, all of which nibabel reads, whatever their size."""
    order = "<" if head[0] in (348 & 0xFF, 540 & 0xFF) else ">"
    form, place = (f"{order}q", slice(168, 176)) if two else (f"{order}f", slice(108, 112))
    (start,) = struct.unpack(form, head[place])
    if not start <= _MOST_EXTENSIONS:
        raise InputError(f"{path}: vox_offset is {start:g}, expected at most {_MOST_EXTENSIONS}")


@contextlib.contextmanager
def _nibabel_silenced() -> Iterator[None]:
    """Silences nibabel's log, which repeats its exceptions on standard error."""
    logger = imageglobals.logger
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def _has_form(image: nib.Nifti1Image) -> bool:
    return image.header["sform_code"] > 0 or image.header["qform_code"] > 0


def _require_bytes(image: nib.Nifti1Image, path: Path, stream: IOBase) -> None:
    """Compares the bytes that the shape needs with the file's before memory is allocated."""
    gzipped = isinstance(stream, gzip.GzipFile)
    pair = len(stream.getbuffer()) if isinstance(stream, io.BytesIO) else None
    size = path.stat().st_size if pair is None else pair
    needed = _end_of_voxels(image)
    if gzipped and needed > formats.MOST_INFLATED * size:
        raise InputError(f"{path}: shape {image.shape} needs {needed} bytes, the file is cut off")
    if needed > MAX_BYTES:
        raise InputError(f"{path}: shape {image.shape} needs {needed} bytes, more than {MAX_BYTES}")
    if not gzipped and needed != size:
        raise InputError(
            f"{path}: shape {image.shape} needs {needed} bytes, but the file has {size}"
        )


def _end_of_voxels(image: nib.Nifti1Image) -> int:
    """Position after the last voxel, in bytes from the (unzipped) file's start."""
    count = math.prod(int(n) for n in image.shape)
    return int(cast(Any, image.dataobj).offset) + count * image.get_data_dtype().itemsize


def _two_places(image: nib.Nifti1Image) -> list[str]:
    """A clause if sform and qform differ: the sform is used, as in nibabel.

    Raises:
      InputError: pixdim contradicts the affine: which size is right would be a guess.
    """
    header = image.header
    geometry.checked_affine(image.affine)
    sizes = np.linalg.norm(image.affine[:3, :3], axis=0)
    stated = np.abs(np.asarray(header["pixdim"][1:4], np.float64))
    if not np.all(np.abs(stated - sizes) <= _PIXDIM_SHARE * sizes):
        raise InputError(
            f"pixdim is {stated.round(4).tolist()} mm: expected the affine's "
            f"{sizes.round(4).tolist()}"
        )
    if not (header["sform_code"] > 0 and header["qform_code"] > 0):
        return []
    corners = np.array(np.meshgrid(*((0, n - 1) for n in image.shape[:3]), [1])).reshape(4, -1)
    apart = np.abs((header.get_sform() - header.get_qform()) @ corners).max()
    if apart <= _FORMS_MM:
        return []
    return [
        f"sform (code {int(header['sform_code'])}) and qform (code {int(header['qform_code'])}) "
        f"are up to {apart:.4g} mm apart: the sform is followed"
    ]


def _voxels(image: nib.Nifti1Image, stream: IOBase) -> np.ndarray:
    stored = image.get_data_dtype()
    if stored.kind not in "iuf":
        raise InputError(f"voxels of type {stored}, expected real numbers")
    stored_voxels = cast(Any, image.dataobj)
    voxels = np.asarray(stored_voxels.get_unscaled())
    # Only the end of a gzip stream shows whether its bytes are intact.
    stream.seek(_end_of_voxels(image))
    if stream.read(1):
        raise InputError(f"shape {image.shape} leaves bytes over: expected the file to end")
    slope, inter = stored_voxels.slope, stored_voxels.inter
    if (slope, inter) == (1.0, 0.0):
        return voxels.astype(voxels.dtype.newbyteorder("="), copy=False)
    with np.errstate(over="ignore", invalid="ignore"):  # values outside the range are refused
        scaled = voxels.astype(np.float32) * np.float32(slope) + np.float32(inter)
    if not np.isfinite(scaled).all() and np.isfinite(voxels).all():
        raise InputError(f"scl_slope {slope:g} and scl_inter {inter:g} leave the range of f32")
    return scaled


def read_description(path: str | os.PathLike[str]) -> str:
    """The header's descrip.

    Raises:
      InputError: as `read_nifti`, except for the voxels.
    """
    path = Path(path)
    with formats.reading(path, "NIfTI"), _open(path) as stream:
        stored: bytes = _image(stream, path).header["descrip"].item()
        return stored.decode("utf-8", "replace")


# Label names in an extension as Connectome Workbench writes them, and TotalSegmentator after it.
_LABEL = re.compile(
    rb"<Label\b[^>]*?\bKey=[\"'](\d{1,5})[\"'][^>]*>\s*(?:<!\[CDATA\[)?\s*([^<\]]{1,200})"
)


def read_label_names(path: str | os.PathLike[str]) -> dict[int, str]:
    """The names of labels in a header extension with a LabelTable; {} if there is none.

    Raises:
      InputError: as `read_nifti`, except for the voxels.
    """
    path = Path(path)
    with formats.reading(path, "NIfTI"), _open(path) as stream:
        image = _image(stream, path)
        names: dict[int, str] = {}
        for extension in image.header.extensions:
            content = extension.get_content()
            raw = content if isinstance(content, bytes) else str(content).encode("utf-8", "replace")
            if b"<LabelTable" in raw:
                for key, name in _LABEL.findall(raw):
                    names[int(key)] = name.decode("utf-8", "replace").strip()
        return {key: name for key, name in names.items() if key}
