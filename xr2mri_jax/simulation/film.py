"""Develops simulated radiographs with the variation between departments and collections.

The ranges bring simulated crops close to real ones (the training part of Chen 2018, doi
10.17632/56rmx5bjcr.1), for knees whose segmentations were projected: grey levels along rows, power
spectra beside and inside the bones, and the features of a network that grades real radiographs.
"""

import numpy as np
from scipy import ndimage
from skimage.exposure import equalize_adapthist

_BLUR_MM, _NOISE = (0.05, 0.25), (0.003, 0.01)
_SCATTER, _SCATTER_MM = (0.2, 0.5), 18.0
# Share and width (mm) of the enhanced fine part, and of the removed slow parts.
_EDGE, _EDGE_MM = (0.0, 1.2), 0.6
_SLOW = (((0.2, 0.5), (3.5, 6.0)), ((0.3, 0.65), (8.0, 16.0)))
# Grey level of the frame's darkest tissue; air beside the leg is darker.
_DARKEST = (0.05, 0.2)
# Share of films with adaptive equalisation, its tiles across a frame and its clip limits.
_EQUALISED, _TILES, _CLIP_LIMITS = 0.9, (6.0, 10.0), (6e-3, 2e-2)
_MARKED, _GAMMA = 0.1, 0.15


def develop(path: np.ndarray, pixel_mm: float, rng: np.random.Generator) -> np.ndarray:
    """Line integrals f32[h, w] of a frame -> a radiograph f32[h, w] in [0, 1], bone bright."""
    blurred = ndimage.gaussian_filter(np.exp(-path), rng.uniform(*_BLUR_MM) / pixel_mm)
    counts = blurred + rng.uniform(*_SCATTER) * _slow(blurred, _SCATTER_MM / pixel_mm)
    image = -np.log(np.maximum(counts, 1e-7))
    image = image + rng.normal(0, rng.uniform(*_NOISE), image.shape)
    if rng.random() < _MARKED:
        image = _with_marker(image, rng)
    # Edges are enhanced and slow variation is removed, as in digital radiography.
    image = image + rng.uniform(*_EDGE) * (image - _slow(image, _EDGE_MM / pixel_mm))
    for share, width_mm in _SLOW:
        slow = _slow(image, rng.uniform(*width_mm) / pixel_mm)
        image = image - rng.uniform(*share) * slow
    darkest = rng.uniform(*_DARKEST)
    image = darkest + (1 - darkest) * _scaled(image, 0.2, rng.uniform(98.5, 99.7))
    if rng.random() < _EQUALISED:
        size = max(4, int(image.shape[0] / rng.uniform(*_TILES)))
        image = equalize_adapthist(image, size, float(np.exp(rng.uniform(*np.log(_CLIP_LIMITS)))))
    gamma = float(np.exp(rng.normal(0, _GAMMA)))
    return (np.clip(image, 0, 1) ** gamma).astype(np.float32)


def _slow(image: np.ndarray, sigma: float) -> np.ndarray:
    return ndimage.gaussian_filter(image, sigma, mode="nearest")


def _scaled(image: np.ndarray, low: float, high: float) -> np.ndarray:
    """Scaled so that two percentiles become 0 and 1, clipped."""
    first, last = np.percentile(image, (low, high))
    return np.clip((image - first) / max(last - first, 1e-6), 0, 1)


def _with_marker(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Adds a bright bar like a marker, a screw or an implant's edge, or a dark collimator edge."""
    image = image.copy()
    high, wide = image.shape
    top, left = int(rng.integers(high - 8)), int(rng.integers(wide - 8))
    bright = rng.random() < 0.6
    rows, columns = rng.integers(2, 12, size=2) if bright else (high, int(rng.integers(2, 10)))
    if not bright:
        top, left = 0, 0 if rng.random() < 0.5 else wide - int(columns)
    image[top : top + rows, left : left + columns] += 1.5 if bright else -1.0
    return image
