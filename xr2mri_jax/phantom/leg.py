"""Projects one leg along the beam over a field larger than the canonical box, with landmarks."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from xr2mri_jax.geometry import BOX_MM
from xr2mri_jax.phantom import bones
from xr2mri_jax.phantom.anatomy import attenuation_path
from xr2mri_jax.phantom.case import SMALL, draw
from xr2mri_jax.phantom.parameters import Parameters
from xr2mri_jax.phantom.pose import Point, Pose, place

# The projected field (h, w) around the box's centre, and the beam's path through it, in mm. The
# field consists of three blocks of equal area: see `project_leg`.
FIELD_MM = (3 * BOX_MM[1], 176.0)
DEPTH_MM = 144.0
# Beyond this distance from the joint, soft tissue is stretched: its shapes are defined for the box.
DRAWN_FROM_MM, DRAWN_OUT = 72.0, 0.15
# Relative growth of the thigh's width per mm beyond that distance; the calf keeps its width.
THIGH_GROWTH = 0.0012
# The fibula's shaft, which ends just below the box, is this many times as long.
LONGER_FIBULA = 4.0


@dataclasses.dataclass(frozen=True, eq=False)
class Leg:
    """A projected leg in the canonical frame, in which a left leg looks like a right one.

    Positions are (h, w) in mm from the canonical box's centre, inferior and medial positive.

    Attributes:
      path: f32[h, w], line integrals of the attenuation over FIELD_MM, dimensionless.
      pixel_mm: size of its pixels.
      joint: the tibiofemoral joint's centre.
      joint_line: the lateral and the medial end of the joint line, at the plateau's margins.
      side: "left" or "right".
    """

    path: np.ndarray
    pixel_mm: float
    joint: tuple[float, float]
    joint_line: tuple[tuple[float, float], tuple[float, float]]
    side: str


def project_leg(seed: int, index: int, rows: int = 128) -> Leg:
    """Projects the leg of knee `index` of the phantom population `seed`.

    Inside the canonical box the anatomy is that of `case.simulate_case(seed, index, ...)`. Above
    and below it pixels are computed at twice the size and interpolated: only shafts lie there.

    Args:
      seed, index: as for `simulate_case`.
      rows: pixels across the canonical box, an even number; 128 makes them 1 mm large.

    Raises:
      ValueError: a negative number, or odd `rows`.
    """
    if seed < 0 or index < 0 or rows < 2 or rows % 2:
        raise ValueError(f"seed {seed}, index {index}, rows {rows}: expected >= 0, >= 0 and even")
    pixel = BOX_MM[1] / rows
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        posed, block = _compiled(rows)
        parameters, surfaces, _ = draw(seed, index)
        parameters = _with_longer_fibula(parameters)
        pose = posed(parameters)
        grids = _block_grids(rows)
        blocks = [np.asarray(block(parameters, pose, surfaces, *grid)) for grid in grids]
    path = _joined(blocks, grids, pixel)
    joint, ends = _places(parameters, jax.device_get(pose))
    return Leg(path, pixel, joint, ends, "right" if index % 2 == 0 else "left")


@functools.lru_cache(maxsize=4)
def _compiled(rows: int) -> tuple:
    depth = jnp.asarray(_centres(round(DEPTH_MM / (2 * BOX_MM[1] / rows)), DEPTH_MM), jnp.float32)
    voxel = 4 / 3 * BOX_MM[1] / rows

    def block(p: Parameters, pose: Pose, key: jax.Array, z: jax.Array, x: jax.Array) -> jax.Array:
        return attenuation_path(p, pose, key, (depth, z, x), voxel, _drawn_out)

    level = 0 if rows * _columns(rows) * depth.size // 2 <= SMALL else 1
    return (
        jax.jit(place, compiler_options={"xla_backend_optimization_level": 0}),
        jax.jit(block, compiler_options={"xla_backend_optimization_level": level}),
    )


def _with_longer_fibula(p: Parameters) -> Parameters:
    start, end, radius = np.split(p["fibula_shaft_rows"], (3, 6), axis=1)
    longer = np.concatenate([start, start + LONGER_FIBULA * (end - start), radius], axis=1)
    return {**p, "fibula_shaft_rows": longer}


def _columns(rows: int) -> int:
    """Pixels across the field, an even number."""
    return 2 * round(FIELD_MM[1] / 2 * rows / BOX_MM[1])


def _centres(n: int, extent: float) -> np.ndarray:
    return ((np.arange(n) + 0.5) / n - 0.5) * extent


def _block_grids(rows: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """(z, x) of three blocks of one shape, compiled once.

    The lateral and the medial half of the box's rows, and the rows above and below at twice the
    pixel size.
    """
    pixel, columns = BOX_MM[1] / rows, _columns(rows)
    z = _centres(rows, BOX_MM[1]).astype(np.float32)
    x = _centres(columns, columns * pixel).astype(np.float32)
    half = BOX_MM[1] / 2
    coarse = _centres(rows // 2, BOX_MM[1]).astype(np.float32)
    beyond = np.concatenate([coarse - 2 * half, coarse + 2 * half])
    wide = _centres(columns // 2, columns * pixel).astype(np.float32)
    return [(z, x[: columns // 2]), (z, x[columns // 2 :]), (beyond, wide)]


def _joined(blocks: list[np.ndarray], grids: list, pixel: float) -> np.ndarray:
    """The three blocks as one image of even pixels."""
    inner = np.concatenate(blocks[:2], axis=1)
    rows, columns = inner.shape
    z = _centres(3 * rows, 3 * rows * pixel)
    (inner_z, _), _, (outer_z, outer_x) = grids
    x = _centres(columns, columns * pixel)
    wide = _linear(outer_x, x) @ blocks[2].T
    known_z = np.concatenate([outer_z[: rows // 2], inner_z, outer_z[rows // 2 :]])
    known = np.concatenate([wide.T[: rows // 2], inner, wide.T[rows // 2 :]])
    return (_linear(known_z, z) @ known).astype(np.float32)


def _linear(known: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Matrix of linear interpolation from increasing positions to others, constant at the ends."""
    columns = [np.interp(wanted, known, unit) for unit in np.eye(len(known))]
    return np.stack(columns, axis=1).astype(np.float32)


