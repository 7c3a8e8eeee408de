"""Maps the stored values of a DICOM radiograph to display values, bone bright."""

import numpy as np
import pydicom
from pydicom.pixels import apply_color_lut

from xr2mri_jax.errors import InputError
from xr2mri_jax.io import dicom_pixels, image
from xr2mri_jax.io.dicom_background import background
from xr2mri_jax.io.dicom_tags import (
    get,
    named,
    numbers,
    shown,
    shown_term,
    term,
    unneeded_numbers,
    whole_number,
)

GREY = ("MONOCHROME1", "MONOCHROME2")
PHOTOMETRIC = (
    *GREY,
    "PALETTE COLOR",
    "RGB",
    "ARGB",
    "CMYK",
    "HSV",
    "YBR_FULL",
    "YBR_FULL_422",
    "YBR_PARTIAL_420",
    "YBR_PARTIAL_422",
    "YBR_ICT",
    "YBR_RCT",
)
_FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")
_SHAPES = ("IDENTITY", "INVERSE")
_MOST_ENTRIES = 65536
_EXACT = 2.0**24  # larger whole numbers are rounded in f32


def displayed(dataset: pydicom.Dataset, doubts: list[str]) -> tuple[np.ndarray, np.ndarray | None]:
    """The display values f32[h, w] of a single-frame image, bone bright, and its background.

    The stored values go through the modality LUT or rescale, then through the first VOI LUT or
    else the first usable window, and MONOCHROME1 is inverted within the range that the values can
    take. The background (see `dicom_background`) gets the lowest value of the other pixels.

    Args:
      dataset: with pixels.
      doubts: gets a clause for each ignored tag: a broken window or VOI LUT.

    Raises:
      InputError: coloured, pixels that contradict the header, or a broken modality LUT or rescale.
    """
    if term(dataset, "PhotometricInterpretation", PHOTOMETRIC) in (None, ""):
        found = shown_term(dataset, "PhotometricInterpretation", PHOTOMETRIC)
        tag = named("PhotometricInterpretation")
        raise InputError(f"{tag} is {found}: expected MONOCHROME1 or MONOCHROME2")
    pixels = dicom_pixels.decode(dataset, doubts)
    if pixels.ndim == 3 and pixels.shape[-1] == 3:
        return image.grey(pixels, "DICOM image"), None
    photometric = term(dataset, "PhotometricInterpretation", GREY)
    if term(dataset, "PhotometricInterpretation", ("PALETTE COLOR",)):
        return image.grey(_painted(dataset, pixels), "DICOM image"), None
    if not photometric:
        found = shown_term(dataset, "PhotometricInterpretation", PHOTOMETRIC)
        tag = named("PhotometricInterpretation")
        raise InputError(f"{tag} is {found!r}: expected MONOCHROME1 or MONOCHROME2")
    _check_shape(dataset, photometric, doubts)
    hidden = background(dataset, pixels, doubts)
    values, low, high = _modality_values(dataset, pixels)
    values, low, high = _values_of_interest(dataset, values, low, high, hidden, doubts)
    if photometric == "MONOCHROME1":
        values = values.dtype.type(low + high) - values
    if values.dtype == np.float64 and np.abs(values).max() > _EXACT:
        values = values - values.min()
    values = values.astype(np.float32, copy=False)
    if hidden is not None:
        values = np.where(hidden, values[~hidden].min(), values)
    return values, hidden


def _check_shape(dataset: pydicom.Dataset, photometric: str, doubts: list[str]) -> None:
    """Adds a doubt if PresentationLUTShape contradicts PhotometricInterpretation.

    PS3.3 C.8.11.3 ties IDENTITY to MONOCHROME2 and INVERSE to MONOCHROME1. Viewers follow one or
    the other; whether bone is dark is detected in the image later.
    """
    expected = "INVERSE" if photometric == "MONOCHROME1" else "IDENTITY"
    shape = term(dataset, "PresentationLUTShape", _SHAPES)
    if shape and shape != expected:
        doubts.append(
            f"{named('PhotometricInterpretation')} is {photometric}, but "
            f"{named('PresentationLUTShape')} is {shape}: the former is followed"
        )


