"""An MRI volume from the folder of a DICOM series, or from an enhanced multi-frame file."""

import dataclasses
import functools
import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from xr2mri_jax import geometry
from xr2mri_jax.errors import InputError
from xr2mri_jax.io import dicom_one_series, dicom_pixels, dicom_stack, formats
from xr2mri_jax.io.dicom_file import read_header
from xr2mri_jax.io.dicom_frames import Frame, OtherObject, read_frames
from xr2mri_jax.io.dicom_tags import named
from xr2mri_jax.io.folders import NOT_DICOM, NOT_IMAGES

# Media have a DICOMDIR, and below it one folder each for patient, study and series.
_DEEPEST, _MOST_BELOW = 6, 20_000
_LPS_TO_RAS = np.diag((-1.0, -1.0, 1.0, 1.0))


def read_series(
    place: str | os.PathLike[str],
    modalities: Sequence[str] = ("MR",),
    echo: int | None = None,
    side: str | None = None,
) -> geometry.Volume:
    """Reads the largest series of a folder, with slices ordered by ImagePositionPatient.

    Ignored, each with a clause in the volume's `doubts`: files that are not DICOM by their ending,
    objects that are not slices (presentation states, reports, screenshots), localizers, smaller
    series, the series' smaller stacks of slices in other directions, copies of a slice with the
    same pixels, and all but one of several echoes.

    Args:
      place: a folder with files of any name (hidden ones and DICOMDIR are ignored), one slice
        each or enhanced multi-frame images, or with only folders of such files; or one enhanced
        multi-frame file, or a DICOMDIR, which stands for its folder.
      modalities: the accepted values of the tag Modality.
      echo: which of several echoes, 1 for the shortest echo time; None takes the first.
      side: the wanted knee, "left" or "right": of several series, those that state it are preferred
        and those that state the other one left out, see `dicom_one_series.one_series`. The returned
        volume may still state the other one.

    Returns:
      The volume [i = column, j = row, k = slice along the slice normal]; the stored dtype and
      values, or f32 if a slice has padding, which becomes NaN, or a rescale other than identity.

    Raises:
      InputError: nothing in the folder, broken files among the slices, several largest series,
        wrong modality, a single slice, slices that differ in size, spacing, orientation, dtype or
        laterality, different images at one position, or a gap.
    """
    place = Path(place)
    if place.name.upper() == "DICOMDIR" and place.is_file():
        place = place.parent
    doubts: list[str] = []
    paths = _files(place, doubts) if place.is_dir() else [place]
    frames = _frames(paths, modalities, place, doubts)
    frames = dicom_one_series.one_series(frames, place, doubts, side)
    frames = dicom_stack.one_stack(frames, place, doubts)
    if len(frames) < 2:
        raise InputError(f"{place}: a single slice, expected a series of several")
    dicom_stack.require_alike(frames)
    _require_size(frames, place)
    frames = dicom_stack.one_image_a_position(frames, echo, place, doubts)
    frames = dicom_stack.without_copies(frames, _digest, place, doubts)
    if len(frames) < 2:
        raise InputError(f"{place}: a single position, expected a series of several slices")
    first, step = dicom_stack.regular_step(frames, place, doubts)
    affine, side = _affine(frames, first, step), dicom_stack.one_side(frames, place)
    volume = geometry.Volume(_voxels(frames), affine, tuple(doubts), side)
    volume = _without_padding(volume, frames)
    return formats.require_plausible(volume, place)


def _files(folder: Path, doubts: list[str]) -> list[Path]:
    """The DICOM files of a folder; if it has none, as on media, those below it.

    Raises:
      InputError: no files, or files that may be broken slices.
    """
    paths = _listing(folder)
    if all(path.suffix.lower() in NOT_DICOM for path in paths):
        paths += [path for below in _folders(folder) for path in _listing(below)]
        if len(paths) > _MOST_BELOW:
            raise InputError(f"{folder}: more than {_MOST_BELOW} files below it, expected a series")
    if not paths:
        raise InputError(f"{folder}: no files in this folder, expected a DICOM series")
    slices: list[Path] = []
    reason = ""
    beside: list[Path] = []
    broken: list[Path] = []
    for path in paths:
        try:
            dicom = formats.sniff(path) == "dicom"
        except InputError as error:
            dicom, reason = False, reason or f" ({error})"
        named_otherwise = path.suffix.lower() in NOT_DICOM
        (slices if dicom else beside if named_otherwise else broken).append(path)
    if broken or not slices:
        found = broken or beside
        raise InputError(f"{folder}: not DICOM: {_listed(found)}, expected slices{reason}")
    if beside:
        doubts.append(f"files that are not DICOM are ignored: {_listed(beside)}")
    return slices


def _listing(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_file() and not path.name.startswith(".") and path.name.upper() not in NOT_IMAGES
    )


