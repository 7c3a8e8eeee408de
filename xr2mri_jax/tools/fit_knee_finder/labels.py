"""Pseudo-labels of real crops: the network's detections, moved onto the dark joint space."""

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from xr2mri_jax.preprocess.knee_finder.peaks import find
from xr2mri_jax.preprocess.knee_finder.view import View, cut, normalise, whole_view

# Range along the joint line, as shares, in which each compartment's joint space is searched.
COMPARTMENTS = ((0.10, 0.38), (0.62, 0.90))
# Search distance from the line (share of its length), and size of the strip in pixels.
REACH, STRIP = 0.14, (57, 160)
# Labels with a less probable point, or that moved farther (share of the line), are dropped.
LEAST_PROBABLE, FARTHEST = 0.30, 0.10

Look = Callable[[np.ndarray], np.ndarray]


def label_crops(
    look: Look, images: np.ndarray, sides: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Finds the joint of crops with known side, and which crops have dark bone.

    Args:
      look: views f32[n, SIZE, SIZE, 2] -> probability maps f32[n, 6, cells + 1].
      images: u8[n, h, w].
      sides: 0 for right and 1 for left knees, [n].

    Returns:
      f64[n, 3, 2], (row, col) of centre, first and second end; bool[n], which are reliable;
      bool[n], which have dark bone: their labels are of the inverted image.
    """
    points = np.zeros((len(images), 3, 2))
    trusted, dark = np.zeros((2, len(images)), bool)
    for number, (image, side) in enumerate(zip(images, sides, strict=True)):
        bright = image.astype(np.float32)
        seen = [(_seen(look, one, int(side)), one) for one in (bright, 255.0 - bright)]
        (found, probable), shown = max(seen, key=lambda one: one[0][1])
        if probable > LEAST_PROBABLE:
            points[number], moved = onto_joint_space(shown, found)
            trusted[number] = moved < FARTHEST
            dark[number] = trusted[number] and shown is not bright
    return points, trusted, dark


def _seen(look: Look, image: np.ndarray, side: int) -> tuple[np.ndarray, float]:
    """The mean of three views, one of them mirrored, and the smallest probability of a point."""
    whole = whole_view(image.shape)
    pictures = [(image, 1.0, False), (image, 1.15, False), (image[:, ::-1], 1.05, True)]
    seen, chances = [], []
    for picture, zoom, flipped in pictures:
        view = View(whole.centre, whole.side * zoom)
        knee = find(look(normalise(*cut(picture, view))[None])[0])[side ^ flipped]
        points = view.to_source(knee.points)
        if flipped:
            points = points[[0, 2, 1]]
            points[:, 1] = image.shape[1] - 1 - points[:, 1]
        seen.append(points)
        chances.append(knee.probability.min())
    return np.mean(seen, axis=0), float(np.median(chances))


def onto_joint_space(image: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, float]:
    """Moves a joint line onto the dark band between the bones.

    In a strip along the line, dynamic programming follows the darkest ridge (dark against the rows
    above and below) through each compartment. The new line passes through the middles of both
    ridges, and has the old line's ends. The centre moves with the line.

    Args:
      image: f32[h, w].
      points: f64[3, 2], (row, col) of centre, first and second end.

    Returns:
      The moved points, and the larger move of the two ends as a share of the line's length.
    """
    _, first, second = points
    along = second - first
    length = float(np.linalg.norm(along))
    across = np.array([along[1], -along[0]]) / length
    across = across if across[0] > 0 else -across
    rows, columns = STRIP
    heights = np.linspace(-REACH, REACH, rows) * length
    shares = np.linspace(0.0, 1.0, columns)
    where = first + shares[None, :, None] * along + heights[:, None, None] * across
    smooth = ndimage.gaussian_filter(image, length / 130)
    strip = ndimage.map_coordinates(smooth, np.moveaxis(where, -1, 0), order=1, mode="nearest")
    darkness = _ridge(strip)
    middles, offsets = [], []
    for low, high in COMPARTMENTS:
        part = (shares >= low) & (shares <= high)
        path = _follow(darkness[:, part])
        middles.append(float(shares[part].mean()))
        offsets.append(float(np.median(heights[path])))
    slope = (offsets[1] - offsets[0]) / (middles[1] - middles[0])
    at = offsets[0] + slope * (np.array([0.5, 0.0, 1.0]) - middles[0])
    moved = points + at[:, None] * across
    return moved, float(np.abs(at[1:]).max() / length)


def _ridge(strip: np.ndarray) -> np.ndarray:
    """How much darker a pixel is than the rows above and below it, over the local contrast."""
    deviation = ndimage.gaussian_filter(strip, 12)
    contrast = np.sqrt(ndimage.gaussian_filter((strip - deviation) ** 2, 12)) + 4.0
    best = np.full(strip.shape, -np.inf)
    for gap in (4, 6, 9):
        padded = np.pad(strip, ((gap, gap), (0, 0)), mode="edge")
        above, below = padded[: -2 * gap], padded[2 * gap :]
        best = np.maximum(best, np.minimum(above, below) - strip)
    return best / contrast


def _follow(darkness: np.ndarray) -> np.ndarray:
    """Row of the darkest smooth path from the first to the last column: int[columns]."""
    rows, columns = darkness.shape
    # Prefers the line's vicinity: osteophytes and the patella's edge form bands too.
    prior = 0.6 * (np.linspace(-1, 1, rows) ** 2)[:, None]
    cost = -darkness + prior
    total, came = cost[:, 0], np.zeros((rows, columns), int)
    for column in range(1, columns):
        padded = np.pad(total, 1, constant_values=np.inf)
        moves = np.stack([padded[:-2] + 0.15, padded[1:-1], padded[2:] + 0.15])
        step = moves.argmin(0)
        came[:, column] = np.arange(rows) + step - 1
        total = moves[step, np.arange(rows)] + cost[:, column]
    path = [int(total.argmin())]
    for column in range(columns - 1, 0, -1):
        path.append(int(came[path[-1], column]))
    return np.array(path[::-1])
