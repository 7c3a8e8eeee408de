"""An MRI volume from the folder of a DICOM series."""

import dataclasses
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom

from xr2mri_jax import geometry
from xr2mri_jax.errors import InputError
from xr2mri_jax.io import dicom, dicom_pixels, formats

_NOT_SLICES = ("DICOMDIR", "THUMBS.DB")
_TOLERANCE = 0.01  # of the slice spacing
_LPS_TO_RAS = np.diag((-1.0, -1.0, 1.0, 1.0))


@dataclasses.dataclass(frozen=True, eq=False)
class _Slice:
    path: Path
    series: tuple[str, str]  # SeriesInstanceUID and SeriesDescription
    layout: dict[str, int]  # see `dicom_pixels.layout`
    position: np.ndarray  # LPS mm of the centre of the first pixel
    axes: np.ndarray  # f64[2, 3], LPS directions in which columns and rows grow
    spacing: np.ndarray  # mm between rows, between columns
    rescale: tuple[float, float]


def read_series(
    folder: str | os.PathLike[str], modalities: Sequence[str] = ("MR",)
) -> geometry.Volume:
    """Reads the one series in a folder, its slices ordered by ImagePositionPatient.

    Args:
      folder: files of any name, one slice each; hidden files and DICOMDIR are passed over.
      modalities: the accepted values of the tag Modality.

    Returns:
      The volume [i = column, j = row, k = slice along the slice normal]; the stored dtype and
      values, or f32 where a slice has a rescale other than identity.

    Raises:
      InputError: nothing in the folder, other files among the slices, more than one series, wrong
        modality, a single slice, slices that differ in size, spacing, orientation or dtype, that
        repeat a position or leave a gap (more than 1 % of the slice spacing).
    """
    folder = Path(folder)
    slices = [_read_slice(path, modalities) for path in _files(folder)]
    _require_one_series(slices, folder)
    if len(slices) < 2:
        raise InputError(f"{folder}: a single slice, expected a series of several")
    _require_alike(slices)
    normal = np.cross(slices[0].axes[0], slices[0].axes[1])
    slices.sort(key=lambda s: float(s.position @ normal))
    _require_regular(slices, normal)
    return formats.require_plausible(geometry.Volume(_voxels(slices), _affine(slices)), folder)


def _files(folder: Path) -> list[Path]:
    paths = sorted(
        p
        for p in folder.iterdir()
        if p.is_file() and not p.name.startswith(".") and p.name.upper() not in _NOT_SLICES
    )
    if not paths:
        raise InputError(f"{folder}: no files in this folder, expected a DICOM series")
    others = []
    for path in paths:
        try:
            other = formats.sniff(path) != "dicom"
        except InputError:
            other = True
        if other:
            others.append(path.name)
    if others:
        more = f" and {len(others) - 3} more" if len(others) > 3 else ""
        raise InputError(f"{folder}: not DICOM: {', '.join(others[:3])}{more}, expected slices")
    return paths


def _read_slice(path: Path, modalities: Sequence[str]) -> _Slice:
    header = dicom.read_header(path)
    with formats.reading(path, "DICOM"):
        modality = str(header.get("Modality") or "")
        if modality not in modalities:
            raise InputError(
                f"{path}: wrong modality, {dicom.named('Modality')} is {modality or 'absent'}, "
                f"expected {' or '.join(modalities)}"
            )
        dicom.require_single_frame(header, path, "one slice a file")
        photometric = str(header.get("PhotometricInterpretation") or "")
        if photometric != "MONOCHROME2" or header.get("SamplesPerPixel", 1) != 1:
            tag = dicom.named("PhotometricInterpretation")
            raise InputError(f"{path}: {tag} is {photometric!r}, expected MONOCHROME2")
        axes = np.reshape(_required(header, "ImageOrientationPatient", 6), (2, 3))
        if np.abs(axes @ axes.T - np.eye(2)).max() > 1e-3:
            tag = dicom.named("ImageOrientationPatient")
            raise InputError(f"{path}: {tag} is {axes.tolist()}, expected two unit vectors")
        spacing = _required(header, "PixelSpacing", 2)
        if spacing.min() <= 0:
            tag = dicom.named("PixelSpacing")
            raise InputError(f"{path}: {tag} is {spacing.tolist()}, expected two positive numbers")
        position = _required(header, "ImagePositionPatient", 3)
        series = str(header.get("SeriesInstanceUID")), str(header.get("SeriesDescription") or "")
        layout = dicom_pixels.layout(header)
        return _Slice(path, series, layout, position, axes, spacing, dicom.rescale(header))


def _required(header: pydicom.Dataset, keyword: str, count: int) -> np.ndarray:
    values = dicom.numbers(header, keyword)
    if len(values) != count:
        found = f"has {len(values)} numbers" if values else "is absent"
        raise InputError(f"{dicom.named(keyword)} {found}, expected {count} numbers")
    return np.array(values, np.float64)


