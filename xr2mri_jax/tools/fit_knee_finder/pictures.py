"""Training pictures: phantom films, real crops alone and in pairs, and images without a knee."""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage
from skimage.exposure import equalize_adapthist

from xr2mri_jax.errors import InputError
from xr2mri_jax.phantom.bilateral import BilateralRadiograph, take
from xr2mri_jax.phantom.film import Film, draw_film
from xr2mri_jax.phantom.leg import Leg, project_leg

# Film sizes (h, w) in mm and the pixel size: few, because every size is compiled.
EXTENTS = ((350.0, 430.0), (430.0, 350.0), (300.0, 400.0), (240.0, 400.0))
FILM_PIXELS = 320
# A film around one knee, in mm.
SINGLE_MM = (150.0, 140.0)


@dataclasses.dataclass(frozen=True, eq=False)
class Picture:
    """An image and the positions of its knees.

    Attributes:
      image: u8[h, w], bone bright.
      points: f64[2, 3, 2], (row, col) of centre, first and second end of the right and the left
        knee; NaN for an absent knee.
    """

    image: np.ndarray
    points: np.ndarray


def nowhere() -> np.ndarray:
    """Points of a picture without knees: f64[2, 3, 2] of NaN."""
    return np.full((2, 3, 2), np.nan)


def legs(seed: int, subjects: int) -> list[tuple[Leg, Leg]]:
    """Projected legs (right, left) of the first `subjects` of the phantom population `seed`."""
    return [(project_leg(seed, 2 * s), project_leg(seed, 2 * s + 1)) for s in range(subjects)]


def phantom_picture(
    pairs: Sequence[tuple[Leg, Leg]], rng: np.random.Generator, single: bool
) -> Picture:
    """A film of two legs, possibly of two subjects, or a section around one knee."""
    first, second = rng.integers(len(pairs), size=2).tolist()
    both = pairs[first][0], pairs[second][1]
    if single:
        number = int(rng.integers(2))
        drawn = draw_film(rng, (350.0, 430.0))
        move = (drawn.apart_mm / 2) * (1.0 if number == 0 else -1.0)
        film = dataclasses.replace(
            drawn, shift_mm=(float(rng.normal(0, 6)), move), rotation_deg=0.0, level_mm=0.0
        )
        extent, pixels = SINGLE_MM, 240
        film = _narrowed(film, rng)
    else:
        extent = EXTENTS[rng.integers(len(EXTENTS))]
        film, pixels = draw_film(rng, extent), FILM_PIXELS
    spacing = max(extent) / pixels
    shape = round(extent[0] / spacing), round(extent[1] / spacing)
    taken = take(both, film, shape, (spacing, spacing), rng)
    return Picture(enhanced((taken.image >> 8).astype(np.uint8), rng), places_of(taken))


def _narrowed(film: Film, rng: np.random.Generator) -> Film:
    """Removes the shutters in three of four films, because they are drawn for a whole film."""
    if rng.random() < 0.25:
        return dataclasses.replace(film, shutters_mm=tuple(rng.uniform(0, 12, 4).tolist()))
    return dataclasses.replace(film, shutters_mm=(0.0, 0.0, 0.0, 0.0))


def places_of(radiograph: BilateralRadiograph) -> np.ndarray:
    """The points of a film's true places; NaN for a knee whose centre is not on it."""
    points = nowhere()
    rows, columns = radiograph.image.shape
    for number, side in enumerate(("right", "left")):
        place = radiograph.places[side]
        row, column = place.centre_px
        if -0.5 < row < rows - 0.5 and -0.5 < column < columns - 0.5:
            points[number] = [place.centre_px, *place.joint_line]
    return points


