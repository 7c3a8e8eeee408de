"""Decodes the pixels of a DICOM image if the header and the stored data agree.

Decoders trust the header: with a wrong one they return shifted rows, masked values or a second
frame, with a warning at most. Therefore everything possible is checked before and after decoding.
"""

import re

import numpy as np
import pydicom
from pydicom import encaps, uid
from pydicom.pixels import get_decoder

from xr2mri_jax.errors import InputError
from xr2mri_jax.io import dicom_jpeg
from xr2mri_jax.io.dicom_tags import get, named, shown

_ALLOCATED = (8, 16, 32)
# JPEG and JPEG 2000 streams end with FF D9; a fragment then has one or a few bytes of padding.
_END = 16


def decode(
    dataset: pydicom.Dataset, doubts: list[str] | None = None, frames: int = 1
) -> np.ndarray:
    """The stored values of an image.

    Overlays in the bits above BitsStored (PS3.5 8.1.2) are removed. Bytes after the pixels are
    ignored if they are fewer than a row or a column has.

    Args:
      dataset: with pixels.
      doubts: gets a clause if bytes are ignored.
      frames: the required number.

    Returns:
      u8, u16, u32 or their signed counterparts, [rows, columns] or [rows, columns, 3]; with
      several frames [frames, rows, columns].

    Raises:
      InputError: PixelData is absent or its length contradicts Rows, Columns, SamplesPerPixel and
        BitsAllocated; a compressed image of another size; another number of frames; impossible
        bits; or values beyond BitsStored.
    """
    _settle(dataset)
    layout(dataset)
    if "PixelData" not in dataset:
        raise InputError(f"{named('PixelData')} is absent, expected an image")
    stored = int(dataset.BitsStored)
    if _is_encapsulated(dataset):
        precision = _require_same_frames(dataset, frames)
        if precision > stored:
            # Decoded with all its bits, so that values beyond BitsStored are detected, not cut off.
            dataset.BitsStored, dataset.HighBit = precision, precision - 1
    else:
        _require_length(dataset, frames, [] if doubts is None else doubts)
        _require_unused_bits(dataset, stored)
    pixels = _decoded(dataset)
    dataset.BitsStored, dataset.HighBit = stored, stored - 1
    _require_range(pixels, stored)
    rows, columns = dataset.Rows, dataset.Columns
    shape = (rows, columns) if frames == 1 else (frames, rows, columns)
    if pixels.shape != shape and (frames > 1 or pixels.shape != (rows, columns, 3)):
        raise InputError(f"decoded pixels have shape {pixels.shape}, expected {shape}")
    return pixels


def _settle(dataset: pydicom.Dataset) -> None:
    """Normalises tags that may be absent or in lower case to what decoders expect."""
    if get(dataset, "SamplesPerPixel") is None:
        dataset.SamplesPerPixel = 1
    photometric = get(dataset, "PhotometricInterpretation")
    if isinstance(photometric, str):
        dataset.PhotometricInterpretation = photometric.strip().upper()


def layout(dataset: pydicom.Dataset) -> dict[str, int]:
    """Rows, Columns, BitsAllocated, BitsStored, PixelRepresentation and SamplesPerPixel.

    Raises:
      InputError: one of them has an impossible value, or HighBit is not BitsStored - 1.
    """
    allocated = _whole(dataset, "BitsAllocated", _ALLOCATED)
    stored = _whole(dataset, "BitsStored", range(1, allocated + 1))
    _whole(dataset, "HighBit", (stored - 1,), default=stored - 1)
    return {
        "Rows": _whole(dataset, "Rows", range(1, 65536)),
        "Columns": _whole(dataset, "Columns", range(1, 65536)),
        "BitsAllocated": allocated,
        "BitsStored": stored,
        "PixelRepresentation": _whole(dataset, "PixelRepresentation", (0, 1)),
        "SamplesPerPixel": _whole(dataset, "SamplesPerPixel", (1, 3), default=1),
    }


def _whole(
    dataset: pydicom.Dataset, keyword: str, allowed: tuple[int, ...] | range, default: object = None
) -> int:
    value = get(dataset, keyword)
    value = default if value is None else value
    if not isinstance(value, int) or value not in allowed:
        expected = " or ".join(map(str, allowed)) if len(allowed) < 4 else f"1..{allowed[-1]}"
        found = "absent" if value is None else shown(value)
        raise InputError(f"{named(keyword)} is {found}: expected {expected}")
    return value


