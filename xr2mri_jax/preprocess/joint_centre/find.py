"""Finds the tibiofemoral joint's centre in an MRI of a knee with a small shipped network."""

import dataclasses

import numpy as np

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import Volume, checked_side, mirror_volume, resample, without_gaps
from xr2mri_jax.preprocess.joint_centre import network
from xr2mri_jax.preprocess.joint_centre.network import GRID, VOXEL_MM

# Below this confidence a volume is refused; measured in `tools.benchmarks.joint_centre`.
SMALLEST_CONFIDENCE = 0.5
# Share of the heat map that must lie within this distance of the centre found.
NEAR_MM = 15.0
# The second look is repeated from four positions, offset by parts of a voxel, to average its grid.
_LOOKS_MM = np.array([(1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1)]) * VOXEL_MM / 4
# Block means to about this voxel size precede resampling: they reduce most of the voxels.
_COARSE_MM = 2.5
_CANONICAL_AXES = np.array([(0, 0, -1.0), (-1.0, 0, 0), (0, -1.0, 0)])  # columns d, h, w in RAS


@dataclasses.dataclass(frozen=True)
class JointCentre:
    """The position of the joint, and its confidence.

    Attributes:
      centre_mm: (x, y, z) in RAS mm: across, midway between the compartments; along the leg, in the
        joint space; from front to back, 5 mm in front of the tibial plateau's middle, which is the
        middle of the phantom's box.
      confidence: in [0, 1]: the probability that the joint is in the field, times the share of the
        heat map near the centre.
      spread_mm: largest distance between the centre and the result of one of the four looks.
    """

    centre_mm: tuple[float, float, float]
    confidence: float
    spread_mm: float


def find_joint_centre(
    volume: Volume, side: str, smallest_confidence: float = SMALLEST_CONFIDENCE
) -> JointCentre:
    """Finds the tibiofemoral joint's centre in an MRI of one knee, of any sequence and orientation.

    A first look at the middle of the field finds the joint roughly; four more around that position
    find it to a fraction of a voxel. The weights were trained on phantom knees only, with random
    contrasts (`tools/fit_joint_centre`).

    Args:
      volume: any real dtype [i, j, k]; NaN where there is no field.
      side: "left" or "right"; left knees are mirrored first.
      smallest_confidence: refuse below this; 0 accepts whatever is found.

    Raises:
      InputError: values that are not finite, a volume without contrast, or no knee joint found.
    """
    mirrored = checked_side(side) == "left"
    coarse = _coarse(without_gaps(volume))
    if not np.isfinite(coarse.array).all():
        raise InputError("the volume has values that are not finite, expected finite ones")
    if not np.ptp(coarse.array) > 0:
        raise InputError("the volume is constant, expected an MRI of a knee")
    coarse = mirror_volume(coarse) if mirrored else coarse
    middle = volume.world((np.array(volume.shape) - 1) / 2) * (-1 if mirrored else 1, 1, 1)
    first, seen = _look(coarse, middle)[:2]
    looks = [_look(coarse, first + offset) for offset in _LOOKS_MM]
    centre = np.mean([place for place, _, _ in looks], axis=0)
    near = [
        _share_near(heat, first + offset, centre)
        for (_, _, heat), offset in zip(looks, _LOOKS_MM, strict=True)
    ]
    confidence = float(np.mean([p for _, p, _ in looks]) * np.mean(near) * min(1.0, 2 * seen))
    spread = max(float(np.linalg.norm(place - centre)) for place, _, _ in looks)
    if not confidence >= smallest_confidence:
        raise InputError(
            f"no knee joint found in the volume of shape {volume.shape} (confidence "
            f"{confidence:.2f}, expected at least {smallest_confidence:g}): is it an MRI of one "
            "knee? else give the joint's centre"
        )
    x, y, z = (float(c) for c in centre * (-1 if mirrored else 1, 1, 1))
    return JointCentre((x, y, z), confidence, spread)


def _look(coarse: Volume, middle: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
    """Runs the network at one position: centre (RAS mm), probability of presence, heat map."""
    affine = _grid_affine(middle)
    sampled, mask = resample(coarse, affine, (GRID,) * 3)
    x = network.network_input(sampled.array, mask)
    heat, seen = (part[0] for part in network.heat_maps(network.shipped_weights(), x[None]))
    weights = heat / max(heat.sum(), 1e-12)
    index = [
        float((weights.sum(tuple(a for a in range(3) if a != axis)) * np.arange(GRID)).sum())
        for axis in range(3)
    ]
    return affine[:3, :3] @ index + affine[:3, 3], float(seen), weights


def _share_near(heat: np.ndarray, middle: np.ndarray, centre: np.ndarray) -> float:
    """Share of the heat map within NEAR_MM of `centre`."""
    affine = _grid_affine(middle)
    place = np.linalg.solve(affine[:3, :3], centre - affine[:3, 3])
    distance = sum(
        ((np.arange(GRID) - p) ** 2).reshape([-1 if a == axis else 1 for a in range(3)])
        for axis, p in enumerate(place)
    )
    return float(heat[np.sqrt(distance) * VOXEL_MM <= NEAR_MM].sum())


def _grid_affine(middle: np.ndarray) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = _CANONICAL_AXES * VOXEL_MM
    affine[:3, 3] = middle - affine[:3, :3] @ np.full(3, (GRID - 1) / 2)
    return affine


def _coarse(volume: Volume) -> Volume:
    """Means of blocks of whole voxels, f32; voxels left over at the far ends are dropped."""
    factors = [
        max(1, min(int(_COARSE_MM / size), n))
        for size, n in zip(volume.spacing, volume.shape, strict=True)
    ]
    array = volume.array
    for axis, factor in enumerate(factors):
        n = array.shape[axis] // factor
        if factor > 1:
            array = np.take(array, range(n * factor), axis) if array.shape[axis] % factor else array
            shape = [*array.shape[:axis], n, factor, *array.shape[axis + 1 :]]
            array = array.reshape(shape).mean(axis + 1, dtype=np.float32)
    affine = volume.affine @ np.diag([*map(float, factors), 1.0])
    affine[:3, 3] = volume.world([(factor - 1) / 2 for factor in factors])
    return Volume(array.astype(np.float32, copy=False), affine)
