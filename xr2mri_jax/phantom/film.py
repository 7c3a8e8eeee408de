"""Two projected legs on one film: position, collimation, markers, exposure, processing."""

import dataclasses
import math

import jax.numpy as jnp
import numpy as np
from scipy import ndimage

from xr2mri_jax.phantom.leg import Leg
from xr2mri_jax.phantom.radiograph import (
    BLUR_MM,
    HARMONISED,
    PHOTONS,
    SCATTER,
    SCATTER_MM,
    TISSUE_MM,
    WINDOW,
    gaussian_blur,
)

# Line integral of the attenuation of lead letters and steel beads: a few per cent pass.
METAL = 3.0
# Line integral behind a closed shutter: only scatter reaches the film.
LEAD = 8.0
LETTERS = {
    "right": ("####.", "#...#", "#...#", "####.", "#.#..", "#..#.", "#...#"),
    "left": ("#....", "#....", "#....", "#....", "#....", "#....", "#####"),
}


@dataclasses.dataclass(frozen=True)
class Film:
    """How a bilateral radiograph is taken and processed.

    Attributes:
      apart_mm: distance of the two joints.
      shift_mm: (down, right) of the middle between the joints from the film's middle.
      level_mm: how much lower the left joint lies.
      rotation_deg: of the whole scene on the film, counterclockwise as displayed.
      shutters_mm: collimated margin at the top, bottom, left and right of the film.
      black_shutters: whether the margins were blackened after processing; else they are unexposed.
      letters: whether a lead R and a lead L lie beside the legs.
      beads: whether there is a row of steel beads between the legs.
      exposure: photons relative to the phantom's usual ones.
      harmonised: share of the slow part that the processing removes.
      window: percentiles of the exposed film that become 0 and 1.
      gamma: exponent of the displayed value, > 0.
    """

    apart_mm: float = 215.0
    shift_mm: tuple[float, float] = (0.0, 0.0)
    level_mm: float = 0.0
    rotation_deg: float = 0.0
    shutters_mm: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    black_shutters: bool = False
    letters: bool = True
    beads: bool = False
    exposure: float = 1.0
    harmonised: float = HARMONISED
    window: tuple[float, float] = WINDOW
    gamma: float = 1.0


def draw_film(rng: np.random.Generator, extent_mm: tuple[float, float]) -> Film:
    """Draws a film with the variation of departments; both joints lie on `extent_mm` (h, w)."""
    height, width = extent_mm
    apart = min(rng.uniform(180.0, 260.0), width - 130.0)
    free = max((width - apart) / 2 - 55.0, 0.0)
    down = min(rng.normal(0.0, 25.0), 60.0)
    top, bottom, left, right = 0.0, 0.0, 0.0, 0.0
    if rng.random() < 0.5:
        top, bottom, left, right = rng.uniform(0.0, [0.12 * height] * 2 + [12.0] * 2).tolist()
    return Film(
        apart_mm=apart,
        shift_mm=(max(down, -60.0), float(np.clip(rng.normal(0.0, 10.0), -free, free))),
        level_mm=rng.normal(0.0, 6.0),
        rotation_deg=float(np.clip(rng.normal(0.0, 2.5), -6.0, 6.0)),
        shutters_mm=(top, bottom, left, right),
        black_shutters=bool(rng.random() < 0.5),
        letters=bool(rng.random() < 0.8),
        beads=bool(rng.random() < 0.4),
        exposure=math.exp(rng.normal(0.0, 0.5)),
        harmonised=rng.uniform(0.2, 0.75),
        window=(rng.uniform(0.5, 30.0), rng.uniform(98.5, 99.9)),
        gamma=math.exp(rng.normal(0.0, 0.3)),
    )


def on_film(film: Film, scene: tuple[float, float]) -> tuple[float, float]:
    """Maps a point of the scene, (down, right) mm from between the joints, to the film."""
    turn = math.radians(film.rotation_deg)
    down, right = scene
    return (
        film.shift_mm[0] + math.cos(turn) * down - math.sin(turn) * right,
        film.shift_mm[1] + math.sin(turn) * down + math.cos(turn) * right,
    )