def _is_encapsulated(dataset: pydicom.Dataset) -> bool:
    syntax = uid.UID(str(dataset.file_meta.TransferSyntaxUID))
    if not syntax.is_transfer_syntax or syntax.is_private:
        raise InputError(f"{named('TransferSyntaxUID')} is {syntax}: expected a known one")
    try:
        get_decoder(syntax)
    except NotImplementedError as error:
        raise InputError(
            f"{named('TransferSyntaxUID')} is {syntax.name}: expected an image that is not "
            "compressed, or JPEG, JPEG-LS, JPEG 2000 or RLE"
        ) from error
    return syntax.is_encapsulated


def _decoded(dataset: pydicom.Dataset) -> np.ndarray:
    """The pixels from pydicom's decoders; error messages name no patient."""
    try:
        if plugin := dicom_jpeg.decoder(dataset.file_meta.TransferSyntaxUID, dataset.BitsStored):
            dataset.pixel_array_options(decoding_plugin=plugin)
        return dataset.pixel_array
    except MemoryError:
        raise
    except Exception as error:
        # Decoders may quote a tag's value.
        reason = re.sub(r"'[^']*'|\"[^\"]*\"", "'...'", " ".join(str(error).split()))[:200]
        reason = f"{type(error).__name__}: {reason}"
        raise InputError(f"the pixels cannot be decoded ({reason})") from error


def _require_length(dataset: pydicom.Dataset, frames: int, doubts: list[str]) -> None:
    """PixelData must hold the image, followed by less than a row or a column.

    More would mean that the image is larger than the header says.
    """
    samples = int(dataset.get("SamplesPerPixel") or 1)
    pixel = samples * dataset.BitsAllocated // 8
    expected = frames * dataset.Rows * dataset.Columns * pixel
    found = len(dataset.PixelData)
    behind = found - expected - expected % 2
    if 0 < behind < min(dataset.Rows, dataset.Columns) * pixel:
        doubts.append(f"{behind} bytes after the pixels were ignored")
    elif found not in (expected, expected + expected % 2):
        raise InputError(
            f"{named('PixelData')} has {found} bytes: expected {expected} for {dataset.Rows} x "
            f"{dataset.Columns} pixels of {samples} x {dataset.BitsAllocated} bits"
        )


def raw_values(dataset: pydicom.Dataset) -> np.ndarray | None:
    """The values of a single grey frame as stored in the file, with all allocated bits.

    Returns:
      u8, u16 or u32[rows, columns]; None if the pixels are compressed.
    """
    if _is_encapsulated(dataset):
        return None
    return _words(dataset)[: dataset.Rows * dataset.Columns].reshape(dataset.Rows, dataset.Columns)


