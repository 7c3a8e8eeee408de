"""Intensity windows: robust limits of an image, their application and its inverse."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from skimage.measure import label

from xr2mri_jax.errors import InputError

# A plateau at the border of the image is a collimator shutter if it covers at least this fraction
# of the pixels. The limit is well above the fraction clipped by a 1..99 percent window, so that an
# image that was windowed before is not mistaken for a collimated one.
SHUTTER_SHARE = 0.05
# Resampling blurs a shutter's edge over this many pixels.
SHUTTER_RIM = 3


def exposed_area(image: np.ndarray) -> np.ndarray:
    """Finds the exposed pixels, which are all pixels except shutters and saturated margins.

    A shutter is a connected area at the lowest or highest value of the image that touches the
    border and covers more than 5 percent of the image, with its blurred rim of 3 pixels.

    Args:
      image: f32[h, w], finite, any range.

    Returns:
      bool[h, w]; all True if no shutter is found.
    """
    exposed = np.ones(image.shape, bool)
    for value in (image.min(), image.max()):
        flat = image == value
        if np.count_nonzero(flat) <= SHUTTER_SHARE * flat.size:
            continue
        plateaus = label(flat, connectivity=1)
        border = np.concatenate([plateaus[0], plateaus[-1], plateaus[:, 0], plateaus[:, -1]])
        for plateau in np.unique(border[border > 0]):
            area = plateaus == plateau
            if area.mean() > SHUTTER_SHARE:
                exposed &= ~_with_rim(area)
    return exposed


def _with_rim(area: np.ndarray) -> np.ndarray:
    """bool[h, w] dilated by SHUTTER_RIM pixels: faster than SciPy's `binary_dilation`."""
    for _ in range(SHUTTER_RIM):
        grown = area.copy()
        grown[1:] |= area[:-1]
        grown[:-1] |= area[1:]
        grown[:, 1:] |= area[:, :-1]
        grown[:, :-1] |= area[:, 1:]
        area = grown
    return area


def percentile_window(values: np.ndarray, percentiles: Sequence[float]) -> tuple[float, float]:
    """Limits (low, high) of the values at two percentiles.

    Args:
      values: any shape, at least one finite value.
      percentiles: (low, high) in percent, 0 <= low < high <= 100.

    Raises:
      InputError: invalid percentiles, or values that are constant between them.
    """
    if len(percentiles) != 2 or not 0 <= percentiles[0] < percentiles[1] <= 100:
        raise InputError(
            f"percentiles: found {list(percentiles)}, expected two increasing numbers in 0..100"
        )
    if values.size == 0 or not np.isfinite(values).all():
        raise InputError("intensities: found none or some not finite, expected finite values")
    low, high = (float(limit) for limit in np.percentile(values, percentiles))
    if not high - low > 1e-6 * max(abs(low), abs(high)):
        raise InputError(
            f"intensities: found the constant {low:g} between the {percentiles[0]:g}th and the "
            f"{percentiles[1]:g}th percentile, expected an image with contrast (is it blank?)"
        )
    return low, high


def apply_window(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Scales low..high to 0..1 and clips values outside; f32, same shape."""
    return np.clip((values - low) / (high - low), 0.0, 1.0).astype(np.float32)


def scale_to_window(
    values: np.ndarray, counted: np.ndarray, percentiles: Sequence[float]
) -> tuple[np.ndarray, dict[str, Any]]:
    """Scales values to [0, 1] by the percentiles of the counted values.

    Args:
      values: f32, any shape.
      counted: bool of the same shape, true for values included in the percentiles.
      percentiles: as in `percentile_window`.

    Returns:
      f32 in [0, 1], same shape, and the JSON-able record {low, high, percentiles}.

    Raises:
      InputError: as `percentile_window`.
    """
    low, high = percentile_window(values[counted], percentiles)
    record = {"low": low, "high": high, "percentiles": [float(p) for p in percentiles]}
    return apply_window(values, low, high), record


def undo_window(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """The inverse of `apply_window`, except for clipped values; f32, same shape."""
    return (low + np.asarray(values, np.float64) * (high - low)).astype(np.float32)