def _painted(dataset: pydicom.Dataset, pixels: np.ndarray) -> np.ndarray:
    """The colours u16[h, w, 3] of an image whose values are indices into a palette."""
    try:
        colours = np.asarray(apply_color_lut(pixels, dataset))
    except MemoryError:
        raise
    except Exception as error:
        raise InputError("the palette's look-up tables are absent or broken") from error
    if colours.shape[:2] != pixels.shape or colours.shape[2:] not in ((3,), (4,)):
        raise InputError(f"the palette gives colours of shape {colours.shape}, expected three")
    return colours[..., :3].astype(np.uint16) * (257 if colours.dtype.itemsize == 1 else 1)


def rescale(dataset: pydicom.Dataset) -> tuple[float, float]:
    """RescaleSlope and RescaleIntercept, (1, 0) where absent."""
    slope, intercept = numbers(dataset, "RescaleSlope"), numbers(dataset, "RescaleIntercept")
    if slope[:1] == (0.0,):
        raise InputError(f"{named('RescaleSlope')} is 0: expected another number")
    return (slope or (1.0,))[0], (intercept or (0.0,))[0]


def _modality_values(
    dataset: pydicom.Dataset, pixels: np.ndarray
) -> tuple[np.ndarray, float, float]:
    """Maps stored values to the modality's units (PS3.3 C.11.1); returns them and their range.

    f32, or f64 for more than 16 bits: inverting takes the difference of large numbers.
    """
    levels = 2 ** int(dataset.BitsStored)
    start = -levels // 2 if dataset.PixelRepresentation else 0
    item = _first_item(dataset, "ModalityLUTSequence")
    if item is not None:
        return _look_up(item, "ModalityLUTSequence", pixels, start, dataset)
    slope, intercept = rescale(dataset)
    ends = sorted((start * slope + intercept, (start + levels - 1) * slope + intercept))
    exact = np.dtype(np.float32 if levels <= 2**16 else np.float64)
    return pixels.astype(exact) * exact.type(slope) + exact.type(intercept), *ends


def _values_of_interest(
    dataset: pydicom.Dataset,
    values: np.ndarray,
    low: float,
    high: float,
    hidden: np.ndarray | None,
    doubts: list[str],
) -> tuple[np.ndarray, float, float]:
    """Applies the first VOI LUT, else the first window (PS3.3 C.11.2), onto the range low..high.

    A window that is too narrow, or in which no two pixels that are not `hidden` differ, is ignored.
    Implemented here because pydicom's windowing inverts images with a negative rescale slope.
    """
    try:
        item = _first_item(dataset, "VOILUTSequence")
        if item is not None:
            return _look_up(item, "VOILUTSequence", values, low, dataset)
    except InputError as error:
        doubts.append(f"{error}: ignored")
    function = term(dataset, "VOILUTFunction", _FUNCTIONS)
    if function is None:
        tag = named("VOILUTFunction")
        doubts.append(f"{tag} is not a known term, expected {', '.join(_FUNCTIONS)}: ignored")
        return values, low, high
    centers = unneeded_numbers(dataset, "WindowCenter", doubts)
    widths = unneeded_numbers(dataset, "WindowWidth", doubts)
    function = function or "LINEAR"
    least = 1.0 if function == "LINEAR" else 0.0
    visible = slice(None) if hidden is None else ~hidden
    for center, width in zip(centers, widths, strict=False):
        if width <= least:
            tag = named("WindowWidth")
            doubts.append(f"{tag} is {shown(width)}, expected more than {least:g}: ignored")
            continue
        part = _windowed(values, center, width, function)
        if np.ptp(part[visible]) == 0 < np.ptp(values[visible]):
            tags = f"{named('WindowCenter')} and {named('WindowWidth')}"
            doubts.append(f"the window of {tags} hides the whole image: ignored")
            continue
        return (part * np.float32(high - low) + np.float32(low)).astype(np.float32), low, high
    return values, low, high


