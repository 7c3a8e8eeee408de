"""DICOM radiographs, and what every reader of DICOM files shares."""

import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom
from pydicom import uid

from xr2mri_jax import geometry
from xr2mri_jax.errors import InputError
from xr2mri_jax.io import dicom_pixels, formats, image
from xr2mri_jax.io.dicom_pixels import named

RADIOGRAPH_MODALITIES = ("CR", "DX", "RG", "RF", "OT")
_SIDES = {"L": "left", "R": "right"}


def read_header(path: str | os.PathLike[str], pixels: bool = False) -> pydicom.Dataset:
    """Reads a DICOM file, with or without the preamble, by default up to its pixels.

    Raises:
      InputError: not DICOM, broken, or without Rows and Columns.
    """
    path = Path(path)
    with formats.reading(path, "DICOM"):
        dataset = pydicom.dcmread(path, force=True, stop_before_pixels=not pixels)
        for keyword in ("Rows", "Columns"):
            if not dataset.get(keyword):
                raise InputError(f"{path}: {named(keyword)} is absent, expected a DICOM image")
        if dataset.Rows * dataset.Columns > formats.MAX_PIXELS:
            raise InputError(f"{path}: more than {formats.MAX_PIXELS} pixels")
        if "TransferSyntaxUID" not in dataset.file_meta:
            implicit, little = dataset.original_encoding
            dataset.file_meta.TransferSyntaxUID = (
                uid.ImplicitVRLittleEndian
                if implicit
                else (uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian)
            )
        return dataset


def numbers(dataset: pydicom.Dataset, keyword: str) -> tuple[float, ...]:
    """The numbers of a tag, () where it is absent or empty; not finite ones are an InputError."""
    value = dataset.get(keyword)
    if value is None or value == "":
        return ()
    values = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    found = tuple(float(v) for v in values)
    if not all(math.isfinite(v) for v in found):
        raise InputError(f"{named(keyword)} is {found}: expected finite numbers")
    return found


def require_single_frame(dataset: pydicom.Dataset, path: Path, expected: str) -> None:
    """Raises InputError where the file holds several frames."""
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames > 1:
        raise InputError(f"{path}: holds {frames} frames, expected {expected}")


def read_radiograph(
    path: str | os.PathLike[str],
    spacing: tuple[float, float] | None = None,
    side: str | None = None,
) -> geometry.Radiograph:
    """Reads a DICOM radiograph as a viewer displays it, bone bright.

    The stored values go through the modality LUT or rescale, then through the first VOI LUT or else
    the first window (a window of no width counts as absent), and MONOCHROME1 is inverted within the
    range that the values can take.

    Args:
      path: the file.
      spacing: mm a pixel (row, col), instead of the header's: ImagerPixelSpacing (at
        the detector, not corrected for magnification), else PixelSpacing; 0 counts as absent.
      side: instead of the header's ImageLaterality, else Laterality (L or R).

    Returns:
      The radiograph, f32[h, w]; its spacing is None where nothing gives one.

    Raises:
      InputError: not a radiograph by Modality, several frames, coloured, or broken.
    """
    path = Path(path)
    dataset = read_header(path, pixels=True)
    with formats.reading(path, "DICOM"):
        modality = str(dataset.get("Modality") or "")
        if modality and modality not in RADIOGRAPH_MODALITIES:
            raise InputError(
                f"{path}: wrong modality, {named('Modality')} is {modality}, expected a radiograph "
                f"({', '.join(RADIOGRAPH_MODALITIES)})"
            )
        require_single_frame(dataset, path, "one radiograph")
        array = displayed(dataset)
        spacing = _spacing(dataset) if spacing is None else spacing
        side = _side(dataset) if side is None else side
        return geometry.Radiograph(array, spacing, side)


def displayed(dataset: pydicom.Dataset) -> np.ndarray:
    """The display values f32[h, w] of a single-frame image, bone bright, see `read_radiograph`."""
    photometric = str(dataset.get("PhotometricInterpretation") or "")
    pixels = dicom_pixels.decode(dataset)
    if pixels.ndim == 3 and pixels.shape[-1] == 3:
        return image.grey(pixels, "DICOM image")
    if photometric not in ("MONOCHROME1", "MONOCHROME2"):
        tag = named("PhotometricInterpretation")
        raise InputError(f"{tag} is {photometric!r}: expected MONOCHROME1 or MONOCHROME2")
    values, low, high = _modality_values(dataset, pixels)
    values, low, high = _values_of_interest(dataset, values, low, high)
    return (low + high) - values if photometric == "MONOCHROME1" else values