def _drawn_out(leg: Point) -> Point:
    """Where the soft tissue of a point far from the joint is evaluated, in the leg's frame."""
    x, y, z = leg
    beyond = jnp.maximum(jnp.abs(z) - DRAWN_FROM_MM, 0.0)
    grown = 1.0 + THIGH_GROWTH * beyond * (z < 0)
    return x / grown, y / grown, z - jnp.sign(z) * beyond * (1.0 - DRAWN_OUT)


def _places(p: Parameters, pose: Pose) -> tuple[tuple, tuple]:
    """The joint's centre and the joint line's ends, (h, w) in mm in the box.

    The line runs through the middle of both compartments' joint spaces above the plateaus' centres,
    and ends at the plateau's margins.
    """
    lateral, medial = (
        _in_box(p, pose, sign * 20.0, space)
        for sign, space in ((-1.0, p["lateral_space"]), (1.0, p["medial_space"]))
    )
    reach = (17.0 + p["tibia_width"]) / 20.0
    middle, half = (lateral + medial) / 2, (medial - lateral) / 2 * reach
    x, _, z = np.asarray(pose.leg.origin) * p["size"]
    ends = tuple((float(end[2]), float(end[0])) for end in (middle - half, middle + half))
    return (float(z), float(x)), ends


def _in_box(p: Parameters, pose: Pose, x: float, space: float) -> np.ndarray:
    """f64[3], (x, y, z) mm in the box of the middle of the joint space over (x, 0) of the tibia."""
    height = bones.plateau_height(p, jnp.float32(x), jnp.float32(0.0))
    point = np.array([x, 0.0, float(height) - space / 2], np.float64)
    for frame in (pose.tibia, pose.leg):
        point = np.asarray(frame.rotation, np.float64).T @ point + np.asarray(frame.origin)
    return point * float(p["size"])
