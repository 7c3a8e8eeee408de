"""Brings a radiograph of one knee into the canonical frame, with a record that maps back."""

import dataclasses
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from scipy.ndimage import binary_dilation
from skimage.exposure import equalize_adapthist

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import BOX_MM, Radiograph, radiograph_affine, resample_radiograph
from xr2mri_jax.preprocess.intensity import (
    SHUTTER_RIM,
    exposed_area,
    scale_to_window,
    undo_window,
)
from xr2mri_jax.preprocess.record import frame_record, with_defaults

# percentiles: limits of the window in percent of the exposed pixels in the box. clahe: None, or
# {"clip_limit": 0..1, "kernel_mm": mm} of contrast-limited adaptive histogram equalisation.
DEFAULT_CONTRAST: Mapping[str, Any] = MappingProxyType({"percentiles": (1.0, 99.0), "clahe": None})
# Fewer pixels than this across the box, or less coverage of the box by the image, indicate a
# thumbnail or a wrong spacing.
SMALLEST_PIXELS = 32
SMALLEST_COVER = 0.25
# Brightness of the pixels outside the image in a picture, relative to their own.
DIMMED = np.float32(0.3)
# Step differences below this from whole numbers are rounding errors.
_SAME_GRID = 1e-9


@dataclasses.dataclass(frozen=True, eq=False)
class StandardRadiograph:
    """A radiograph in the canonical frame.

    Attributes:
      image: f32[h, w, 1] in [0, 1], bone bright, a left knee mirrored to a right one.
      side: the original side, "left" or "right".
      record: JSON-able; every processing step, see `standardise_radiograph`.
    """

    image: np.ndarray
    side: str
    record: dict[str, Any]


def standardise_radiograph(
    radiograph: Radiograph,
    shape: Sequence[int],
    centre: Sequence[float] | None = None,
    contrast: Mapping[str, Any] = DEFAULT_CONTRAST,
) -> StandardRadiograph:
    """Crops a radiograph of one knee to the canonical box and scales it to [0, 1].

    Pixels of the box outside the image repeat the nearest border pixel, because a black margin
    would be an edge that no training radiograph has. They are excluded from the window.

    Args:
      radiograph: f32[H, W], any range, bone bright, with spacing and side.
      shape: pixels (h, w) of the canonical grid over BOX_MM[1] x BOX_MM[2].
      centre: (row, col) of the joint centre in pixels of the radiograph, integers at pixel centres;
        None: the middle of the image, suitable for a crop around one knee.
      contrast: keys as in DEFAULT_CONTRAST; omitted keys keep their default.

    Returns:
      The radiograph in the canonical frame. Its record has source_shape, shape, spacing_mm, side,
      mirrored, centre_px, box_mm, canonical_to_source (3x3, see `source_pixels`), outside and
      inside (see `covered_box`), window {low, high, percentiles} and clahe.

    Raises:
      InputError: unknown side or spacing, an image that is too small, blank or not finite, a centre
        outside the image, too little coverage of the box, or unknown keys in `contrast`.
    """
    settings = _checked_contrast(contrast)
    centre_px = _checked_place(radiograph, centre)
    to_source = radiograph_affine(radiograph, centre_px, shape)
    inside = inside_source(to_source, shape, radiograph.shape)
    _require_cover(radiograph, inside)
    values = _cut(radiograph, centre_px, shape)
    exposed = inside & exposed_area(values)
    if radiograph.background is not None:
        exposed &= ~_cut_background(radiograph.background, to_source, shape)
    counted = exposed if exposed.any() else inside
    image, window = scale_to_window(values, counted, settings["percentiles"])
    if settings["clahe"] is not None:
        image = _equalise(image, settings["clahe"])
    record = {
        **frame_record(radiograph.shape, shape, str(radiograph.side)),
        "spacing_mm": list(radiograph.spacing or ()),
        "centre_px": list(centre_px),
        "box_mm": list(BOX_MM[1:]),
        "canonical_to_source": to_source.tolist(),
        **covered_box(inside),
        "window": window,
        "clahe": settings["clahe"],
    }
    return StandardRadiograph(image[..., None], str(radiograph.side), record)


def require_usable(radiograph: Radiograph, centre: Sequence[float] | None = None) -> None:
    """Raises InputError if `standardise_radiograph` would, without its computation."""
    centre_px = _checked_place(radiograph, centre)
    coarse = (SMALLEST_PIXELS, SMALLEST_PIXELS)
    to_source = radiograph_affine(radiograph, centre_px, coarse)
    _require_cover(radiograph, inside_source(to_source, coarse, radiograph.shape))