def leg_on_film(film: Film, leg: Leg, point: tuple[float, float]) -> tuple[float, float]:
    """A point of a leg, (h, w) mm in its canonical frame, as (down, right) mm on the film."""
    sign = -1.0 if leg.side == "right" else 1.0
    down, right = point
    right = right if leg.side == "right" else -right
    return on_film(film, (sign * film.level_mm / 2 + down, sign * film.apart_mm / 2 + right))


def expose_film(
    legs: tuple[Leg, Leg],
    film: Film,
    shape: tuple[int, int],
    spacing: tuple[float, float],
    rng: np.random.Generator,
) -> np.ndarray:
    """Takes the radiograph of two legs: f32[rows, cols] in [0, 1], bone bright.

    The scene is projected at the legs' pixel size and interpolated to the film's pixels; noise is
    added there. The physics are those of `radiograph.expose`. There is no detail finer than a pixel
    of the legs.

    Args:
      legs: of one pixel size.
      film: as drawn.
      shape: pixels (rows, cols) of the film.
      spacing: (row_mm, col_mm).
      rng: of the noise.
    """
    pixel = legs[0].pixel_mm
    grid = [max(2, math.ceil(n * mm / pixel) + 1) for n, mm in zip(shape, spacing, strict=True)]
    down, right = (pixel * (np.arange(n) - (n - 1) / 2) for n in grid)
    path = sum(_leg_path(leg, film, down, right) for leg in legs)
    path = path + METAL * _metal(film, down, right)
    open_rows, open_columns = _open(film, down, right)
    exposed = open_rows[:, None] & open_columns[None, :]
    path = np.where(exposed, path, path + LEAD).astype(np.float32)
    size = (pixel, pixel)
    primary = gaussian_blur(jnp.exp(-path), BLUR_MM, size)
    counted = np.asarray(primary + SCATTER * gaussian_blur(primary, SCATTER_MM, size))
    integral = -np.log(counted)
    # Over the open field only: otherwise a shutter would darken its surroundings.
    share = exposed.astype(np.float32)
    slow = np.asarray(gaussian_blur(jnp.asarray(integral * share), TISSUE_MM, size))
    slow = slow / np.maximum(np.asarray(gaussian_blur(jnp.asarray(share), TISSUE_MM, size)), 0.05)
    up, across = (
        _upsample(mm, n, step) for mm, n, step in zip((down, right), shape, spacing, strict=True)
    )
    area = spacing[0] * spacing[1]
    photons = PHOTONS * film.exposure * area * up @ counted.astype(np.float32) @ across.T
    noise = rng.standard_normal(shape, dtype=np.float32) / np.sqrt(np.maximum(photons, 1.0))
    detail = up @ (integral - film.harmonised * slow).astype(np.float32) @ across.T + noise
    return _displayed(detail, film, shape, spacing)


