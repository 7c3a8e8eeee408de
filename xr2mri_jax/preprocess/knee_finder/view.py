"""Square views of a radiograph, the input of the knee finder's network, and the mapping back."""

import dataclasses
from typing import Any

import numpy as np
from scipy import sparse

from xr2mri_jax.preprocess import blur
from xr2mri_jax.preprocess.intensity import exposed_area

# Pixels of a view each way.
SIZE = 128
# Percentiles of the exposed part of a view that become 0 and 1.
WINDOW = (1.0, 99.0)
# Local contrast: standard deviation of its Gaussian, and the value added to the deviation.
LOCAL_PIXELS, LOCAL_FLOOR = 6.0, 0.05


@dataclasses.dataclass(frozen=True)
class View:
    """A square section of a radiograph.

    Attributes:
      centre: (row, col) of its middle, pixels of the radiograph.
      side: its width in columns of the radiograph.
      aspect: height of a pixel over its width; the view is square in millimetres.
    """

    centre: tuple[float, float]
    side: float
    aspect: float = 1.0

    @property
    def step(self) -> np.ndarray:
        """f64[2]: rows and columns of the radiograph per pixel of the view."""
        return np.array([self.side / self.aspect, self.side]) / SIZE

    def to_source(self, pixels: np.ndarray) -> np.ndarray:
        """Maps pixels [..., 2] of the view to (row, col) f64[..., 2] in the radiograph."""
        return np.asarray(self.centre) + (np.asarray(pixels) - (SIZE - 1) / 2) * self.step

    def from_source(self, points: np.ndarray) -> np.ndarray:
        """The inverse of `to_source`."""
        return (np.asarray(points) - np.asarray(self.centre)) / self.step + (SIZE - 1) / 2


def whole_view(shape: tuple[int, int], aspect: float = 1.0) -> View:
    """The smallest view that shows all of a radiograph of `shape`."""
    rows, columns = shape
    return View(((rows - 1) / 2, (columns - 1) / 2), max(rows * aspect, columns), aspect)


def cut(image: np.ndarray, view: View) -> tuple[np.ndarray, np.ndarray]:
    """Averages an image over the pixels of a view.

    Args:
      image: f32[h, w], finite.
      view: may reach beyond the image.

    Returns:
      f32[SIZE, SIZE], 0 where there is no image, and bool[SIZE, SIZE], true inside the image.
    """
    spans, shares, insides = [], [], []
    for axis in range(2):
        middles = view.to_source(np.arange(SIZE)[:, None].repeat(2, 1))[:, axis]
        step, n = view.step[axis], image.shape[axis]
        first = max(0, int(np.floor(middles[0] - step / 2 - 1)))
        last = min(n, int(np.ceil(middles[-1] + step / 2 + 2)))
        if first >= last:
            empty = np.zeros((SIZE, SIZE))
            return empty.astype(np.float32), empty.astype(bool)
        spans.append(slice(first, last))
        shares.append(_overlaps(middles, step, first, last, n))
        insides.append((middles >= -0.5) & (middles <= n - 0.5))
    part = np.asarray(image[spans[0], spans[1]], np.float32)
    inside = insides[0][:, None] & insides[1][None, :]
    # Sparse: every pixel counts in one or two pixels of the view, however large the radiograph is.
    averaged = shares[1] @ (shares[0] @ part).T
    return np.where(inside, averaged.T, 0.0).astype(np.float32), inside


def _overlaps(middles: np.ndarray, step: float, first: int, last: int, n: int) -> Any:
    """Sparse f32[SIZE, pixels]: weights of source pixels, a box as wide as a pixel of the view.

    If the view's pixels are finer than the image's, the box is one source pixel wide, which is
    linear interpolation. Weights sum to 1.

    Args:
      middles: f64[SIZE], centres of the view's pixels in pixels of the image.
      step: pixels of the image per pixel of the view.
      first, last: the range of image pixels that the boxes reach.
      n: pixels of the image.
    """
    width = max(step, 1.0)
    places = np.clip(middles, 0, n - 1)[:, None]
    reached = np.floor(places - width / 2 + 0.5) + np.arange(int(np.ceil(width)) + 1)
    low = np.maximum(places - width / 2, reached - 0.5)
    high = np.minimum(places + width / 2, reached + 0.5)
    weights = np.where((reached >= first) & (reached < last), np.maximum(high - low, 0.0), 0.0)
    weights = weights / np.maximum(weights.sum(1, keepdims=True), 1e-9)
    columns = np.clip(reached - first, 0, last - first - 1).astype(np.int32)
    rows = np.arange(SIZE + 1, dtype=np.int32) * weights.shape[1]
    parts = (weights.astype(np.float32).ravel(), columns.ravel(), rows)
    return sparse.csr_array(parts, shape=(SIZE, last - first))


def normalise(picture: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Two channels that depend little on exposure and processing.

    Args:
      picture: f32[SIZE, SIZE], any range.
      inside: bool[SIZE, SIZE], true inside the image.

    Returns:
      f32[SIZE, SIZE, 2]: the windowed view in [0, 1], and its local contrast: the difference from
      the local mean over the local deviation. Zeros if the view is blank.
    """
    known = picture[inside]
    if known.size == 0 or not known.max() > known.min():
        return np.zeros((SIZE, SIZE, 2), np.float32)
    exposed = inside & exposed_area(np.where(inside, picture, known.min()))
    low, high = np.percentile(picture[exposed] if exposed.mean() > 0.05 else known, WINDOW)
    if not high > low:
        return np.zeros((SIZE, SIZE, 2), np.float32)
    windowed = np.where(inside, np.clip((picture - low) / (high - low), 0.0, 1.0), 0.0)
    windowed = windowed.astype(np.float32)
    sigma = (LOCAL_PIXELS, LOCAL_PIXELS)
    difference = windowed - blur.gaussian(windowed, sigma, "nearest")
    variance = blur.gaussian(difference**2, sigma, "nearest")
    local = difference / (np.sqrt(np.maximum(variance, 0.0)) + LOCAL_FLOOR) * inside
    return np.stack([windowed, local], axis=-1).astype(np.float32)