def _modality_values(
    dataset: pydicom.Dataset, pixels: np.ndarray
) -> tuple[np.ndarray, float, float]:
    """Stored values -> the modality's units (PS3.3 C.11.1), f32, and the range of these."""
    if dataset.get("ModalityLUTSequence"):
        return _look_up(dataset.ModalityLUTSequence[0], pixels, dataset)
    levels = 2 ** int(dataset.BitsStored)
    start = -levels // 2 if dataset.PixelRepresentation else 0
    slope, intercept = rescale(dataset)
    ends = sorted((start * slope + intercept, (start + levels - 1) * slope + intercept))
    return pixels.astype(np.float32) * np.float32(slope) + np.float32(intercept), *ends


def rescale(dataset: pydicom.Dataset) -> tuple[float, float]:
    """RescaleSlope and RescaleIntercept, (1, 0) where absent."""
    slope, intercept = numbers(dataset, "RescaleSlope"), numbers(dataset, "RescaleIntercept")
    if slope == (0.0,):
        raise InputError(f"{named('RescaleSlope')} is 0: expected another number")
    return (slope or (1.0,))[0], (intercept or (0.0,))[0]


def _values_of_interest(
    dataset: pydicom.Dataset, values: np.ndarray, low: float, high: float
) -> tuple[np.ndarray, float, float]:
    """Applies the first VOI LUT, else the first window (PS3.3 C.11.2), onto the range low..high.

    Written here because pydicom's windowing turns images round whose rescale slope is negative.
    """
    if dataset.get("VOILUTSequence"):
        return _look_up(dataset.VOILUTSequence[0], values, dataset)
    centers, widths = numbers(dataset, "WindowCenter"), numbers(dataset, "WindowWidth")
    function = str(dataset.get("VOILUTFunction") or "LINEAR").upper()
    if not centers or not widths or widths[0] <= (1.0 if function == "LINEAR" else 0.0):
        return values, low, high
    center, width = centers[0], widths[0]
    if function == "SIGMOID":
        # The exponent is bounded where f32 would overflow; the sigmoid is 0 or 1 there.
        exponent = np.clip(-4.0 * (values - np.float32(center)) / np.float32(width), -80, 80)
        part = 1.0 / (1.0 + np.exp(exponent))
    elif function in ("LINEAR", "LINEAR_EXACT"):
        if function == "LINEAR":
            center, width = center - 0.5, width - 1.0
        part = np.clip((values - np.float32(center)) / np.float32(width) + 0.5, 0.0, 1.0)
    else:
        tag = named("VOILUTFunction")
        raise InputError(f"{tag} is {function}: expected LINEAR, LINEAR_EXACT or SIGMOID")
    return (part * np.float32(high - low) + np.float32(low)).astype(np.float32), low, high


def _look_up(
    item: pydicom.Dataset, values: np.ndarray, dataset: pydicom.Dataset
) -> tuple[np.ndarray, float, float]:
    """Maps values through a LUT item; those beyond its ends take the end's entry."""
    count, first, depth = (int(v) for v in item.LUTDescriptor)
    data = item.LUTData
    if isinstance(data, bytes):
        data = np.frombuffer(data, "<u2" if dataset.original_encoding[1] else ">u2")
    table = np.atleast_1d(np.asarray(data, np.float32))[: count or 65536]
    place = np.clip(np.rint(values).astype(np.int64) - first, 0, len(table) - 1)
    return table[place], 0.0, float(max(2**depth - 1, table.max()))


def _spacing(dataset: pydicom.Dataset) -> tuple[float, float] | None:
    for keyword in ("ImagerPixelSpacing", "PixelSpacing"):
        found = numbers(dataset, keyword)
        if len(found) == 2 and min(found) > 0:
            return formats.plausible_spacing((found[0], found[1]))
    return None


def _side(dataset: pydicom.Dataset) -> str | None:
    for keyword in ("ImageLaterality", "Laterality"):
        code = str(dataset.get(keyword) or "").strip().upper()
        if code:
            return _SIDES.get(code)
    return None
