"""Framing of a knee and appearance of its film, identical for real and simulated knees.

The network's radiograph is the canonical box at the scale at which the tibial plateau is
`geometry.PLATEAU_MM` wide, around the joint's centre. Crops of real radiographs show less than the
box: outside of them the border is repeated, and the contrast has been equalised.
"""

import dataclasses

import numpy as np
from scipy import ndimage
from skimage.exposure import equalize_adapthist

from xr2mri_jax.geometry import BOX_MM, CENTRE_ROW, LINE_SHARE, PLATEAU_MM

# A crop's width over the joint line's, and how far down the joint lies, with their deviations.
_FRAME, _ROW = (1 / LINE_SHARE, 0.04), (CENTRE_ROW, 0.03)
SCATTER_MM = 18.0
# Of contrast-limited adaptive histogram equalisation.
CLIP_LIMITS = (3e-3, 5e-2)


@dataclasses.dataclass(frozen=True)
class Jitter:
    """How the frame misses the knee.

    Attributes:
      shift_mm: (d, h, w) of the joint's centre from the box's.
      turn: in the frontal plane, radians.
      scale: > 1 shows the knee larger than it should.
    """

    shift_mm: tuple[float, float, float]
    turn: float
    scale: float

    @classmethod
    def draw(cls, rng: np.random.Generator, strange: float = 1.0) -> "Jitter":
        """Draws errors like those of the knee finder, times `strange`, and tilted knees."""
        depth, down, right = strange * rng.normal(0, (1.0, 1.8, 1.8))
        turn = np.deg2rad(strange * rng.normal(0, 3.0))
        return cls((depth, down, right), turn, float(np.exp(strange * rng.normal(0, 0.03))))

    def backward(self, zoom: float) -> tuple[np.ndarray, np.ndarray]:
        """Matrix and offset from mm of the box to mm of a knee whose plateau is `zoom` as wide."""
        c, s = np.cos(self.turn), np.sin(self.turn)
        matrix = zoom / self.scale * np.array([[1, 0, 0], [0, c, s], [0, -s, c]])
        return matrix, -matrix @ np.array(self.shift_mm)


def film(path: np.ndarray, jitter: Jitter, rng: np.random.Generator) -> np.ndarray:
    """Line integrals f32[h, w] over the box -> a cropped, equalised radiograph in [0, 1]."""
    pixel = BOX_MM[1] / path.shape[0]
    blurred = ndimage.gaussian_filter(np.exp(-path), rng.uniform(0.2, 0.6) / pixel)
    scattered = ndimage.gaussian_filter(blurred, SCATTER_MM / pixel, mode="nearest")
    counts = blurred + rng.uniform(0.0, 0.25) * scattered
    image = -np.log(np.maximum(counts, 1e-7))
    image = image + rng.normal(0, rng.uniform(0.0, 0.015), image.shape)
    rows, columns = _crop(path.shape, jitter, rng)
    part = image[rows, columns].astype(np.float64)
    if rng.random() < 0.15:
        part = with_marker(part, rng)
    slow = ndimage.gaussian_filter(part, rng.uniform(10, 20) / pixel, mode="nearest")
    part = scaled(part - rng.uniform(0, 0.8) * slow, rng.uniform(0.2, 2.0), rng.uniform(98, 99.9))
    if rng.random() < 0.85:
        part = equalised(part, rng)
    part = part ** float(np.exp(rng.normal(0, 0.25)))
    return filled(part, rows, columns, path.shape)


def equalised(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """f64[h, w] in [0, 1] after adaptive equalisation of a drawn strength."""
    tiles = max(4, int(image.shape[0] / rng.uniform(3, 10)))
    limit = float(np.exp(rng.uniform(*np.log(CLIP_LIMITS))))
    return equalize_adapthist(image, tiles, limit)


def canvas(frame: np.ndarray, size: int) -> np.ndarray:
    """A frame of 1 / LINE_SHARE joint lines in the canonical box: the network's radiograph.

    Args:
      frame: f32[H, W] in [0, 1]: the joint's centre at CENTRE_ROW, as `preprocess` frames.
      size: pixels of the box each way.

    Returns:
      f32[size, size]: the frame smoothed to the box's pixels, its border repeated outside of it.
    """
    pixel = BOX_MM[1] / size
    wide = PLATEAU_MM / LINE_SHARE / pixel
    step = [n / wide for n in frame.shape]
    sigma = [np.sqrt(max(f * f - 1.0, 0.0) / (8 * np.log(2))) for f in step]
    smooth = ndimage.gaussian_filter(np.asarray(frame, np.float32), sigma, mode="nearest")
    place = np.arange(size) - (size - 1) / 2
    rows = place * step[0] + CENTRE_ROW * frame.shape[0] - 0.5
    columns = place * step[1] + (frame.shape[1] - 1) / 2
    where = np.meshgrid(rows, columns, indexing="ij")
    return ndimage.map_coordinates(smooth, where, order=1, mode="nearest")


def filled(part: np.ndarray, rows: slice, columns: slice, shape: tuple[int, ...]) -> np.ndarray:
    """The crop in its box, its border repeated outside of it: f32[*shape]."""
    before = (rows.start, columns.start)
    after = (shape[0] - rows.stop, shape[1] - columns.stop)
    pads = list(zip(before, after, strict=True))
    return np.pad(part, pads, mode="edge").astype(np.float32)


def scaled(image: np.ndarray, low: float = 1.0, high: float = 99.0) -> np.ndarray:
    """Scaled so that two percentiles become 0 and 1, clipped."""
    first, last = np.percentile(image, (low, high))
    return np.clip((image - first) / max(last - first, 1e-6), 0, 1)


def _crop(shape: tuple[int, ...], jitter: Jitter, rng: np.random.Generator) -> tuple[slice, slice]:
    """The frame's rows and columns: sometimes the whole box."""
    if rng.random() < 0.1:
        return slice(0, shape[0]), slice(0, shape[1])
    wide = PLATEAU_MM * rng.normal(*_FRAME) * jitter.scale
    down = -wide * (rng.normal(*_ROW) - 0.5) + jitter.shift_mm[1]
    right = jitter.shift_mm[2] + rng.normal(0, 1.5)
    spans = []
    for n, box, middle in zip(shape, BOX_MM[1:], (down, right), strict=True):
        first = round((middle - wide / 2 + box / 2) * n / box)
        last = round((middle + wide / 2 + box / 2) * n / box)
        spans.append(slice(max(first, 0), min(last, n)))
    return spans[0], spans[1]


def with_marker(part: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A bright bar such as of a marker, a screw or an implant's edge, or a dark collimator edge."""
    part = part.copy()
    high, wide = part.shape
    top, left = int(rng.integers(high - 8)), int(rng.integers(wide - 8))
    bright = rng.random() < 0.6
    rows, columns = rng.integers(2, 12, size=2) if bright else (high, int(rng.integers(2, 10)))
    if not bright:
        top, left = 0, 0 if rng.random() < 0.5 else wide - int(columns)
    part[top : top + rows, left : left + columns] += 1.5 if bright else -1.0
    return part