def spread_over_box(radiograph: Radiograph) -> Radiograph:
    """Sets the spacing of a crop such that its pixel grid fills the canonical box.

    For datasets of crops with unknown scale, in which the joint fills the image. The spacing is
    nominal, not physical. Array and side are unchanged.
    """
    rows, columns = radiograph.shape
    spacing = (BOX_MM[1] / rows, BOX_MM[2] / columns)
    return dataclasses.replace(radiograph, spacing=spacing)


def source_pixels(record: Mapping[str, Any], pixels: Any) -> np.ndarray:
    """Maps canonical pixels to the source image, mirroring undone.

    Args:
      record: of a `StandardRadiograph`.
      pixels: (row, col) of canonical pixels [..., 2], may be fractional.

    Returns:
      f64[..., 2], (row, col) in the source.
    """
    matrix = np.asarray(record["canonical_to_source"], np.float64)
    return np.asarray(pixels, np.float64) @ matrix[:2, :2].T + matrix[:2, 2]


def canonical_pixels(record: Mapping[str, Any], pixels: np.ndarray) -> np.ndarray:
    """Maps pixels of the source image to pixels of the canonical frame, see `source_pixels`."""
    matrix = np.linalg.inv(np.asarray(record["canonical_to_source"], np.float64))
    return np.asarray(pixels, np.float64) @ matrix[:2, :2].T + matrix[:2, 2]


def source_values(record: Mapping[str, Any], image: np.ndarray) -> np.ndarray:
    """Maps canonical intensities to values of the source image, except for clipped values.

    Args:
      record: of a `StandardRadiograph`.
      image: f32, any shape, in [0, 1].

    Raises:
      InputError: the contrast was equalised adaptively, which cannot be undone.
    """
    if record["clahe"] is not None:
        raise InputError("clahe: found settings in the record, expected none: it cannot be undone")
    return undo_window(image, record["window"]["low"], record["window"]["high"])


def _checked_contrast(contrast: Mapping[str, Any]) -> dict[str, Any]:
    settings = with_defaults("contrast", contrast, DEFAULT_CONTRAST)
    clahe = settings["clahe"]
    if clahe is not None:
        if set(clahe) != {"clip_limit", "kernel_mm"} or min(clahe.values()) <= 0:
            raise InputError(
                f"contrast.clahe: found {dict(clahe)}, expected positive clip_limit and kernel_mm"
            )
        settings["clahe"] = {key: float(value) for key, value in clahe.items()}
    return settings


def _checked_place(radiograph: Radiograph, centre: Sequence[float] | None) -> tuple[float, float]:
    """Checks side, spacing and size; returns the joint's centre as (row, col)."""
    if radiograph.side is None:
        raise InputError(
            "the side of the knee is unknown: the file does not state it, give --side=right or "
            "--side=left"
        )
    if radiograph.spacing is None:
        raise InputError(
            "the pixel spacing is unknown: the file does not state it, give --spacing=MM "
            "(millimetres per pixel)"
        )
    rows, columns = radiograph.shape
    if min(rows, columns) < SMALLEST_PIXELS:
        raise InputError(
            f"found an image of {rows} x {columns} pixels, expected at least {SMALLEST_PIXELS} x "
            f"{SMALLEST_PIXELS}"
        )
    if not np.isfinite(radiograph.array).all():
        raise InputError("found pixels that are not finite, expected finite values")
    if centre is None:
        return (rows - 1) / 2, (columns - 1) / 2
    row, column = (float(value) for value in centre)
    if not (0 <= row <= rows - 1 and 0 <= column <= columns - 1):
        raise InputError(
            f"--centre: found row {row:g}, column {column:g}, expected a pixel of the "
            f"{rows} x {columns} image"
        )
    return row, column


def inside_source(
    to_source: np.ndarray, shape: Sequence[int], source_shape: Sequence[int]
) -> np.ndarray:
    """bool[h, w]: canonical pixels whose centre is in the source image."""
    index = [
        to_source[axis, axis] * np.arange(n) + to_source[axis, 2] for axis, n in enumerate(shape)
    ]
    rows, columns = (
        (where > -0.5 - 1e-6) & (where < n - 0.5 + 1e-6)
        for where, n in zip(index, source_shape, strict=True)
    )
    return rows[:, None] & columns[None, :]


