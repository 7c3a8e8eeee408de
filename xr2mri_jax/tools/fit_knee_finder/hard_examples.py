"""Hard training examples: deformed knees, metal, pasted films, upside-down and lateral views."""

from collections.abc import Sequence

import jax
import numpy as np
from scipy import ndimage
from skimage import draw

from xr2mri_jax.phantom import case
from xr2mri_jax.phantom.film import LETTERS
from xr2mri_jax.phantom.radiograph import scale
from xr2mri_jax.tools.fit_knee_finder.pictures import Picture, enhanced, nowhere

# Voxels (d, h, w) of the phantom for lateral views.
LATERAL_SHAPE = (96, 128, 48)


def deformed(picture: Picture, rng: np.random.Generator) -> Picture:
    """A knee deformed as by severe arthritis: bent bones, a closed compartment, dense margins."""
    (side,) = np.flatnonzero(np.isfinite(picture.points[:, 0, 0])).tolist()
    centre, first, second = picture.points[side]
    length = float(np.linalg.norm(second - first))
    shape = picture.image.shape
    field = np.stack([_smooth_noise(rng, shape, length * 0.22) for _ in range(2)])
    shift = field * rng.uniform(0.0, 0.035) * length + _closing(picture, side, rng)
    grid = np.indices(shape, np.float32)
    image = ndimage.map_coordinates(
        picture.image.astype(np.float32), grid + shift, order=1, mode="nearest"
    )
    points = picture.points.copy()
    for number, point in enumerate((centre, first, second)):
        row, column = np.clip(np.rint(point).astype(int), 0, np.array(shape) - 1)
        # The picture at a point now shows the content from point + shift.
        points[side, number] = point - shift[:, row, column]
    image = _dense(image, points[side], rng)
    return Picture(np.clip(image, 0, 255).astype(np.uint8), points)


