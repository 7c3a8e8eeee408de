"""Samples of TIFF and PNM files that Pillow reads wrongly, only to 8 bits, or not at all."""

import re
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageFile, TiffImagePlugin

_BITS_PER_SAMPLE, _PHOTOMETRIC, _PLANAR, _SAMPLE_FORMAT = 258, 262, 284, 339
_MIN_IS_WHITE, _SEPARATE = 0, 2
_UNSIGNED, _SIGNED = 1, 2
# ExtraSamples: the meaning of a further channel.
_EXTRA, _UNKNOWN, _MULTIPLIED, _ALPHA = 338, 0, 1, 2
# Maps byte order, photometric interpretation, sample format, fill order, bits and further samples
# to Pillow's mode and the layout of the samples. Only entries that Pillow lacks are added.
_FORMS: dict[Any, tuple[str, str]] = {
    (b"MM", 0, (1,), 1, (16,), ()): ("I;16B", "I;16B"),
    (b"MM", 1, (1,), 1, (32,), ()): ("I", "I;32B"),
    **{
        (order, photometric, (3,), 1, (64,), ()): ("F", form)
        for order, form in ((b"II", "F;64F"), (b"MM", "F;64BF"))
        for photometric in (0, 1)
    },
    **{
        (order, 0, (_SIGNED,), 1, (bits,), ()): ("I", form)
        for order, bits, form in (
            (b"II", 16, "I;16S"),
            (b"MM", 16, "I;16BS"),
            (b"II", 32, "I;32S"),
            (b"MM", 32, "I;32BS"),
        )
    },
    # 16-bit grey with a second channel: its four bytes are read as a pixel of RGBA.
    **{
        (order, 1, (_UNSIGNED,), 1, (16, 16), (extra,)): ("RGBA", form)
        for order, form in ((b"II", "LA;16L"), (b"MM", "LA;16B"))
        for extra in (_UNKNOWN, _MULTIPLIED, _ALPHA)
    },
}
for _key, _form in _FORMS.items():
    TiffImagePlugin.OPEN_INFO.setdefault(_key, _form)
# libtiff returns samples in the machine's byte order. Pillow knows that of unsigned 16 bits only.
_BIG = re.compile(r"(I;16|I;32|F;32|F;64)B(S|F|)")
_GREY_ALPHA = re.compile(r"LA;16[LB]")
# The layout of more than 8 bits in PNM files, by Pillow's mode.
_RAW = {"L": "I;16B", "RGB": "RGB;16B"}


def set_layout(image: ImageFile.ImageFile) -> None:
    """Sets how the decoder of an image that is not loaded yet reads the samples in the file.

    Pillow unpacks PNM files of more than 8 bits pixel by pixel, and colours to 8 bits.
    """
    image.tile = [_laid_out(tile) for tile in image.tile]


def _laid_out(tile: Any) -> Any:
    if tile.codec_name == "libtiff" and (form := _BIG.fullmatch(tile.args[0])):
        return tile._replace(args=(f"{form[1]}N{form[2]}", *tile.args[1:]))
    if tile.codec_name == "libtiff" and _GREY_ALPHA.fullmatch(tile.args[0]):
        return tile._replace(args=("LA;16N", *tile.args[1:]))
    if tile.codec_name == "ppm" and tile.args[1] > 255:
        return tile._replace(codec_name="raw", args=_RAW[tile.args[0]])
    return tile


def in_planes(image: Image.Image) -> bool:
    """Whether the channels are stored one after the other."""
    tags = getattr(image, "tag_v2", {})
    return tags.get(_PLANAR, 1) == _SEPARATE and len(tags.get(_BITS_PER_SAMPLE, (8,))) > 1


def hides(image: Image.Image) -> bool:
    """Whether the other channels still have to be multiplied by the last of two or four."""
    extra = getattr(image, "tag_v2", {}).get(_EXTRA, (_ALPHA,))
    return extra == (_ALPHA,)


class Samples(NamedTuple):
    """The interpretation of a TIFF file's samples: SampleFormat, bits, WhiteIsZero."""

    form: int = _UNSIGNED
    bits: int = 8
    white_is_zero: bool = False

    @classmethod
    def of(cls, image: Image.Image) -> "Samples":
        """Those of an opened image; plain ones if it is not a TIFF."""
        tags = getattr(image, "tag_v2", {})
        return cls(
            tags.get(_SAMPLE_FORMAT, (_UNSIGNED,))[0],
            tags.get(_BITS_PER_SAMPLE, (1,))[0],
            tags.get(_PHOTOMETRIC) == _MIN_IS_WHITE,
        )

    def values(self, array: np.ndarray) -> np.ndarray:
        """f32[h, w], white high, of a grey image's array in Pillow's dtype.

        Pillow reads signed 8 bits as unsigned and unsigned 32 bits as signed, and inverts
        WhiteIsZero for images of up to 8 bits.
        """
        if (self.form, self.bits) == (_SIGNED, 8):
            array = array.view(np.int8)
        elif (self.form, self.bits) == (_UNSIGNED, 32) and array.dtype == np.int32:
            array = array.view(np.uint32)
        values = array.astype(np.float32)
        if not self.white_is_zero or self.bits <= 8:
            return values
        if (self.form, self.bits) == (_UNSIGNED, 16):
            return np.float32(65535) - values
        finite = values[np.isfinite(values)]
        return np.float32(finite.min(initial=0) + finite.max(initial=0)) - values