def _words(dataset: pydicom.Dataset) -> np.ndarray:
    size = int(dataset.BitsAllocated) // 8
    order = "<" if dataset.original_encoding[1] is not False else ">"
    return np.frombuffer(dataset.PixelData, f"{order}u{size}", len(dataset.PixelData) // size)


def _overlay_bits(dataset: pydicom.Dataset) -> int:
    """The bits of the pixels that overlays occupy (PS3.3 C.9.2)."""
    bits = 0
    for group in range(0x6000, 0x6020, 2):
        element = dataset.get((group, 0x0102))
        place = None if element is None else element.value
        # 0 is the position of an overlay with data of its own.
        if isinstance(place, int) and 0 < place < 32:
            bits |= 1 << place
    return bits


def _padding_value(dataset: pydicom.Dataset) -> int | None:
    value = get(dataset, "PixelPaddingValue")
    return value & (2 ** int(dataset.BitsAllocated) - 1) if isinstance(value, int) else None


def _require_unused_bits(dataset: pydicom.Dataset, stored: int) -> None:
    """Bits above BitsStored must be 0, or repeat the sign (PS3.5 8.1.1); decoders drop them.

    Exceptions: overlays may use them, and padding may have any value.
    """
    allocated = int(dataset.BitsAllocated)
    if stored == allocated:
        return
    raw = _words(dataset)
    unused = (raw & ~raw.dtype.type(_overlay_bits(dataset) & (2**allocated - 1))) >> stored
    wrong = unused != 0
    if dataset.PixelRepresentation:
        negative = (raw >> (stored - 1)) & 1 == 1
        wrong &= ~(negative & (unused == (1 << (allocated - stored)) - 1))
    padding = _padding_value(dataset)
    if padding is not None:
        wrong &= raw != padding
    if wrong.any():
        raise InputError(
            f"{named('BitsStored')} is {stored}, but {int(wrong.sum())} values use more bits"
        )


def _require_range(pixels: np.ndarray, stored: int) -> None:
    signed = pixels.dtype.kind == "i"
    low, high = (-(2 ** (stored - 1)), 2 ** (stored - 1) - 1) if signed else (0, 2**stored - 1)
    if pixels.min() < low or pixels.max() > high:
        raise InputError(
            f"{named('BitsStored')} is {stored}, but the values are {pixels.min()}..{pixels.max()}"
        )


def _require_same_frames(dataset: pydicom.Dataset, count: int) -> int:
    """Checks compressed images' own headers against the dataset's; returns the bits per sample."""
    frames = list(encaps.generate_frames(dataset.PixelData, number_of_frames=count))
    if len(frames) != count:
        raise InputError(f"{named('PixelData')} holds {len(frames)} frames, expected {count}")
    return max(_require_same_frame(dataset, frame) for frame in frames)


def _require_same_frame(dataset: pydicom.Dataset, frame: bytes) -> int:
    if dataset.file_meta.TransferSyntaxUID == uid.RLELossless:
        _require_runs(dataset, frame)
        return int(dataset.BitsStored)
    if b"\xff\xd9" not in frame[-_END:]:
        raise InputError(f"{named('PixelData')} is cut off: its JPEG stream has no end marker")
    rows, columns, samples, precision = dicom_jpeg.frame_header(frame)
    expected = dataset.Rows, dataset.Columns, int(dataset.get("SamplesPerPixel") or 1)
    if (rows, columns, samples) != expected:
        raise InputError(
            f"{named('PixelData')} is compressed as {rows} x {columns} pixels of {samples} "
            f"samples: expected {expected[0]} x {expected[1]} of {expected[2]} (by Rows, Columns "
            "and SamplesPerPixel)"
        )
    if precision > 8 and dataset.file_meta.TransferSyntaxUID == uid.JPEGExtended12Bit:
        # GDCM decodes most of them, but ends the process on some of the others.
        raise InputError(
            f"{named('TransferSyntaxUID')} is JPEG Extended, of {precision} bits, which is not "
            "decoded: unpack the file first, for example with dcmdjpeg or gdcmconv --raw"
        )
    if dataset.BitsAllocated > 16 and frame[:2] == b"\xff\xd8":
        # GDCM ends the whole process if a JPEG codec is asked for more than 16 bits.
        raise InputError(
            f"{named('BitsAllocated')} is {dataset.BitsAllocated}: expected 8 or 16 for JPEG"
        )
    if not 1 <= precision <= dataset.BitsAllocated:
        raise InputError(
            f"{named('BitsAllocated')} is {dataset.BitsAllocated}, but the image was compressed "
            f"with {precision} bits"
        )
    if dicom_jpeg.is_gdcms(dataset.file_meta.TransferSyntaxUID, precision):
        dicom_jpeg.require_sound_header(frame)
    return precision


def _require_runs(dataset: pydicom.Dataset, frame: bytes) -> None:
    """Every RLE segment must unpack to exactly one byte plane of the image (PS3.5 G)."""
    starts = [int.from_bytes(frame[k : k + 4], "little") for k in range(0, 64, 4)]
    count = int(dataset.get("SamplesPerPixel") or 1) * dataset.BitsAllocated // 8
    if starts[0] != count or min(starts[1 : count + 1], default=0) < 64:
        raise InputError(f"{named('PixelData')} has {starts[0]} RLE segments, expected {count}")
    expected = dataset.Rows * dataset.Columns
    for first, end in zip(starts[1 : count + 1], [*starts[2 : count + 1], len(frame)], strict=True):
        found = _unpacked_length(frame[first:end])
        # Encoders may fill the last run up to an even number of bytes.
        if not expected <= found <= expected + 1:
            raise InputError(
                f"{named('PixelData')} has an RLE segment of {found} pixels: expected {expected} "
                f"for {dataset.Rows} x {dataset.Columns}"
            )


def _unpacked_length(segment: bytes) -> int:
    """Number of bytes that PackBits runs unpack to, computed without unpacking."""
    at, length = 0, 0
    while at + 1 < len(segment):
        head = segment[at]
        if head < 128:
            at, length = at + head + 2, length + head + 1
        elif head > 128:
            at, length = at + 2, length + 257 - head
        else:
            at += 1
    return length