def covered_box(inside: np.ndarray) -> dict[str, Any]:
    """Records which pixels of the box show the radiograph.

    Args:
      inside: bool[h, w], True in a rectangle; the other pixels repeat its border.

    Returns:
      outside (fraction of the other pixels, filled with "edge") and inside (first and last row and
      column of the rectangle).
    """
    rows, columns = (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
    return {
        "outside": {"share": float(1 - inside.mean()), "fill": "edge"},
        "inside": {
            "rows": [int(rows[0]), int(rows[-1])],
            "columns": [int(columns[0]), int(columns[-1])],
        },
    }


def dimmed(standard: StandardRadiograph) -> np.ndarray:
    """The radiograph f32[h, w] in [0, 1] for a picture, dimmed where it repeats its border.

    The repeated pixels form streaks, which would look like an artefact of the image.
    """
    rows, columns = (standard.record["inside"][axis] for axis in ("rows", "columns"))
    shown = DIMMED * standard.image[..., 0]
    part = slice(rows[0], rows[1] + 1), slice(columns[0], columns[1] + 1)
    shown[part] = standard.image[(*part, 0)]
    return shown


def displayed(standard: StandardRadiograph) -> np.ndarray:
    """`dimmed` with the mirroring undone: the patient's right at the image's left."""
    return dimmed(standard)[:, ::-1] if standard.record["mirrored"] else dimmed(standard)


def _require_cover(radiograph: Radiograph, inside: np.ndarray) -> None:
    spacing = radiograph.spacing or (1.0, 1.0)
    box = f"{BOX_MM[1]:g} x {BOX_MM[2]:g} mm box around the joint"
    pixels = min(BOX_MM[1] / spacing[0], BOX_MM[2] / spacing[1])
    if pixels < SMALLEST_PIXELS:
        raise InputError(
            f"found {pixels:.0f} pixels across the {box} at a spacing of {spacing[0]:g} mm, "
            f"expected at least {SMALLEST_PIXELS}: is the spacing right?"
        )
    if inside.mean() < SMALLEST_COVER:
        raise InputError(
            f"the image covers {inside.mean():.0%} of the {box} at a spacing of {spacing[0]:g} mm, "
            f"expected at least {SMALLEST_COVER:.0%}: are spacing and centre right?"
        )


def _cut(radiograph: Radiograph, centre: tuple[float, float], shape: Sequence[int]) -> np.ndarray:
    """f32[h, w]: the box resampled, with the border repeated outside the image.

    Only the box and a margin for smoothing and interpolation are read from the source, which may
    show both legs at a tenth of a millimetre per pixel.
    """
    pixels = _whole_pixels(radiograph_affine(radiograph, centre, shape), shape)
    if pixels is not None:
        rows, columns = (
            np.clip(index, 0, n - 1) for index, n in zip(pixels, radiograph.shape, strict=True)
        )
        return radiograph.array[np.ix_(rows, columns)].astype(np.float32, copy=False)
    spacing = radiograph.spacing or (1.0, 1.0)
    indices, moved = [], []
    for axis in range(2):
        step = BOX_MM[1 + axis] / shape[axis] / spacing[axis]
        reach = BOX_MM[1 + axis] / 2 / spacing[axis] + 3 * step + 2
        first, last = int(np.floor(centre[axis] - reach)), int(np.ceil(centre[axis] + reach))
        indices.append(np.clip(np.arange(first, last + 1), 0, radiograph.shape[axis] - 1))
        moved.append(centre[axis] - first)
    part = Radiograph(radiograph.array[np.ix_(*indices)], spacing, radiograph.side)
    return resample_radiograph(part, moved, shape)[0]


def _whole_pixels(
    to_source: np.ndarray, shape: Sequence[int]
) -> tuple[np.ndarray, np.ndarray] | None:
    """Rows i[h] and columns i[w] of the source if the box's grid coincides with its pixels."""
    whole = np.rint(to_source)
    if np.abs(to_source - whole).max() > _SAME_GRID or (np.abs(np.diag(whole)) != 1).any():
        return None
    rows, columns = (
        (whole[axis, axis] * np.arange(n) + whole[axis, 2]).astype(int)
        for axis, n in enumerate(shape)
    )
    return rows, columns


def _cut_background(
    background: np.ndarray, to_source: np.ndarray, shape: Sequence[int]
) -> np.ndarray:
    """bool[h, w]: canonical pixels on the background of the source or in the blur beside it."""
    indices = [
        np.clip(np.rint(to_source[axis, axis] * np.arange(n) + to_source[axis, 2]), 0, last - 1)
        for axis, (n, last) in enumerate(zip(shape, background.shape, strict=True))
    ]
    rows, columns = (index.astype(int) for index in indices)
    return binary_dilation(background[np.ix_(rows, columns)], iterations=SHUTTER_RIM)


def _equalise(image: np.ndarray, clahe: Mapping[str, float]) -> np.ndarray:
    """Contrast-limited adaptive histogram equalisation (Zuiderveld 1994) by scikit-image."""
    kernel = [
        max(2, round(clahe["kernel_mm"] * n / box))
        for n, box in zip(image.shape, BOX_MM[1:], strict=True)
    ]
    equalised = equalize_adapthist(image, kernel_size=kernel, clip_limit=clahe["clip_limit"])
    return equalised.astype(np.float32)