def _smooth_noise(rng: np.random.Generator, shape: Sequence[int], sigma: float) -> np.ndarray:
    """f32[h, w] of standard deviation 1 that varies over about `sigma` pixels."""
    step = max(1, int(sigma / 4))
    coarse = [-(-n // step) + 1 for n in shape]
    noise = ndimage.gaussian_filter(rng.normal(size=coarse), sigma / step)
    fine = ndimage.zoom(noise, step, order=1)[: shape[0], : shape[1]]
    return (fine / max(float(fine.std()), 1e-9)).astype(np.float32)


def _closing(picture: Picture, side: int, rng: np.random.Generator) -> np.ndarray:
    """f32[2, h, w]: moves the tibia up at one end of the joint line, so that its space closes."""
    _, first, second = picture.points[side]
    length = float(np.linalg.norm(second - first))
    rows, columns = np.indices(picture.image.shape, np.float32)
    along = (columns - first[1]) / max(second[1] - first[1], 1.0)
    line = first[0] + along * (second[0] - first[0])
    share = np.clip(along if rng.random() < 0.5 else 1 - along, 0, 1)
    moved = rng.uniform(0.0, 0.05) * length * share
    below = 1 / (1 + np.exp(-(rows - line) / (0.012 * length)))
    fading = np.exp(-np.maximum(rows - line, 0) / (0.5 * length))
    return np.stack([moved * below * fading, np.zeros_like(rows)])


def _dense(image: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Adds bright bone along the joint line and spurs at its ends, of random strength."""
    _, first, second = points
    length = float(np.linalg.norm(second - first))
    grid = np.moveaxis(np.indices(image.shape, np.float32), 0, -1)
    contrast = max(float(image.std()), 8.0)
    for _ in range(int(rng.integers(0, 6))):
        share = rng.choice([0.0, 1.0]) if rng.random() < 0.5 else rng.uniform(0, 1)
        middle = first + share * (second - first) + rng.normal(0, 0.04, 2) * length
        size = rng.uniform(0.02, 0.12, 2) * length * (1.0, 1.6)
        bump = np.exp(-0.5 * (((grid - middle) / size) ** 2).sum(-1))
        image = image + rng.uniform(-0.5, 1.5) * contrast * bump
    return image


def with_metal(picture: Picture, rng: np.random.Generator) -> Picture:
    """A knee with a prosthesis, or with plates and screws: saturated shapes with sharp edges."""
    (side,) = np.flatnonzero(np.isfinite(picture.points[:, 0, 0])).tolist()
    points = picture.points[side]
    image = picture.image.copy()
    bright = int(rng.integers(225, 256))
    if rng.random() < 0.5:
        _prosthesis(image, points, bright, rng)
    else:
        _screws(image, points, bright, rng)
    return Picture(image, picture.points)


def _prosthesis(
    image: np.ndarray, points: np.ndarray, bright: int, rng: np.random.Generator
) -> None:
    """A femoral cap above the joint line, a tibial tray with a stem below it."""
    _, first, second = points
    along = second - first
    across = np.array([along[1], -along[0]])
    across = across if across[0] > 0 else -across

    def at(share: float, down: float) -> np.ndarray:
        return first + share * along + down * across

    gap, wide = rng.uniform(0.03, 0.06), rng.uniform(0.02, 0.06)
    high = rng.uniform(0.15, 0.35)
    for middle in (0.27, 0.73):
        turns = np.linspace(0, 2 * np.pi, 40)
        cap = [at(middle + 0.23 * np.cos(t), -gap - high / 2 + high / 2 * np.sin(t)) for t in turns]
        _fill(image, cap, bright)
    _fill(
        image,
        [at(0.25, -gap - 0.1), at(0.75, -gap - 0.1), at(0.75, -high), at(0.25, -high)],
        bright,
    )
    tray = [at(wide, gap), at(1 - wide, gap), at(1 - wide, gap + 0.06), at(wide, gap + 0.06)]
    _fill(image, tray, bright)
    stem, low = rng.uniform(0.04, 0.1), rng.uniform(0.2, 0.6)
    _fill(image, [at(0.5 - stem, gap), at(0.5 + stem, gap), at(0.52, low), at(0.48, low)], bright)


def _screws(image: np.ndarray, points: np.ndarray, bright: int, rng: np.random.Generator) -> None:
    """One plate along a bone's margin and some screws across it."""
    centre, first, second = points
    along = second - first
    length = float(np.linalg.norm(along))
    below = 1.0 if rng.random() < 0.7 else -1.0
    edge = first if rng.random() < 0.5 else second
    inward = (centre - edge) / max(float(np.linalg.norm(centre - edge)), 1.0)
    start = edge + np.array([below * rng.uniform(0.03, 0.15) * length, 0.0])
    end = start + np.array([below * rng.uniform(0.2, 0.5) * length, 0.0]) + 0.15 * length * inward
    if rng.random() < 0.7:
        _bar(image, start, end, rng.uniform(0.03, 0.07) * length, bright)
    for _ in range(int(rng.integers(1, 6))):
        head = start + rng.uniform(0, 1) * (end - start)
        tip = head + rng.uniform(0.3, 0.9) * length * (inward + rng.normal(0, 0.15, 2))
        _bar(image, head, tip, rng.uniform(0.015, 0.04) * length, bright)


def _bar(image: np.ndarray, start: np.ndarray, end: np.ndarray, width: float, bright: int) -> None:
    along = (end - start) / max(float(np.linalg.norm(end - start)), 1e-6)
    side = np.array([-along[1], along[0]]) * width / 2
    _fill(image, [start - side, start + side, end + side, end - side], bright)


def _fill(image: np.ndarray, corners: Sequence[np.ndarray], bright: int) -> None:
    rows, columns = np.array(corners).T
    image[draw.polygon(rows, columns, image.shape)] = bright


def pasted_film(right: Picture | None, left: Picture | None, rng: np.random.Generator) -> Picture:
    """One or two crops with sharp edges on a dark, grey or bright background with letters.

    Args:
      right, left: crops of a right and of a left knee; one may be None.
      rng: of sizes, margins, the gap and everything else.
    """
    size = int(rng.integers(110, 180))
    crops = [_resized(one, size, rng) for one in (right, left) if one is not None]
    heights = [one.image.shape[0] for one in crops]
    gap = int(rng.uniform(0.0, 0.6) * size) if len(crops) == 2 else 0
    margin = (rng.uniform(0.0, 0.7, 4) * size * rng.choice([0.3, 1.0])).astype(int)
    rows = max(heights) + int(margin[0] + margin[1])
    columns = sum(one.image.shape[1] for one in crops) + gap + int(margin[2] + margin[3])
    ground = float(rng.choice([0.0, rng.uniform(0, 40), rng.uniform(0, 255)], p=[0.4, 0.5, 0.1]))
    canvas = np.full((rows, columns), ground, np.float32)
    points, column = nowhere(), int(margin[2])
    for one in crops:
        top = int(margin[0]) + int(rng.uniform(0, max(heights) - one.image.shape[0] + 1))
        height, width = one.image.shape
        canvas[top : top + height, column : column + width] = one.image
        known = np.isfinite(one.points[:, 0, 0])
        points[known] = one.points[known] + (top, column)
        column += width + gap
    if rng.random() < 0.4:
        _letter(canvas, rng)
    canvas += rng.normal(0, rng.uniform(0, 4), canvas.shape)
    return Picture(np.clip(canvas, 0, 255).astype(np.uint8), points)


def _resized(crop: Picture, size: int, rng: np.random.Generator) -> Picture:
    """A crop of about `size` pixels, with up to a quarter cut off at top and bottom."""
    zoom = size * rng.uniform(0.9, 1.1) / crop.image.shape[1]
    image = ndimage.zoom(
        crop.image.astype(np.float32), zoom, order=1, grid_mode=True, mode="nearest"
    )
    top, bottom = (rng.uniform(0, 0.25, 2) * image.shape[0] * (rng.random() < 0.5)).astype(int)
    image = image[top : image.shape[0] - bottom]
    points = (crop.points + 0.5) * zoom - 0.5 - np.array([top, 0])
    level = rng.uniform(0.6, 1.1), rng.uniform(-20, 20)
    return Picture(np.clip(image * level[0] + level[1], 0, 255).astype(np.uint8), points)


def _letter(canvas: np.ndarray, rng: np.random.Generator) -> None:
    """Draws a bright R or L anywhere, independent of the knee below it."""
    rows = LETTERS["right" if rng.random() < 0.5 else "left"]
    letter = np.array([[mark == "#" for mark in row] for row in rows])
    letter = np.kron(letter, np.ones([int(rng.integers(1, 5))] * 2, bool))
    high, wide = letter.shape
    top = int(rng.integers(max(1, canvas.shape[0] - high)))
    left = int(rng.integers(max(1, canvas.shape[1] - wide)))
    part = canvas[top : top + high, left : left + wide]
    part[letter[: part.shape[0], : part.shape[1]]] = rng.uniform(200, 255)


def not_upright(picture: Picture, rng: np.random.Generator) -> Picture:
    """A real knee upside down, on its side, or upright with dark bone: none is a valid knee."""
    if rng.random() < 0.35:
        return Picture(255 - picture.image, nowhere())
    turns = int(rng.choice([1, 2, 2, 2, 3]))
    image = picture.image[::-1] if rng.random() < 0.3 else np.rot90(picture.image, turns)
    return Picture(np.ascontiguousarray(image), nowhere())


def lateral_views(seed: int, number: int, rng: np.random.Generator) -> list[Picture]:
    """Phantom knees seen from the side, cut and processed at random: not frontal knees."""
    d, h, w = LATERAL_SHAPE
    parts = case.compiled_parts(LATERAL_SHAPE)
    views = []
    for index in range(number):
        parameters, surfaces, _ = case.draw(seed, index)
        voxels = parts.voxelise(parameters, parts.place(parameters), surfaces)
        path = jax.device_get(voxels.attenuation).sum(axis=2) * 128.0 / w
        image = np.asarray(scale(path.T, (128.0 / h, 128.0 / d)))[..., 0] * 255
        views.append(
            Picture(ndimage.zoom(image, (1.5, 1.5 * h / d), order=1).astype(np.uint8), nowhere())
        )
    return [_cut_view(views[int(rng.integers(number))], rng) for _ in range(3 * number)]


def _cut_view(view: Picture, rng: np.random.Generator) -> Picture:
    image = view.image[:, ::-1] if rng.random() < 0.5 else view.image
    rows, columns = image.shape
    top, bottom, left, right = (rng.uniform(0, 0.3, 4) * (rows, rows, columns, columns)).astype(int)
    image = image[top : rows - bottom, left : columns - right]
    if rng.random() < 0.5:
        image = np.pad(image, int(rng.integers(4, 60)), constant_values=int(rng.integers(0, 30)))
    return Picture(enhanced(np.ascontiguousarray(image), rng), nowhere())
