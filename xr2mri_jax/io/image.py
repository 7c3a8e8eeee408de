"""Radiographs from PNG, TIFF and JPEG files.

Resolution entries of such files speak of print, not of the detector, and are not believed: the
spacing is the caller's or unknown. Bone is expected to be bright, as viewers show the image.
"""

import os
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from xr2mri_jax import geometry
from xr2mri_jax.errors import InputError
from xr2mri_jax.io import formats

_GREY_TOLERANCE = 4  # of 255: JPEG stores grey as RGB with small rounding errors
_BITS_PER_SAMPLE, _PHOTOMETRIC = 258, 262
_MIN_IS_WHITE = 0


def read_image(
    path: str | os.PathLike[str],
    spacing: tuple[float, float] | None = None,
    side: str | None = None,
) -> geometry.Radiograph:
    """Reads an 8- or 16-bit grey image (or a float TIFF), turned as its EXIF entry says.

    Colour images whose channels agree are taken as grey. Transparent parts become black.

    Args:
      path: a PNG, TIFF or JPEG file under any name.
      spacing: mm a pixel (row, col); None leaves it unknown.
      side: "left", "right" or None.

    Returns:
      The radiograph, f32[h, w] in the file's own values (0..255 or 0..65535).

    Raises:
      InputError: the file is broken, coloured, holds several pictures, or has more than
        formats.MAX_PIXELS pixels.
    """
    path = Path(path)
    with formats.reading(path, "an image"), warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(path) as image:
            _check(image, path)
            image.load()
            inverted = image.format == "TIFF" and _is_white_zero_16_bit(image)
            array = _grey_array(ImageOps.exif_transpose(image))
        if inverted:
            array = 65535.0 - array
        return geometry.Radiograph(array, spacing, side)


def grey(colours: np.ndarray, what: str = "image") -> np.ndarray:
    """The one channel of a picture [h, w, 3] whose three channels agree; else InputError."""
    channels = colours.astype(np.int32)
    spread = int((channels.max(axis=-1) - channels.min(axis=-1)).max())
    limit = _GREY_TOLERANCE * (257 if colours.dtype == np.uint16 else 1)
    if spread > limit:
        raise InputError(f"{what} is coloured (channels differ by {spread}): expected grey")
    return colours[..., 1].astype(np.float32)


def _check(image: Image.Image, path: Path) -> None:
    count = getattr(image, "n_frames", 1)
    if count > 1:
        raise InputError(f"{path}: holds {count} pictures, expected one")
    if image.width * image.height > formats.MAX_PIXELS:
        raise InputError(
            f"{path}: {image.width}x{image.height} pixels, more than {formats.MAX_PIXELS}"
        )
    if image.format == "PNG":
        with path.open("rb") as stream:
            header = stream.read(26)
        deep = header[24] == 16 and header[25] != 0
        needed = image.width * image.height * header[24] // 8
        if needed > formats.MOST_INFLATED * path.stat().st_size:
            raise InputError(f"{path}: {image.width}x{image.height} pixels, but the file is short")
    else:
        bits = getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, (8,))
        deep = max(bits) > 8 and len(bits) > 1
    if deep:
        raise InputError(f"{path}: more than one channel of 16 bits, expected 16-bit grey")


def _is_white_zero_16_bit(image: Image.Image) -> bool:
    """Pillow turns WhiteIsZero round in 8-bit TIFF files only."""
    if getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) != _MIN_IS_WHITE or image.mode == "L":
        return False
    if not image.mode.startswith("I;16"):
        raise InputError(f"WhiteIsZero TIFF of mode {image.mode}: expected 8 or 16 bits")
    return True


def _grey_array(image: Image.Image) -> np.ndarray:
    if image.mode in ("L", "F", "I") or image.mode.startswith("I;16"):
        if "transparency" not in image.info:
            return np.asarray(image).astype(np.float32)
        image = image.convert("RGBA") if image.mode == "L" else image
    if image.mode in ("P", "PA", "LA", "La", "RGBa", "RGBX", "RGB"):
        image = image.convert("RGBA")
    if image.mode != "RGBA":
        raise InputError(f"image of mode {image.mode}: expected 8- or 16-bit grey")
    values = np.asarray(image)
    opaque = values[..., 3].astype(np.float32) / 255.0
    return grey(values[..., :3]) * opaque