def _displayed(
    detail: np.ndarray, film: Film, shape: tuple[int, int], spacing: tuple[float, float]
) -> np.ndarray:
    """Applies the display window over exposed pixels, gamma, and black shutters."""
    middles = [mm * (np.arange(n) - (n - 1) / 2) for n, mm in zip(shape, spacing, strict=True)]
    rows, columns = _open(film, *middles)
    exposed = detail[np.ix_(rows, columns)]
    thin = [max(1, n // 512) for n in exposed.shape]
    low, high = np.percentile(exposed[:: thin[0], :: thin[1]], film.window)
    low = max(float(low), 0.0)  # the open beam is black
    image = np.clip((detail - low) / max(high - low, 1e-6), 0.0, 1.0) ** np.float32(film.gamma)
    if film.black_shutters:
        image[~rows] = 0.0
        image[:, ~columns] = 0.0
    return image.astype(np.float32)


def _leg_path(leg: Leg, film: Film, down: np.ndarray, right: np.ndarray) -> np.ndarray:
    """f32: the leg's line integrals on the film's coarse grid; shafts continue beyond its field."""
    origin = np.array(leg_on_film(film, leg, (0.0, 0.0)))
    axes = [np.subtract(leg_on_film(film, leg, unit), origin) for unit in ((1.0, 0.0), (0.0, 1.0))]
    rotation = np.stack(axes, axis=1)  # leg (h, w) -> film (down, right), orthonormal
    matrix = rotation.T
    start = matrix @ (np.array([down[0], right[0]]) - origin) / leg.pixel_mm
    offset = start + (np.array(leg.path.shape) - 1) / 2
    step = (down[1] - down[0]) / leg.pixel_mm
    return ndimage.affine_transform(
        leg.path,
        matrix * step,
        offset,
        output_shape=(len(down), len(right)),
        order=1,
        mode="nearest",
    )


def _open(film: Film, down: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """bool[rows], bool[cols]: pixels not covered by shutters, by position in mm on the film."""
    top, bottom, left, end = film.shutters_mm
    step_down, step_right = down[1] - down[0], right[1] - right[0]
    rows = (down - down[0] >= top - step_down / 2) & (down[-1] - down >= bottom - step_down / 2)
    columns = (right - right[0] >= left - step_right / 2) & (
        right[-1] - right >= end - step_right / 2
    )
    return rows, columns


def _metal(film: Film, down: np.ndarray, right: np.ndarray) -> np.ndarray:
    """f32 in [0, 1]: the positions of letters and beads."""
    metal = np.zeros((len(down), len(right)), np.float32)
    step = down[1] - down[0]
    if film.letters:
        for side, rows in LETTERS.items():
            sign = -1.0 if side == "right" else 1.0
            glyph = np.array([[c == "#" for c in row] for row in rows], np.float32)
            glyph = np.kron(glyph, np.ones((max(1, round(2.0 / step)),) * 2, np.float32))
            centre = on_film(film, (-95.0, sign * (film.apart_mm / 2 + 78.0)))
            _stamp(metal, glyph, centre, down, right)
    if film.beads:
        for number in range(9):
            centre = on_film(film, (-40.0 + 10.0 * number, 0.0))
            distance = np.hypot(down[:, None] - centre[0], right[None, :] - centre[1])
            metal = np.maximum(metal, np.clip((1.8 - distance) / step + 0.5, 0.0, 1.0))
    return metal


def _stamp(
    metal: np.ndarray,
    glyph: np.ndarray,
    centre: tuple[float, float],
    down: np.ndarray,
    right: np.ndarray,
) -> None:
    """Draws a glyph onto the film in place, if it fits entirely."""
    first = [
        int(np.searchsorted(axis, mm)) - n // 2
        for axis, mm, n in zip((down, right), centre, glyph.shape, strict=True)
    ]
    last = [start + n for start, n in zip(first, glyph.shape, strict=True)]
    if min(first) >= 0 and last[0] <= len(down) and last[1] <= len(right):
        part = metal[first[0] : last[0], first[1] : last[1]]
        np.maximum(part, glyph, out=part)


def _upsample(coarse_mm: np.ndarray, n: int, spacing: float) -> np.ndarray:
    """f32[n, coarse]: linear interpolation to n pixels with the same middle."""
    wanted = (spacing * (np.arange(n) - (n - 1) / 2) - coarse_mm[0]) / (coarse_mm[1] - coarse_mm[0])
    first = np.clip(np.floor(wanted).astype(int), 0, len(coarse_mm) - 2)
    share = np.clip(wanted - first, 0.0, 1.0).astype(np.float32)
    matrix = np.zeros((n, len(coarse_mm)), np.float32)
    matrix[np.arange(n), first] = 1.0 - share
    matrix[np.arange(n), first + 1] = share
    return matrix
