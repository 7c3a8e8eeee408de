"""Gaussian filters of small images as products with matrices.

The results are those of `scipy.ndimage` but for the rounding of sums in float64, in a fraction of
the time where the filter is wide.
"""

import functools

import numpy as np
from scipy import ndimage


def gaussian(image: np.ndarray, sigma: tuple[float, float], mode: str = "reflect") -> np.ndarray:
    """`ndimage.gaussian_filter` of a small image.

    Args:
      image: f32[h, w], some hundred pixels each way at most.
      sigma: of rows and columns, in pixels.
      mode: how the image goes on beyond its border, as `ndimage` names it.

    Returns:
      f32[h, w].
    """
    return along_columns(along_rows(image, sigma[0], 0, mode), sigma[1], mode)


def along_rows(image: np.ndarray, sigma: float, order: int, mode: str = "reflect") -> np.ndarray:
    """`ndimage.gaussian_filter1d` along axis 0 of f32[h, w]: its derivative of `order`."""
    return (_matrix(image.shape[0], sigma, order, mode) @ image).astype(np.float32)


def along_columns(image: np.ndarray, sigma: float, mode: str = "reflect") -> np.ndarray:
    """`ndimage.gaussian_filter1d` along axis 1 of f32[h, w]."""
    return (image @ _matrix(image.shape[1], sigma, 0, mode).T).astype(np.float32)


@functools.lru_cache(64)
def _matrix(size: int, sigma: float, order: int, mode: str) -> np.ndarray:
    """f64[size, size] that filters a column."""
    return ndimage.gaussian_filter1d(np.eye(size), sigma, axis=0, order=order, mode=mode)
