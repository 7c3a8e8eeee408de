"""Reads radiographs from PNG, TIFF, JPEG and other image files.

Resolution entries of such files refer to print, not to the detector, and are ignored: the spacing
is the caller's or unknown. Bone is expected to be bright, as viewers show the image.
"""

import contextlib
import io
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms, ImageFile, ImageOps, UnidentifiedImageError

from xr2mri_jax import geometry
from xr2mri_jax.errors import InputError
from xr2mri_jax.io import formats, image_samples
from xr2mri_jax.io.image_pages import main_page

# The entry in the PNG files that this package draws of its results, which are not radiographs.
DRAWN = {"Software": "xr2mri_jax"}
_GREY_TOLERANCE = 4  # of 255: JPEG stores grey as RGB with small rounding errors
_INK_TOLERANCE = 24  # CMYK grey goes through a colour conversion
_BITS_PER_SAMPLE = 258
# Pillow's names for 16-bit colour: channels, and byte order (L little, B big, N the machine's).
_DEEP = re.compile(r"(RGB|RGBA|RGBX);16([LBN])")
_DEEP_GREY_ALPHA = re.compile(r"LA;16([LBN])")
# Key of the byte order in which grey and alpha of 16 bits were read.
_ORDER = "order of grey and alpha"
# For these the upper byte is enough: they are rare, and no detector writes them.
_ROUNDED = re.compile(r"(CMYK|RGBa);16[LBN]")
_NOT_KNOWN = "several channels of 16 bits in an unknown form, expected 16-bit grey"
_ORIENTATION = 274
# Operations that show images with EXIF's orientations 2 to 8 upright.
_TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.T,
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].T,
    8: lambda a: np.rot90(a),
}


def read_image(
    path: str | os.PathLike[str],
    spacing: tuple[float, float] | None = None,
    side: str | None = None,
) -> geometry.Radiograph:
    """Reads an 8- or 16-bit grey image (or a float TIFF), oriented by its EXIF entry.

    Colour images whose channels agree count as grey, including 16-bit and CMYK images; one-bit
    images have 0 and 255. Transparent parts become black unless all of the image is transparent.
    Pixels of a float TIFF that are not finite are background. In a file with previews the main
    image is used, see `image_pages.main_page`.

    Args:
      path: a PNG, TIFF, JPEG, BMP, JPEG 2000, WebP, GIF or PNM file under any name.
      spacing: mm per pixel (row, col); None leaves it unknown.
      side: "left", "right" or None.

    Returns:
      The radiograph, f32[h, w] in the file's own values (0..255 or 0..65535).

    Raises:
      InputError: the file is broken, coloured, drawn by this package, holds several images, has no
        finite pixel or more than formats.MAX_PIXELS.
    """
    path = Path(path)
    doubts: list[str] = []
    with formats.reading(path, "an image"), _named_errors(path):
        # As a stream: Pillow turns memory-mapped files wrongly by their EXIF entry.
        with path.open("rb") as stream, Image.open(stream) as image:
            page = main_page(image, path, doubts)
            _check(image, path)
            assert isinstance(image, ImageFile.ImageFile)
            image_samples.set_layout(image)
            if _is_deep_colour(image, path, doubts):
                array = _deep_grey(path, page)
            else:
                samples = image_samples.Samples.of(image)
                image.load()
                array = _grey_array(ImageOps.exif_transpose(image), samples)
        array, background = without_gaps(array, doubts)
        return geometry.Radiograph(array, spacing, side, tuple(doubts), background)


