"""Crops a knee from a radiograph relative to its joint line, without any pixel spacing.

Training and inference on framed radiographs both use `frame_radiograph`.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xr2mri_jax.geometry import BOX_MM, CENTRE_ROW, LINE_SHARE, KneePlace, Radiograph
from xr2mri_jax.preprocess.radiograph import (
    DEFAULT_CONTRAST,
    StandardRadiograph,
    spread_over_box,
    standardise_radiograph,
)

# A radiograph whose only joint line spans at least this fraction of its width, and whose height and
# width differ by at most this factor, is already framed.
FILLS, SQUARE = 0.6, 1.1


def frame_radiograph(
    radiograph: Radiograph,
    place: KneePlace,
    shape: Sequence[int],
    contrast: Mapping[str, Any] = DEFAULT_CONTRAST,
) -> StandardRadiograph:
    """Crops the frame of one knee from a radiograph and scales it to [0, 1].

    A square radiograph that the joint fills, such as a crop from the Osteoarthritis Initiative, is
    not cropped, nor is one without a joint line. Otherwise the frame is a square (in millimetres,
    if pixels are not square) with a width of 1 / LINE_SHARE joint lines and the joint centre at
    CENTRE_ROW.

    Args:
      radiograph: f32[H, W], bone bright, upright; its spacing is used only for the pixel aspect.
      place: centre, joint line and side of the knee; its side overrides the radiograph's.
      shape: (h, w) of the frame in pixels.
      contrast: as for `standardise_radiograph`.

    Returns:
      f32[h, w, 1] in [0, 1], a left knee mirrored. Its record is that of `standardise_radiograph`
      with the radiograph's own spacing_mm (None if it is unknown), without box_mm, and with
      frame, "whole" or "joint_line".

    Raises:
      InputError: as `standardise_radiograph`.
    """
    sided = dataclasses.replace(radiograph, side=place.side)
    whole = is_framed(sided, place) or line_columns(place, sided) == 0
    if whole:
        standard = standardise_radiograph(spread_over_box(sided), shape, None, contrast)
    else:
        standard = _cut(sided, place, shape, contrast)
    spacing = None if radiograph.spacing is None else list(radiograph.spacing)
    record = standard.record | {"spacing_mm": spacing, "frame": "whole" if whole else "joint_line"}
    del record["box_mm"]
    return dataclasses.replace(standard, record=record)


def is_framed(radiograph: Radiograph, place: KneePlace) -> bool:
    """Whether the radiograph is square and filled by the joint."""
    rows, columns = radiograph.shape
    ratio = rows * pixel_aspect(radiograph) / columns
    share = line_columns(place, radiograph) / columns
    return share >= FILLS and 1 / SQUARE <= ratio <= SQUARE


def line_columns(place: KneePlace, radiograph: Radiograph) -> float:
    """Length of the joint line in columns of the radiograph."""
    (row1, column1), (row2, column2) = place.joint_line
    return float(np.hypot((row2 - row1) * pixel_aspect(radiograph), column2 - column1))


def pixel_aspect(radiograph: Radiograph) -> float:
    """Height of a pixel divided by its width; 1 if the spacing is unknown."""
    row_mm, column_mm = radiograph.spacing or (1.0, 1.0)
    return row_mm / column_mm


def _cut(
    radiograph: Radiograph, place: KneePlace, shape: Sequence[int], contrast: Mapping[str, Any]
) -> StandardRadiograph:
    wide = line_columns(place, radiograph) / LINE_SHARE
    high = wide / pixel_aspect(radiograph)
    row = place.centre_px[0] - (CENTRE_ROW - 0.5) * high
    # A nominal spacing that makes the canonical box equal to the frame; not a physical size.
    scaled = dataclasses.replace(radiograph, spacing=(BOX_MM[1] / high, BOX_MM[2] / wide))
    row = min(max(row, 0.0), radiograph.shape[0] - 1.0)
    return standardise_radiograph(scaled, shape, (row, place.centre_px[1]), contrast)
