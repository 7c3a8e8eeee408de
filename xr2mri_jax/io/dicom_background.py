"""Finds the background of a DICOM radiograph: padding and shutters, which X-rays did not expose."""

import numpy as np
import pydicom
from scipy import ndimage

from xr2mri_jax.errors import InputError
from xr2mri_jax.io import dicom_pixels
from xr2mri_jax.io.dicom_tags import get, named, numbers, unneeded_numbers

# Padding touches the border or is a large area: single pixels of that value belong to the image.
_AREA = 0.01
_EXPOSED = 0.001  # share of the image that must remain
_SHAPES = ("RECTANGULAR", "CIRCULAR", "POLYGONAL")


def background(
    dataset: pydicom.Dataset, pixels: np.ndarray, doubts: list[str]
) -> np.ndarray | None:
    """Finds padding (PS3.3 C.7.5.1.1.2) and what a display shutter hides (C.7.6.11).

    Args:
      dataset: a single-frame grey image.
      pixels: its stored values [rows, columns].
      doubts: gets a clause for each tag that is ignored.

    Returns:
      bool[rows, columns], true where there is no image; None if there is no background.
    """
    hidden = _padding(dataset, pixels, doubts) | _shuttered(dataset, pixels.shape, doubts)
    if not hidden.any():
        return None
    if (~hidden).mean() < _EXPOSED:
        doubts.append("padding and shutters leave nothing of the image: ignored")
        return None
    return hidden


def _padding(dataset: pydicom.Dataset, pixels: np.ndarray, doubts: list[str]) -> np.ndarray:
    value = unneeded_numbers(dataset, "PixelPaddingValue", doubts)
    limit = unneeded_numbers(dataset, "PixelPaddingRangeLimit", doubts)
    if not value:
        return np.zeros(pixels.shape, bool)
    found = _with_values(dataset, pixels, int(value[0]), int((limit or value)[0]))
    areas, count = ndimage.label(found)
    if not count:
        return found
    border = np.concatenate([areas[0], areas[-1], areas[:, 0], areas[:, -1]])
    kept = np.bincount(areas.ravel(), minlength=count + 1) >= _AREA * found.size
    kept[border] = True
    kept[0] = False
    return kept[areas]


def _with_values(dataset: pydicom.Dataset, pixels: np.ndarray, one: int, other: int) -> np.ndarray:
    """Pixels whose stored values lie between two values, compared in all allocated bits.

    Files give the padding value signed or unsigned, and also beyond BitsStored, regardless of the
    pixels' type: both are compared as raw bits. Compressed pixels have no bits beyond the stored
    ones, so that a padding value beyond them matches none.
    """
    raw = dicom_pixels.raw_values(dataset)
    if raw is None:
        raw = pixels
    bits = int(dataset.BitsAllocated)
    signed = bool(dataset.PixelRepresentation)
    low, high = sorted(_wrapped(value, bits, signed) for value in (one, other))
    values = raw.astype(np.int64)
    values = values & (2**bits - 1)
    if signed:
        values = np.where(values >= 2 ** (bits - 1), values - 2**bits, values)
    return (values >= low) & (values <= high)


def _wrapped(value: int, bits: int, signed: bool) -> int:
    value &= 2**bits - 1
    return value - 2**bits if signed and value >= 2 ** (bits - 1) else value


def _shuttered(dataset: pydicom.Dataset, shape: tuple[int, ...], doubts: list[str]) -> np.ndarray:
    """Pixels outside any of the shutters; rows and columns count from 1 in the header."""
    hidden = np.zeros(shape, bool)
    value = get(dataset, "ShutterShape")
    if value is None:
        return hidden
    names = [str(one).strip().upper() for one in ([value] if isinstance(value, str) else value)]
    row, column = np.ogrid[1 : shape[0] + 1, 1 : shape[1] + 1]
    for name in names:
        try:
            hidden |= ~_opening(dataset, name, row, column)
        except InputError as error:
            doubts.append(f"{error}: the shutter is ignored")
    return hidden


def _opening(
    dataset: pydicom.Dataset, name: str, row: np.ndarray, column: np.ndarray
) -> np.ndarray:
    if name == "RECTANGULAR":
        left, right, upper, lower = (
            _edge(dataset, f"Shutter{edge}")
            for edge in (
                "LeftVerticalEdge",
                "RightVerticalEdge",
                "UpperHorizontalEdge",
                "LowerHorizontalEdge",
            )
        )
        return (column >= left) & (column <= right) & (row >= upper) & (row <= lower)
    if name == "CIRCULAR":
        middle = _several(dataset, "CenterOfCircularShutter", 2)
        radius = _edge(dataset, "RadiusOfCircularShutter")
        return (row - middle[0]) ** 2 + (column - middle[1]) ** 2 <= radius**2
    if name == "POLYGONAL":
        corners = np.reshape(_several(dataset, "VerticesOfThePolygonalShutter", 6), (-1, 2))
        return _inside(corners, row, column)
    raise InputError(
        f"{named('ShutterShape')} is not a known term, expected one of {', '.join(_SHAPES)}"
    )


def _edge(dataset: pydicom.Dataset, keyword: str) -> float:
    return _several(dataset, keyword, 1)[0]


def _several(dataset: pydicom.Dataset, keyword: str, least: int) -> tuple[float, ...]:
    found = numbers(dataset, keyword)
    if len(found) < least or len(found) > 2000 or (least == 6 and len(found) % 2):
        raise InputError(f"{named(keyword)} has {len(found)} numbers, expected {least}")
    return found


def _inside(corners: np.ndarray, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """The even-odd rule: a ray to the right crosses a polygon's edges an odd number of times."""
    inside = np.zeros(np.broadcast_shapes(row.shape, column.shape), bool)
    for (row1, column1), (row2, column2) in zip(corners, np.roll(corners, -1, 0), strict=True):
        if row1 == row2:
            continue
        between = (row >= min(row1, row2)) & (row < max(row1, row2))
        crossing = column1 + (row - row1) * (column2 - column1) / (row2 - row1)
        inside ^= between & (column <= crossing)
    return inside
