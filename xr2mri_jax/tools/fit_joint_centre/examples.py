"""Examples for the joint's centre: phantom knees in random contrasts and fields, and non-knees."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from xr2mri_jax.preprocess.joint_centre.network import GRID, VOXEL_MM, network_input
from xr2mri_jax.tools.benchmarks.joint_centre import CUBE_MM, leg

VOXELS = 48  # of the simulated piece of leg, each way
UNKNOWN = -1.0
_SHAPE = (GRID,) * 3
_MIDDLE = (GRID - 1) / 2
# Label codes that share a brightness: cartilages, bones, menisci, then one tissue each.
_GROUPS = ((1, 2, 3, 4), (5, 6, 7, 8), (9, 10), (11,), (12,), (13,), (14,), (15,), (16,), (17,))


class Leg(NamedTuple):
    """DESS signal f32[d, h, w], labels u8[d, h, w], the joint's centre (d, h, w) in mm."""

    signal: np.ndarray
    labels: np.ndarray
    centre: np.ndarray


def legs(seed: int, count: int) -> list[Leg]:
    """The first `count` knees of phantom population `seed`."""
    found = []
    for index in range(count):
        volume, labels, (x, y, z) = leg(seed, index, VOXELS)
        found.append(Leg(volume.array, labels, np.array([-y, -z, -x])))
    return found


def example(rng: np.random.Generator, knees: Sequence[Leg]) -> tuple[np.ndarray, np.ndarray]:
    """One example: four of five show a knee, most of these the joint.

    Returns:
      f32[GRID, GRID, GRID, 2], the network's input, and the joint's centre in voxels (d, h, w),
      f32[3], UNKNOWN if the joint is outside the field.
    """
    show = _knee if rng.random() < 0.8 else _no_knee
    image, mask, centre = show(rng, knees[int(rng.integers(len(knees)))])
    return network_input(image, mask), centre.astype(np.float32)


def _knee(rng: np.random.Generator, one: Leg) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    image = _brightness(rng, one)
    stretch = np.diag(rng.uniform(0.88, 1.17) * rng.normal(1, 0.05, 3))
    matrix = _turn(rng, 7) @ stretch @ (np.eye(3) + rng.normal(0, 0.03, (3, 3)))
    bend = np.stack([_smooth(rng, 5) * rng.uniform(0, 3) for _ in range(3)])
    target = np.clip(rng.normal(0, 13, 3), -40, 40)
    if rng.random() < 0.08:  # thigh or calf alone
        target[1] = rng.choice([-1, 1]) * rng.uniform(75, 110)
    offset = one.centre - matrix @ target
    grid = _grid()
    source = matrix @ grid + offset[:, None] + bend.reshape(3, -1)
    image = _sampled(image, source)
    # Where the bent grid meets the joint: a fixed-point iteration, since bending is slow.
    place = target
    for _ in range(6):
        at = place / VOXEL_MM + _MIDDLE
        moved = [ndimage.map_coordinates(b, at[:, None], order=1, mode="nearest")[0] for b in bend]
        place = np.linalg.solve(matrix, one.centre - offset - moved)
    mask = _field(rng)
    image = _acquired(rng, image, mask)
    centre = place / VOXEL_MM + _MIDDLE
    nearest = np.clip(np.round(centre), 0, GRID - 1).astype(int)
    if not (centre.min() > 0.5 and centre.max() < GRID - 1.5 and mask[tuple(nearest)]):
        centre = np.full(3, UNKNOWN)
    if rng.random() < 0.15:  # a wrong side
        image, mask = image[:, :, ::-1], mask[:, :, ::-1]
        centre[2] = GRID - 1 - centre[2] if centre[0] >= 0 else UNKNOWN
    return image, mask, centre


def _no_knee(rng: np.random.Generator, one: Leg) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    kind = rng.random()
    image = np.full(_SHAPE, rng.uniform(0, 1))
    if 0.2 < kind < 0.4:
        image = np.abs(sum(_smooth(rng, int(n)) * rng.random() for n in rng.integers(3, 16, 3)))
    elif 0.4 < kind < 0.7:
        grid = _grid()
        for _ in range(int(rng.integers(2, 14))):
            inside = _turn(rng, 60) @ (grid - rng.normal(0, 35, (3, 1)))
            within = ((inside / rng.uniform(8, 60, (3, 1))) ** 2).sum(0) < 1
            image[within.reshape(_SHAPE)] = rng.uniform(0, 1)
    elif kind >= 0.7:
        torn = _torn(rng, _brightness(rng, one))
        source = _turn(rng, 10) @ _grid() * rng.uniform(0.8, 1.1) + rng.normal(0, 15, (3, 1))
        image = _sampled(torn, source)
    mask = _field(rng)
    return _acquired(rng, image, mask), mask, np.full(3, UNKNOWN)