def _require_one_series(slices: list[_Slice], folder: Path) -> None:
    count = Counter(s.series[0] for s in slices)
    if len(count) == 1:
        return
    about = {key: description or "unnamed" for key, description in (s.series for s in slices)}
    listed = ", ".join(f"{about[key]!r} ({n} files)" for key, n in count.most_common(5))
    raise InputError(f"{folder}: {len(count)} series mixed, expected one: {listed}")


def _require_alike(slices: list[_Slice]) -> None:
    first = slices[0]
    for other in slices[1:]:
        for keyword, value in first.layout.items():
            if other.layout[keyword] != value:
                _refuse_unlike(first, other, keyword, value, other.layout[keyword])
        if np.abs(first.spacing - other.spacing).max() > 1e-4 * first.spacing.max():
            _refuse_unlike(
                first, other, "PixelSpacing", first.spacing.tolist(), other.spacing.tolist()
            )
        if np.abs(first.axes - other.axes).max() > 1e-4:
            _refuse_unlike(
                first,
                other,
                "ImageOrientationPatient",
                first.axes.ravel().tolist(),
                other.axes.ravel().tolist(),
            )


def _refuse_unlike(first: _Slice, other: _Slice, keyword: str, a: object, b: object) -> None:
    raise InputError(
        f"{other.path}: {dicom.named(keyword)} is {b}, expected {a} as in {first.path.name}"
    )


def _require_regular(slices: list[_Slice], normal: np.ndarray) -> None:
    """Slices in their order must repeat no position and leave no gap, nor shift sideways."""
    gaps = np.diff([s.position @ normal for s in slices])
    usual = float(np.median(gaps[gaps > 1e-3])) if (gaps > 1e-3).any() else 0.0
    for k, gap in enumerate(gaps):
        if gap <= _TOLERANCE * usual:
            place = slices[k].position.tolist()
            raise InputError(f"{_between(slices, k)} repeat the position {place}, expected one")
        if abs(gap - usual) > _TOLERANCE * usual:
            raise InputError(
                f"{_between(slices, k)} are {gap:.4g} mm apart, expected {usual:.4g} mm"
            )
    step = (slices[-1].position - slices[0].position) / (len(slices) - 1)
    for k in range(len(gaps)):
        shift = np.linalg.norm(slices[k + 1].position - slices[0].position - (k + 1) * step)
        if shift > _TOLERANCE * usual:
            raise InputError(
                f"{_between(slices, k)}: the second is {shift:.4g} mm off the line through the "
                f"first and the last slice, expected less than {_TOLERANCE * usual:.2g} mm"
            )


def _between(slices: list[_Slice], k: int) -> str:
    a, b = slices[k].path, slices[k + 1].path
    return f"{a.parent}: slices {k} ({a.name}) and {k + 1} ({b.name})"


def _affine(slices: list[_Slice]) -> np.ndarray:
    """PS3.3 C.7.6.2.1.1, with the slice step from the first and last positions, LPS -> RAS."""
    first, last = slices[0], slices[-1]
    between_rows, between_columns = first.spacing
    affine = np.eye(4)
    affine[:3, 0] = first.axes[0] * between_columns
    affine[:3, 1] = first.axes[1] * between_rows
    affine[:3, 2] = (last.position - first.position) / (len(slices) - 1)
    affine[:3, 3] = first.position
    return _LPS_TO_RAS @ affine


def _voxels(slices: list[_Slice]) -> np.ndarray:
    """The pixels of all slices [i = column, j = row, k = slice], decoded one by one."""
    layout = slices[0].layout
    shape = layout["Rows"], layout["Columns"]
    if shape[0] * shape[1] * len(slices) > formats.MAX_VOXELS:
        raise InputError(f"{slices[0].path.parent}: more than {formats.MAX_VOXELS} voxels")
    scaled = any(s.rescale != (1.0, 0.0) for s in slices)
    kind = "i" if layout["PixelRepresentation"] else "u"
    stored = np.dtype(f"{kind}{layout['BitsAllocated'] // 8}")
    stack = np.empty((len(slices), *shape), np.float32 if scaled else stored)
    for k, one in enumerate(slices):
        with formats.reading(one.path, "DICOM"):
            pixels = dicom_pixels.decode(dicom.read_header(one.path, pixels=True))
            if pixels.shape != shape or pixels.dtype != stored:
                raise InputError(
                    f"{one.path}: pixels {pixels.dtype}{pixels.shape}, expected {stored}{shape}"
                )
        if scaled:
            slope, intercept = one.rescale
            stack[k] = pixels * np.float64(slope) + np.float64(intercept)
        else:
            stack[k] = pixels
    return stack.transpose(2, 1, 0)