def _folders(folder: Path, depth: int = 0) -> list[Path]:
    """The folders below, without links and hidden folders, at most as deep as on media.

    Raises:
      InputError: too many folders.
    """
    found: list[Path] = []
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.is_symlink() and not path.name.startswith("."):
            found += [path, *(_folders(path, depth + 1) if depth < _DEEPEST else [])]
        if len(found) > _MOST_BELOW:
            raise InputError(f"{folder}: more than {_MOST_BELOW} folders below it")
    return found


def _listed(paths: Sequence[Path]) -> str:
    more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    return ", ".join(path.name for path in paths[:3]) + more


def _frames(
    paths: Iterable[Path], modalities: Sequence[str], place: Path, doubts: list[str]
) -> list[Frame]:
    frames: list[Frame] = []
    others: list[OtherObject] = []
    for path in paths:
        found = read_frames(path, modalities)
        if isinstance(found, OtherObject):
            others.append(found)
        else:
            frames += found
    if not frames:
        raise InputError(
            f"{others[0].path}: wrong modality, {named('Modality')} is {others[0].modality}, "
            f"expected {' or '.join(modalities)}"
        )
    if others:
        kinds = ", ".join(sorted({other.modality for other in others}))
        listed = _listed([other.path for other in others])
        doubts.append(
            f"{len(others)} DICOM objects that are not slices are ignored: {listed} "
            f"(Modality {kinds})"
        )
    return frames


def _require_size(frames: list[Frame], place: Path) -> None:
    layout = frames[0].layout
    if layout["Rows"] * layout["Columns"] * len(frames) > formats.MAX_VOXELS:
        raise InputError(f"{place}: more than {formats.MAX_VOXELS} voxels")


def _digest(frame: Frame) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(_pixels(frame)).tobytes()).digest()


def _pixels(frame: Frame) -> np.ndarray:
    """A frame's stored values [rows, columns]."""
    found = _decoded(frame.path, frame.count)
    return found if frame.count == 1 else found[frame.index]


@functools.lru_cache(maxsize=1)
def _decoded(path: Path, count: int) -> np.ndarray:
    """The last file's pixels are cached: its frames are requested one after the other."""
    with formats.reading(path, "DICOM"):
        return dicom_pixels.decode(read_header(path, pixels=True), None, count)


def _without_padding(volume: geometry.Volume, frames: list[Frame]) -> geometry.Volume:
    """The volume with padding (PS3.3 C.7.5.1.1.2) replaced by NaN, outside the field.

    Padding can be distinguished from dark or bright tissue only if it lies below or above all other
    values; scanners give air the value 0.
    """
    values = {
        frame.padding * frame.rescale[0] + frame.rescale[1] for frame in frames if frame.padding
    }
    if len(values) != 1:
        return volume
    padded = volume.array == volume.array.dtype.type(values.pop())
    if not padded.any() or padded.all():
        return volume
    value, rest = volume.array[padded][0], volume.array[~padded]
    if rest.min() < value < rest.max():
        return volume
    said = f"{padded.mean():.2%} of the voxels are {named('PixelPaddingValue')}: outside the field"
    array = np.where(padded, np.float32(np.nan), volume.array.astype(np.float32))
    return dataclasses.replace(volume, array=array, doubts=(*volume.doubts, said))


def _affine(frames: list[Frame], first: np.ndarray, step: np.ndarray) -> np.ndarray:
    """PS3.3 C.7.6.2.1.1, with the step between slices as third column, LPS -> RAS."""
    between_rows, between_columns = frames[0].spacing
    affine = np.eye(4)
    affine[:3, 0] = frames[0].axes[0] * between_columns
    affine[:3, 1] = frames[0].axes[1] * between_rows
    affine[:3, 2] = step
    affine[:3, 3] = first
    return _LPS_TO_RAS @ affine


def _voxels(frames: list[Frame]) -> np.ndarray:
    """The pixels of all slices [i = column, j = row, k = slice], decoded file by file."""
    layout = frames[0].layout
    shape = layout["Rows"], layout["Columns"]
    scaled = any(frame.rescale != (1.0, 0.0) for frame in frames)
    kind = "i" if layout["PixelRepresentation"] else "u"
    stored = np.dtype(f"{kind}{layout['BitsAllocated'] // 8}")
    stack = np.empty((len(frames), *shape), np.float32 if scaled else stored)
    try:
        for k, frame in enumerate(frames):
            pixels = _pixels(frame)
            if pixels.shape != shape or pixels.dtype != stored:
                raise InputError(
                    f"{frame.path}: pixels {pixels.dtype}{pixels.shape}, expected {stored}{shape}"
                )
            slope, intercept = frame.rescale
            stack[k] = pixels * np.float64(slope) + np.float64(intercept) if scaled else pixels
    finally:
        _decoded.cache_clear()
    return stack.transpose(2, 1, 0)
