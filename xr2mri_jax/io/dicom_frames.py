"""The slices in a DICOM MR file: one, or the frames of an enhanced multi-frame image."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom
from pydicom import uid

from xr2mri_jax.errors import InputError
from xr2mri_jax.io import dicom_facts, dicom_pixels, formats
from xr2mri_jax.io.dicom_display import PHOTOMETRIC, rescale
from xr2mri_jax.io.dicom_file import read_any, read_header
from xr2mri_jax.io.dicom_tags import (
    MODALITIES,
    OTHER_MODALITIES,
    get,
    named,
    numbers,
    shown,
    shown_term,
    term,
    unneeded_numbers,
    whole_number,
)

MR_CLASSES = (
    uid.MRImageStorage,
    uid.EnhancedMRImageStorage,
    uid.LegacyConvertedEnhancedMRImageStorage,
)
_MULTI_FRAME = MR_CLASSES[1:]
_SLICE_CLASSES = (*MR_CLASSES, uid.CTImageStorage, uid.PositronEmissionTomographyImageStorage)
_MOST_FRAMES = 5000
_MAGNITUDE = ("M", "MAGNITUDE")
_PARTS = ("M", "P", "R", "I", "MAGNITUDE", "PHASE", "REAL", "IMAGINARY", "MIXED")


@dataclasses.dataclass(frozen=True, eq=False)
class Frame:
    """One slice.

    Attributes:
      path, index, count: the file, the frame's number in it from 0, and how many it has.
      series: SeriesInstanceUID and SeriesDescription.
      layout: see `dicom_pixels.layout`.
      position: f64[3], LPS mm of the centre of the first pixel.
      axes: f64[2, 3], LPS directions of increasing column and row.
      spacing: f64[2], mm between rows, between columns.
      rescale: slope and intercept.
      localizer: whether ImageType says so.
      padding: PixelPaddingValue in the pixels' type; None if it is absent or broken.
      side: "left" or "right" if the header states it.
      marks: values by tag that distinguish images at one position; None if a tag is absent.
    """

    path: Path
    index: int
    count: int
    series: tuple[str, str]
    layout: dict[str, int]
    position: np.ndarray
    axes: np.ndarray
    spacing: np.ndarray
    rescale: tuple[float, float]
    localizer: bool
    padding: int | None
    side: str | None
    marks: dict[str, float | str | None]

    @property
    def label(self) -> str:
        """The file's name, with the frame number if it has several."""
        return self.path.name if self.count == 1 else f"{self.path.name}, frame {self.index + 1}"


@dataclasses.dataclass(frozen=True)
class OtherObject:
    """A DICOM file that is not a slice: a presentation state, a report, a screenshot, ..."""

    path: Path
    modality: str


def read_frames(path: Path, modalities: Sequence[str]) -> list[Frame] | OtherObject:
    """Reads the headers of a file's slices, without pixels.

    Args:
      path: a DICOM file.
      modalities: accepted values of Modality.

    Raises:
      InputError: a slice of another modality, or one with an incomplete or contradictory header.
    """
    header = read_any(path)
    with formats.reading(path, "DICOM"):
        kind, modality = get(header, "SOPClassUID"), shown_term(header, "Modality", MODALITIES)
        if _is_other(kind, modality, modalities):
            return OtherObject(path, modality)
        if modality not in modalities:
            raise InputError(
                f"{path}: wrong modality, {named('Modality')} is {modality}, expected "
                f"{' or '.join(modalities)}"
            )
        header = read_header(path)
        count = whole_number(header, "NumberOfFrames", 1)
        items = _groups(header, "PerFrameFunctionalGroupsSequence")
        shared = _groups(header, "SharedFunctionalGroupsSequence")[:1]
        if count > 1 and (kind not in _MULTI_FRAME or not items):
            raise InputError(f"{path}: holds {shown(count)} frames, expected one slice per file")
        if not 1 <= count <= _MOST_FRAMES or (items and len(items) != count):
            raise InputError(
                f"{path}: {named('NumberOfFrames')} is {shown(count)}, but "
                f"PerFrameFunctionalGroupsSequence has {len(items)} items"
            )
        _require_grey(header, path)
        layout = dicom_pixels.layout(header)
        places = [[item, *shared] for item in items] or [shared]
        return [_frame(path, k, count, header, places[k], layout) for k in range(count)]


def _is_other(kind: object, modality: str, modalities: Sequence[str]) -> bool:
    """Whether a file is not a slice, by its class, or if that is unknown, by its modality."""
    if kind in MR_CLASSES:
        return False
    if kind in _SLICE_CLASSES:
        return modality not in modalities and modality in MODALITIES
    if isinstance(kind, uid.UID) and kind.name != str(kind):
        return True
    return modality in OTHER_MODALITIES


def _groups(header: pydicom.Dataset, keyword: str) -> list[pydicom.Dataset]:
    value = get(header, keyword)
    if value is not None and not isinstance(value, pydicom.Sequence):
        raise InputError(f"{named(keyword)} is not a sequence, expected items")
    return list(value or [])