def _windowed(values: np.ndarray, center: float, width: float, function: str) -> np.ndarray:
    """f32 in 0..1."""
    if function == "SIGMOID":
        # The exponent is bounded where f32 would overflow; the sigmoid is 0 or 1 there.
        exponent = np.clip(-4.0 * (values - np.float32(center)) / np.float32(width), -80, 80)
        return 1.0 / (1.0 + np.exp(exponent))
    if function == "LINEAR":
        center, width = center - 0.5, width - 1.0
    return np.clip((values - np.float32(center)) / np.float32(width) + 0.5, 0.0, 1.0)


def _first_item(dataset: pydicom.Dataset, keyword: str) -> pydicom.Dataset | None:
    """The first item of a sequence; None if there is none."""
    value = get(dataset, keyword)
    if value is None:
        return None
    if not isinstance(value, pydicom.Sequence):
        raise InputError(f"{named(keyword)} is not a sequence, expected items")
    return value[0] if len(value) else None


def _look_up(
    item: pydicom.Dataset,
    keyword: str,
    values: np.ndarray,
    lowest: float,
    dataset: pydicom.Dataset,
) -> tuple[np.ndarray, float, float]:
    """Maps values through a LUT item; values beyond its ends get the end's entry."""
    descriptor = numbers(item, "LUTDescriptor")
    if len(descriptor) != 3:
        raise InputError(
            f"{named('LUTDescriptor')} in {keyword} has {len(descriptor)} numbers, expected 3"
        )
    count, first, depth = (int(v) for v in descriptor)
    count = count or _MOST_ENTRIES
    if lowest < 0 and first >= 32768:  # written unsigned (US) where the values are signed (SS)
        first -= 65536
    table = _entries(item, keyword, count, bool(dataset.original_encoding[1] is not False))
    place = np.clip(np.rint(values).astype(np.int64) - first, 0, len(table) - 1)
    top = 2**depth - 1 if 1 <= depth <= 16 else 0
    return table[place], 0.0, float(max(top, table.max()))


def _entries(item: pydicom.Dataset, keyword: str, count: int, little: bool) -> np.ndarray:
    """LUTData as f32[count]: words, or bytes packed two to a word (PS3.3 C.11.1.1)."""
    data = get(item, "LUTData")
    if data is None:
        raise InputError(f"{named('LUTData')} in {keyword} is absent")
    if isinstance(data, bytes):
        order = "<" if little else ">"
        words = np.frombuffer(data[: len(data) // 2 * 2], f"{order}u2")
        odd = np.frombuffer(data, np.uint8)
    else:
        try:
            words = np.atleast_1d(np.asarray(data)).astype(np.int64) & 0xFFFF
        except (TypeError, ValueError):
            raise InputError(f"{named('LUTData')} in {keyword} is not a table") from None
        words = words.astype(np.uint16)
        odd = None
    if len(words) >= count:
        return words[:count].astype(np.float32)
    # The first of two 8-bit entries is the word's low byte, whatever the file's byte order.
    halves = words.astype("<u2").view(np.uint8)
    if odd is not None and len(odd) == count:
        halves = odd if little else np.concatenate([halves, odd[len(halves) :]])
    if len(halves) >= count:
        return halves[:count].astype(np.float32)
    raise InputError(f"{named('LUTData')} in {keyword} has {len(words)} entries, expected {count}")


def single_frame(dataset: pydicom.Dataset, expected: str) -> None:
    """Raises InputError if the file holds several frames."""
    frames = whole_number(dataset, "NumberOfFrames", 1)
    if frames > 1:
        raise InputError(f"holds {shown(frames)} frames, expected {expected}")
