"""Training views: a picture rotated, mirrored, zoomed and re-exposed, with its target maps."""

import math

import numpy as np
from scipy import ndimage

from xr2mri_jax.preprocess.knee_finder.network import CELLS
from xr2mri_jax.preprocess.knee_finder.view import SIZE, normalise
from xr2mri_jax.tools.fit_knee_finder.pictures import Picture

# Standard deviation of the target around a point, in cells of a map.
TARGET_CELLS = 0.9


def training_view(
    picture: Picture, rng: np.random.Generator, zoom: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Draws a view of a picture.

    Args:
      picture: with any number of knees.
      rng: of all variation.
      zoom: view one knee closely, as in the second look, instead of the whole picture.

    Returns:
      f32[SIZE, SIZE, 2] of `view.normalise`, and f32[6, CELLS * CELLS + 1], the target.
    """
    if rng.random() < 0.5:
        picture = mirrored(picture)
    matrix, shift = _placement(picture, rng, zoom)
    level = 0
    image = picture.image.astype(np.float32)
    scale = math.sqrt(abs(np.linalg.det(matrix)))
    while scale > 1.6:  # halve first: the warp below samples single points
        rows, columns = (n // 2 * 2 for n in image.shape)
        image = image[:rows, :columns].reshape(rows // 2, 2, columns // 2, 2).mean((1, 3))
        scale, level = scale / 2, level + 1
    size = 2.0**level
    offset = (shift + 0.5) / size - 0.5
    warped = ndimage.affine_transform(
        image, matrix / size, offset, (SIZE, SIZE), order=1, mode="constant", cval=-1.0
    )
    inside = warped >= 0
    points = (picture.points - shift) @ np.linalg.inv(matrix).T
    view = normalise(_exposed(np.maximum(warped, 0.0) / 255.0, rng), inside)
    return view, target_maps(points)


def mirrored(picture: Picture) -> Picture:
    """The picture mirrored: a right knee becomes a left one."""
    points = picture.points[::-1][:, [0, 2, 1]].copy()
    points[..., 1] = picture.image.shape[1] - 1 - points[..., 1]
    return Picture(picture.image[:, ::-1], points)


def _placement(
    picture: Picture, rng: np.random.Generator, zoom: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The view's mapping: picture (row, col) = matrix @ view (row, col) + shift."""
    turn = math.radians(float(np.clip(rng.normal(0, 4), -12, 12)))
    known = np.flatnonzero(np.isfinite(picture.points[:, 0, 0]))
    rows, columns = picture.image.shape
    if zoom and len(known):
        centre, first, second = picture.points[rng.choice(known)]
        length = float(np.linalg.norm(second - first))
        side = length * math.exp(rng.normal(math.log(1.4), 0.17))
        middle = centre + rng.normal(0, 0.09, 2) * length
    else:
        side = max(rows, columns) * math.exp(rng.normal(-0.03, 0.15))
        middle = np.array([(rows - 1) / 2, (columns - 1) / 2]) + rng.normal(0, 0.05, 2) * side
    step = side / SIZE * np.exp(rng.normal(0, 0.03, 2))
    c, s = math.cos(turn), math.sin(turn)
    matrix = np.array([[c, -s], [s, c]]) * step
    return matrix, middle - matrix @ np.full(2, (SIZE - 1) / 2)


def _exposed(view: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Simulates another exposure and processing: field, contrast curve, blur, noise, shutters."""
    row, column = np.mgrid[:SIZE, :SIZE] / SIZE - 0.5
    field = rng.normal(0, 0.25, 2)
    view = np.clip(view * (1 + field[0] * row + field[1] * column), 0, None)
    view = view ** math.exp(rng.normal(0, 0.3))
    if rng.random() < 0.3:
        low, high = rng.uniform(0, 0.25), rng.uniform(0.75, 1.0)
        view = np.clip((view - low) / (high - low), 0, 1)
    if rng.random() < 0.3:
        view = ndimage.gaussian_filter(view, rng.uniform(0.3, 1.2))
    if rng.random() < 0.6:
        view = view + rng.normal(0, rng.uniform(0.005, 0.06), view.shape)
    if rng.random() < 0.15:
        margin = int(rng.integers(2, 14))
        view = np.rot90(view, turn := int(rng.integers(4))).copy()
        view[:margin] = rng.choice([0.0, 1.0])
        view = np.rot90(view, -turn)
    return view.astype(np.float32)


def target_maps(points: np.ndarray) -> np.ndarray:
    """Target maps of the points: f32[6, CELLS * CELLS + 1], each row sums to 1.

    Args:
      points: f64[2, 3, 2], (row, col) in pixels of the view, NaN if absent. Points outside the
        view count as absent.
    """
    cells = (points.reshape(-1, 2) - 0.5) / 2
    target = np.zeros((len(cells), CELLS * CELLS + 1), np.float32)
    grid = np.arange(CELLS)
    for line, (row, column) in zip(target, cells, strict=True):
        if not (-0.5 <= row <= CELLS - 0.5 and -0.5 <= column <= CELLS - 0.5):
            line[-1] = 1.0
            continue
        bell = np.exp(-0.5 * ((grid - row) / TARGET_CELLS) ** 2)[:, None] * np.exp(
            -0.5 * ((grid - column) / TARGET_CELLS) ** 2
        )
        line[:-1] = (bell / bell.sum()).ravel()
    return target