def _require_grey(header: pydicom.Dataset, path: Path) -> None:
    photometric = shown_term(header, "PhotometricInterpretation", PHOTOMETRIC)
    if photometric != "MONOCHROME2" or get(header, "SamplesPerPixel") not in (1, None):
        tag = named("PhotometricInterpretation")
        raise InputError(f"{path}: {tag} is {photometric!r}, expected MONOCHROME2")


def _frame(
    path: Path,
    index: int,
    count: int,
    header: pydicom.Dataset,
    groups: list[pydicom.Dataset],
    layout: dict[str, int],
) -> Frame:
    """A frame from its own functional groups, the shared ones, or the file's tags."""

    def among(macro: str, keyword: str) -> pydicom.Dataset:
        for group in groups:
            items = get(group, macro)
            if isinstance(items, pydicom.Sequence) and items and keyword in items[0]:
                return items[0]
        return header

    axes = _required(
        among("PlaneOrientationSequence", "ImageOrientationPatient"), "ImageOrientationPatient", 6
    ).reshape(2, 3)
    if np.abs(axes @ axes.T - np.eye(2)).max() > 1e-3:
        tag = named("ImageOrientationPatient")
        raise InputError(
            f"{path}: {tag} is {shown(axes.ravel().tolist())}, expected two unit vectors"
        )
    spacing = _required(among("PixelMeasuresSequence", "PixelSpacing"), "PixelSpacing", 2)
    if spacing.min() <= 0:
        tag = named("PixelSpacing")
        raise InputError(f"{path}: {tag} is {spacing.tolist()}, expected two positive numbers")
    position = _required(
        among("PlanePositionSequence", "ImagePositionPatient"), "ImagePositionPatient", 3
    )
    series = str(get(header, "SeriesInstanceUID")), str(get(header, "SeriesDescription") or "")
    kind = get(among("MRImageFrameTypeSequence", "FrameType"), "FrameType")
    words = _words(kind) or _words(get(header, "ImageType"))
    part = get(among("MRImageFrameTypeSequence", "ComplexImageComponent"), "ComplexImageComponent")
    marks: dict[str, float | str | None] = {
        "EchoTime": _mark(among("MREchoSequence", "EffectiveEchoTime"), "EffectiveEchoTime")
        or _mark(header, "EchoTime"),
        "EchoNumbers": _mark(header, "EchoNumbers"),
        "ImageType": _part(_words(part) or words[2:]),
        "TemporalPositionIndex": _mark(
            among("FrameContentSequence", "TemporalPositionIndex"), "TemporalPositionIndex"
        )
        or _mark(header, "TemporalPositionIdentifier"),
        "AcquisitionNumber": _mark(header, "AcquisitionNumber"),
    }
    return Frame(
        path,
        index,
        count,
        series,
        layout,
        position,
        axes,
        spacing,
        rescale(among("PixelValueTransformationSequence", "RescaleSlope")),
        "LOCALIZER" in words,
        _padding(header, layout),
        _side(among("FrameAnatomySequence", "FrameLaterality"), header),
        marks,
    )


def _padding(header: pydicom.Dataset, layout: dict[str, int]) -> int | None:
    """PixelPaddingValue in the pixels' type; files give it signed or unsigned."""
    found = unneeded_numbers(header, "PixelPaddingValue", [])
    if not found:
        return None
    levels = 2 ** layout["BitsAllocated"]
    value = int(found[0]) % levels
    return value - levels if layout["PixelRepresentation"] and value >= levels // 2 else value


def _side(anatomy: pydicom.Dataset, header: pydicom.Dataset) -> str | None:
    """FrameLaterality if there are functional groups, else the header's or the description's side.

    Many series, the OAI's too, state their side in SeriesDescription alone.
    """
    own = {"L": "left", "R": "right"}.get(term(anatomy, "FrameLaterality", ("L", "R")) or "")
    return own or dicom_facts.side(header, []) or dicom_facts.described_side(header, 2)


def _required(header: pydicom.Dataset, keyword: str, count: int) -> np.ndarray:
    values = numbers(header, keyword)
    if len(values) != count:
        found = f"has {len(values)} numbers" if values else "is absent"
        raise InputError(f"{named(keyword)} {found}, expected {count} numbers")
    return np.array(values, np.float64)


def _mark(header: pydicom.Dataset, keyword: str) -> float | None:
    """A number that distinguishes images; None if it is absent or broken, as it is not needed."""
    try:
        found = numbers(header, keyword)
    except InputError:
        return None
    return round(found[0], 2) if found else None


def _words(value: object) -> list[str]:
    if value is None:
        return []
    several = [value] if isinstance(value, str) else value
    return [str(word).strip().upper() for word in several]  # type: ignore[attr-defined]


def _part(words: list[str]) -> str | None:
    """The part of a complex image; empty for magnitude, so that magnitude sorts first."""
    found = next((word for word in words if word in _PARTS), None)
    return "" if found in _MAGNITUDE else found
