"""Draws measured lengths into pictures: a thin line between two points, with its length."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_COLOUR, _OUTLINE = (90, 230, 255), (0, 0, 0)
# Text height, line width and half length of the end bars, as fractions of the picture's height.
_TEXT, _LINE, _END = 1 / 12, 1 / 200, 1 / 90
_SMALLEST_TEXT = 10


class LengthMarker(NamedTuple):
    """A measured length.

    Attributes:
      ends: f64[2, 2], (row, col) in pixels, the upper end first.
      text: text below the lower end.
    """

    ends: np.ndarray
    text: str


def draw_length_markers(
    picture: np.ndarray, spans: Sequence[LengthMarker], height: float
) -> np.ndarray:
    """Draws the markers into a picture u8[h, w, 3].

    Args:
      picture: the picture as displayed.
      spans: the markers in its pixels.
      height: height in pixels of the displayed content, which scales text and lines.
    """
    if not spans:
        return picture
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    width = max(1, round(height * _LINE))
    font = ImageFont.load_default(max(_SMALLEST_TEXT, height * _TEXT))
    for span in spans:
        upper, lower = np.asarray(span.ends, np.float64)[:, ::-1]  # (x, y)
        along = lower - upper
        # The end bars are perpendicular to the line, or horizontal if its length is 0.
        length = float(np.hypot(*along))
        across = np.array([1.0, 0.0]) if length == 0 else np.array([-along[1], along[0]]) / length
        bar = across * max(height * _END, 2.0)
        draw.line([*upper, *lower], _COLOUR, width)
        for end in (upper, lower):
            draw.line([*(end - bar), *(end + bar)], _COLOUR, width)
        x, y = lower[0], lower[1] + 2 * max(height * _END, 2.0)
        draw.multiline_text(
            (x, y),
            span.text,
            _COLOUR,
            font,
            anchor="ma",
            align="center",
            stroke_width=width,
            stroke_fill=_OUTLINE,
        )
    return np.asarray(image)