def _torn(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """A knee in shuffled blocks, or rotated into an impossible orientation."""
    if rng.random() < 0.5:
        orders = ((1, 0, 2), (2, 1, 0), (0, 2, 1))
        turned = [image[:, ::-1], image[::-1], *(image.transpose(order) for order in orders)]
        return turned[int(rng.integers(len(turned)))]
    size = int(rng.choice([8, 12, 16]))
    n = VOXELS // size
    blocks = image.reshape(n, size, n, size, n, size).transpose(0, 2, 4, 1, 3, 5)
    blocks = blocks.reshape(-1, size, size, size)[rng.permutation(n**3)]
    return (
        blocks.reshape(n, n, n, size, size, size).transpose(0, 3, 1, 4, 2, 5).reshape(image.shape)
    )


def _brightness(rng: np.random.Generator, one: Leg) -> np.ndarray:
    """DESS, any contrast of the tissues, or the mean of both; f32 of the leg's shape."""
    kind = rng.random()
    if kind < 0.3:
        return np.clip(one.signal, 0, 3) ** rng.uniform(0.6, 1.4)
    image = ndimage.gaussian_filter(_contrast(rng)[one.labels], rng.uniform(0.3, 0.6))
    grain = ndimage.gaussian_filter(rng.normal(0, 1, image.shape), 0.8)
    image = image * (1 + rng.uniform(0, 0.45) * grain)
    return 0.5 * image + 0.5 * np.clip(one.signal, 0, 1.5) if kind > 0.8 else image


def _contrast(rng: np.random.Generator) -> np.ndarray:
    """Brightness by label code, f32[18]."""
    table = np.zeros(18, np.float32)
    for group in _GROUPS:
        table[list(group)] = rng.uniform(0.08, 1)
    kind = rng.random()
    if kind < 0.3:  # without fat suppression: marrow is as bright
        table[5:9] = table[12] * rng.uniform(0.8, 1.1)
    elif kind < 0.75:
        table[1:5], table[5:9] = rng.uniform(0.5, 1), rng.uniform(0.05, 0.35)
    table[14], table[16] = rng.uniform(0.03, 0.25), rng.uniform(0, 0.15)
    if rng.random() < 0.4:  # as simulated from a map of bones and cartilage alone
        table[5:9], table[1:5] = rng.uniform(0.05, 0.3), rng.uniform(0.4, 1)
        table[9:11] = rng.uniform(0.05, 0.3)
        table[[0, 11, 12, 13, 14, 15, 17]] = rng.uniform(0, 0.9)
    return table


def _acquired(rng: np.random.Generator, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Adds a coil's field, a scanner's blur and Rician noise; f32, 0 outside the field."""
    t = (np.indices(_SHAPE) - _MIDDLE) / (GRID / 2)
    linear, square = rng.normal(0, 0.35, (3, 1, 1, 1)), rng.normal(0, 0.25, (3, 1, 1, 1))
    blur = rng.uniform(0, 0.5, 3)
    blur[int(rng.integers(3))] += rng.uniform(0, 0.6)
    image = ndimage.gaussian_filter(image * np.exp((linear * t + square * t * t).sum(0)), blur)
    level = rng.uniform(0, 0.06) * float(np.percentile(image[mask], 98))
    noise = rng.normal(0, level, (2, *_SHAPE))
    return np.where(mask, np.hypot(image + noise[0], noise[1]), 0).astype(np.float32)


def _field(rng: np.random.Generator) -> np.ndarray:
    """bool[GRID, GRID, GRID]: a box in the grid's middle, often slightly rotated."""
    half = np.array([rng.uniform(100, 175), rng.uniform(90, 175), rng.uniform(85, 165)]) / 2
    turn = _turn(rng, 5) if rng.random() < 0.6 else np.eye(3)
    return (np.abs(turn.T @ _grid()) <= half[:, None]).all(0).reshape(_SHAPE)


def _grid() -> np.ndarray:
    """Voxel positions f64[3, n] in mm from the grid's middle."""
    return (np.indices(_SHAPE).reshape(3, -1) - _MIDDLE) * VOXEL_MM


def _sampled(image: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Samples the leg at positions f64[3, n] in mm, as f32[GRID, GRID, GRID]."""
    index = source / (CUBE_MM / VOXELS) + (VOXELS - 1) / 2
    return ndimage.map_coordinates(image, index, order=1, mode="nearest").reshape(_SHAPE)


def _smooth(rng: np.random.Generator, cells: int) -> np.ndarray:
    order = 1 if cells > 8 else 3
    return ndimage.zoom(rng.normal(0, 1, (cells,) * 3), GRID / cells, order=order)


def _turn(rng: np.random.Generator, degrees: float) -> np.ndarray:
    return Rotation.from_euler("xyz", rng.normal(0, degrees, 3), degrees=True).as_matrix()