def enhanced(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Applies adaptive histogram equalisation to half of the images, as in published crops."""
    if rng.random() < 0.5:
        return image
    kernel = max(8, int(min(image.shape) * rng.uniform(0.08, 0.35)))
    equal = equalize_adapthist(image, kernel_size=kernel, clip_limit=rng.uniform(0.005, 0.04))
    return np.round(equal * 255).astype(np.uint8)


@dataclasses.dataclass(frozen=True, eq=False)
class Crops:
    """Real crops of single knees.

    Attributes:
      names: of the files, without the ending.
      images: u8[n, h, w].
      sides: 0 for a right and 1 for a left knee, i[n].
      grades: the Kellgren-Lawrence grade as the folder's name.
    """

    names: list[str]
    images: np.ndarray
    sides: np.ndarray
    grades: list[str]

    def only(self, chosen: np.ndarray) -> "Crops":
        """The crops selected by bool[n]."""
        kept = np.flatnonzero(chosen).tolist()
        return Crops(
            [self.names[i] for i in kept],
            self.images[chosen],
            self.sides[chosen],
            [self.grades[i] for i in kept],
        )


def read_crops(*folders: Path) -> Crops:
    """Real crops in folders with a folder per grade, `GRADE/NAME{R,L}.png`.

    Raises:
      InputError: no such pictures, not all of one size, a name that ends in neither R nor L.
    """
    paths = []
    for folder in folders:
        found = sorted(Path(folder).glob("*/*.png"))
        if not found:
            raise InputError(f"{folder}: found no GRADE/NAME.png, expected real crops")
        paths += found
    images, sides = [], []
    for path in paths:
        if path.stem[-1] not in "RL":
            raise InputError(f"{path}: expected a name that ends in R or L, the knee's side")
        images.append(np.asarray(Image.open(path).convert("L")))
        sides.append("RL".index(path.stem[-1]))
    if len({image.shape for image in images}) != 1:
        raise InputError(f"{paths[0].parents[1]}: found pictures of several sizes, expected one")
    grades = [path.parent.name for path in paths]
    return Crops([path.stem for path in paths], np.stack(images), np.array(sides), grades)


def pair_picture(right: Picture, left: Picture, rng: np.random.Generator) -> Picture:
    """Two crops of single knees on one film: shafts are continued, the surroundings fade out."""
    height, width = int(rng.integers(220, 330)), 320
    size = rng.uniform(0.19, 0.36) * width
    apart = rng.uniform(max(1.05 * size, 0.38 * width), max(1.1 * size, 0.62 * width))
    middle = np.array([height * rng.uniform(0.38, 0.62), width * rng.uniform(0.46, 0.54)])
    canvas = np.full((height, width), rng.uniform(0, 25), np.float32)
    points = nowhere()
    for number, (crop, sign) in enumerate(((right, -1.0), (left, 1.0))):
        scale = size / crop.image.shape[1] * rng.uniform(0.93, 1.07)
        centre = middle + np.array([rng.normal(0, 0.02 * height), sign * apart / 2])
        start = centre - scale * (np.array(crop.image.shape) - 1) / 2
        _paste(canvas, crop.image, start, scale, rng)
        points[number] = crop.points[number] * scale + start
    canvas = np.clip(canvas + rng.normal(0, rng.uniform(0, 6), canvas.shape), 0, 255)
    return Picture(canvas.astype(np.uint8), points)


def _paste(
    canvas: np.ndarray,
    crop: np.ndarray,
    start: np.ndarray,
    scale: float,
    rng: np.random.Generator,
) -> None:
    """Blends a scaled crop into a canvas; its border rows continue above and below, blurred."""
    small = ndimage.gaussian_filter(crop.astype(np.float32), 0.4 / scale)
    beyond = np.concatenate([small[:6].mean(0)[None], small[-6:].mean(0)[None]])
    placed = ndimage.affine_transform(
        small, [1 / scale] * 2, -start / scale, canvas.shape, order=1, mode="nearest"
    )
    rows = (np.arange(canvas.shape[0]) - start[0]) / scale
    columns = (np.arange(canvas.shape[1]) - start[1]) / scale
    shafts = np.stack([np.interp(columns, np.arange(crop.shape[1]), line) for line in beyond])
    placed = np.where(rows[:, None] < 0, shafts[0], placed)
    placed = np.where(rows[:, None] > crop.shape[0] - 1, shafts[1], placed)
    outside = np.maximum(np.maximum(-columns, columns - (crop.shape[1] - 1)), 0.0)
    weight = np.exp(-((outside / (crop.shape[1] * rng.uniform(0.02, 0.2))) ** 2))[None, :]
    np.copyto(canvas, placed * weight + canvas * (1 - weight))


def strange_picture(known: Sequence[Picture], rng: np.random.Generator) -> Picture:
    """A picture without an upright knee: noise, shapes, textures, rotated or scrambled knees."""
    kinds = (
        _noise,
        _shapes,
        _stripes,
        functools.partial(_turned, known),
        functools.partial(_scrambled, known),
    )
    image = kinds[int(rng.integers(len(kinds)))](rng)
    low, high = float(image.min()), float(image.max())
    scaled = (image - low) / max(high - low, 1e-6) * 255
    return Picture(np.round(scaled).astype(np.uint8), nowhere())


def _noise(rng: np.random.Generator) -> np.ndarray:
    """Noise with a power-law spectrum of random exponent."""
    n = 192
    frequency = np.hypot(np.fft.fftfreq(n)[:, None], np.fft.rfftfreq(n)[None, :])
    spectrum = np.fft.rfft2(rng.normal(size=(n, n))) / (frequency + 0.01) ** rng.uniform(0, 2.2)
    return np.fft.irfft2(spectrum, (n, n))


def _shapes(rng: np.random.Generator) -> np.ndarray:
    """Overlapping soft ellipses and bars on a dark ground."""
    n = 192
    row, column = np.mgrid[:n, :n] / n
    image = np.zeros((n, n))
    for _ in range(int(rng.integers(2, 14))):
        turn = rng.uniform(0, np.pi)
        y, x = row - rng.uniform(0, 1), column - rng.uniform(0, 1)
        u = (np.cos(turn) * x + np.sin(turn) * y) / rng.uniform(0.03, 0.6)
        v = (np.cos(turn) * y - np.sin(turn) * x) / rng.uniform(0.03, 0.4)
        image += rng.uniform(-0.6, 1.0) / (1 + np.exp(20 * (np.hypot(u, v) - 1)))
    return image + rng.normal(0, 0.03, image.shape)


def _stripes(rng: np.random.Generator) -> np.ndarray:
    """Bent bright bands, like ribs, fingers or a spine."""
    n = 192
    row, column = np.mgrid[:n, :n] / n
    bend = rng.uniform(-0.6, 0.6) * (column - 0.5) ** 2 + 0.1 * ndimage.gaussian_filter(
        rng.normal(size=(n, n)), 12
    )
    phase = rng.uniform(3, 14) * (row + bend)
    across = 1 / (1 + np.exp(-rng.uniform(10, 40) * (0.4 - np.abs(column - 0.5))))
    image = (np.cos(2 * np.pi * phase) + rng.uniform(-0.5, 0.5)) * across
    return (image if rng.random() < 0.5 else image.T) + rng.normal(0, 0.1, image.shape)


def _turned(known: Sequence[Picture], rng: np.random.Generator) -> np.ndarray:
    """A knee film on its side or upside down."""
    image = known[int(rng.integers(len(known)))].image
    return np.rot90(image, int(rng.integers(1, 4))).astype(np.float64)


def _scrambled(known: Sequence[Picture], rng: np.random.Generator) -> np.ndarray:
    """The tiles of a knee film in another order."""
    image = known[int(rng.integers(len(known)))].image
    n = int(rng.integers(3, 7))
    rows, columns = (size // n for size in image.shape)
    order = rng.permutation(n * n)
    tiles = [
        image[(k // n) * rows : (k // n + 1) * rows, (k % n) * columns : (k % n + 1) * columns]
        for k in order
    ]
    return np.concatenate(
        [np.concatenate(tiles[n * row : n * row + n], axis=1) for row in range(n)]
    ).astype(np.float64)