@contextlib.contextmanager
def _named_errors(path: Path) -> Iterator[None]:
    """Pillow's errors about huge and unreadable files as `InputError`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        # Raised before the size is known here; Pillow's limit is larger than this one.
        raise InputError(f"{path}: more than {formats.MAX_PIXELS} pixels") from error
    except UnidentifiedImageError as error:  # its message shows the stream object
        raise InputError(
            f"{path}: cannot be read as an image, expected a whole file (is it cut off?)"
        ) from error


def without_gaps(array: np.ndarray, doubts: list[str]) -> tuple[np.ndarray, np.ndarray | None]:
    """Replaces pixels that are not finite by the lowest value; also returns where they are."""
    gaps = ~np.isfinite(array)
    if gaps.all():
        raise InputError("has no pixel that is a finite number")
    if not gaps.any():
        return array, None
    kind = "infinite or not a number" if np.isinf(array).any() else "not a number (NaN)"
    doubts.append(f"{gaps.mean():.2%} of the pixels are {kind}: taken as background")
    return np.where(gaps, array[~gaps].min(), array), gaps


def grey(colours: np.ndarray, what: str = "image", tolerance: int = _GREY_TOLERANCE) -> np.ndarray:
    """The single channel of an image [h, w, 3] whose three channels agree; else InputError."""
    channels = colours.astype(np.int32)
    spread = int((channels.max(axis=-1) - channels.min(axis=-1)).max())
    limit = tolerance * (257 if colours.dtype == np.uint16 else 1)
    if spread > limit:
        raise InputError(f"{what} is coloured (channels differ by {spread}): expected grey")
    return colours[..., 1].astype(np.float32)


def _check(image: Image.Image, path: Path) -> None:
    if DRAWN.items() <= image.info.items():
        raise InputError(f"{path}: is a picture that {DRAWN['Software']} drew of its results")
    if image.width * image.height > formats.MAX_PIXELS:
        raise InputError(
            f"{path}: {image.width}x{image.height} pixels, more than {formats.MAX_PIXELS}"
        )
    if image.format == "TIFF":
        # Pillow leaves areas black that no strip or tile covers.
        areas = [(box[2] - box[0]) * (box[3] - box[1]) for _, box, *_ in _tiles(image)]
        if sum(areas) < image.width * image.height:
            raise InputError(
                f"{path}: its strips hold less than {image.width}x{image.height} pixels"
            )
    if image.format == "PNG":
        needed = image.width * image.height * _png_header(path)[0] // 8
        if needed > formats.MOST_INFLATED * path.stat().st_size:
            raise InputError(f"{path}: {image.width}x{image.height} pixels, but the file is short")


def _png_header(path: Path) -> tuple[int, int]:
    """(bits per sample, colour type) of a PNG file."""
    with path.open("rb") as stream:
        header = stream.read(26)
    return header[24], header[25]


def _is_deep_colour(image: Image.Image, path: Path, doubts: list[str]) -> bool:
    """Whether the image has several 16-bit channels, of which Pillow keeps the upper 8 bits.

    For `_ROUNDED` forms that is enough, with a doubt.
    """
    if any(_ROUNDED.fullmatch(_raw_mode(tile)) for tile in _tiles(image)):
        doubts.append("its colours have 16 bits, of which the upper 8 are taken")
        return False
    if image.format == "PNG":
        bits, colour = _png_header(path)
        return bits == 16 and colour != 0
    if image.format == "PPM":
        return any(_DEEP.fullmatch(_raw_mode(tile)) for tile in _tiles(image))
    bits_of = getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, (8,))
    deep = len(bits_of) > 1 and max(bits_of) > 8
    if deep and image_samples.in_planes(image):  # Pillow keeps only the upper bytes of these
        raise InputError(_NOT_KNOWN)
    return deep


def _deep_grey(path: Path, page: int) -> np.ndarray:
    """f32[h, w], 0..65535, of 16-bit colour that is grey, oriented by its EXIF entry.

    Pillow's decoders reduce 16-bit samples to their upper byte. They run twice, once for each byte:
    the lower byte is the upper one in the other byte order.
    """
    halves = []
    for upper in (True, False):
        with path.open("rb") as stream, Image.open(stream) as image:
            image.seek(page)
            assert isinstance(image, ImageFile.ImageFile)
            image_samples.set_layout(image)
            _take_byte(image, upper)
            image.load()
            halves.append(np.asarray(image).astype(np.uint16))
            turn = _TURNS.get(image.getexif().get(_ORIENTATION, 1))
            order, hides = image.info.get(_ORDER), image_samples.hides(image)
    if order is not None:  # the four bytes of grey and alpha were read as four channels
        values = np.ascontiguousarray(halves[0].astype(np.uint8)).view(f"{order}u2")
        array = values[..., 0].astype(np.float32)
    else:
        values = halves[0] * np.uint16(256) + halves[1]
        array = grey(values[..., :3])
    if values.shape[-1] in (2, 4) and hides:
        array = array * _opaque(values[..., -1])
    return array if turn is None else np.ascontiguousarray(turn(array))


def _take_byte(image: Image.Image, upper: bool) -> None:
    """Sets which byte of a 16-bit colour sample the decoder keeps."""
    assert isinstance(image, ImageFile.ImageFile)
    tiles = []
    for tile in image.tile:
        given, raw = tile.args or ("",), _raw_mode(tile)
        grey_alpha = _DEEP_GREY_ALPHA.fullmatch(raw)
        match = grey_alpha or _DEEP.fullmatch(raw)
        if match is None:
            raise InputError(_NOT_KNOWN)
        order = match[match.lastindex or 1]
        little = order == "L" or (order == "N" and sys.byteorder == "little")
        if grey_alpha:
            image.info[_ORDER] = "<" if little else ">"
            wanted = "RGBA"
        else:
            wanted = f"{match[1]};16{'L' if little == upper else 'B'}"
        args = wanted if isinstance(given, str) else (wanted, *given[1:])
        tiles.append(tile._replace(args=args))
    image.tile = tiles


def _tiles(image: Image.Image) -> list[Any]:
    assert isinstance(image, ImageFile.ImageFile)
    return list(image.tile)


def _raw_mode(tile: Any) -> str:
    """Pillow's name for the layout of a tile's samples in the file."""
    given = tile.args or ""
    return str(given if isinstance(given, str) else given[0])


def _grey_array(image: Image.Image, samples: image_samples.Samples) -> np.ndarray:
    if image.mode == "1":
        image = image.convert("L")
    if image.mode in ("L", "F", "I") or image.mode.startswith("I;16"):
        if "transparency" not in image.info:
            return samples.values(np.asarray(image))
        if image.mode != "L":  # one value of 16 bits is transparent
            array = np.asarray(image).astype(np.float32)
            return np.where(array == image.info["transparency"], np.float32(0), array)
        image = image.convert("RGBA")
    if image.mode == "CMYK":
        return grey(np.asarray(_without_inks(image)), tolerance=_INK_TOLERANCE)
    if image.mode in ("P", "PA", "LA", "La", "RGBa", "RGBX", "RGB", "YCbCr"):
        image = image.convert("RGBA" if image.mode != "YCbCr" else "RGB").convert("RGBA")
    if image.mode != "RGBA":
        raise InputError(f"image of mode {image.mode}: expected 8- or 16-bit grey")
    values = np.asarray(image)
    return grey(values[..., :3]) * _opaque(values[..., 3])


def _opaque(alpha: np.ndarray) -> np.ndarray:
    """f32 in 0..1; 1 if everything is transparent: programs without alpha support leave 0 there."""
    full = np.float32(np.iinfo(alpha.dtype).max)
    return alpha.astype(np.float32) / full if alpha.any() else np.ones(alpha.shape, np.float32)


def _without_inks(image: Image.Image) -> Image.Image:
    """CMYK as RGB: by the file's colour profile, if it has a usable one."""
    profile = image.info.get("icc_profile")
    if profile:
        try:
            own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            found = ImageCms.profileToProfile(
                image, own, ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
        except ImageCms.PyCMSError:
            found = None
        if found is not None:
            return found
    return image.convert("RGB")
