"""The tibiofemoral joint's centre in an MRI of a knee, by a small network that ships with it."""

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import Volume, checked_side, mirror_volume, resample

# The network looks at a cube of GRID voxels of VOXEL_MM, axes as in the canonical frame: it must
# tell thigh from calf and front from back, not see cartilage.
GRID = 32
VOXEL_MM = 5.0
# Below this confidence a volume is refused; measured in `tools.benchmarks.joint_centre`.
SMALLEST_CONFIDENCE = 0.5
# Share of the heat map that must lie within this distance of the centre found.
NEAR_MM = 15.0
WEIGHTS = Path(__file__).with_name("joint_centre.npz")
# The second look is taken four times, moved by parts of a voxel, so that its grid does not show.
_LOOKS_MM = np.array([(1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1)]) * VOXEL_MM / 4
# Block means to about this voxel size come before resampling: most of the voxels end here.
_COARSE_MM = 2.5
_CANONICAL_AXES = np.array([(0, 0, -1.0), (-1.0, 0, 0), (0, -1.0, 0)])  # columns d, h, w in RAS


@dataclasses.dataclass(frozen=True)
class JointCentre:
    """Where the joint is, and how sure that is.

    Attributes:
      centre_mm: (x, y, z) in RAS mm: across, midway between the compartments; along the leg, in the
        joint space; from front to back, 5 mm in front of the tibial plateau's middle, which is the
        middle of the phantom's box.
      confidence: in [0, 1]: the probability that the joint is in the field, times the share of the
        heat map near the centre.
      spread_mm: largest distance between the centre and what one of the four looks found.
    """

    centre_mm: tuple[float, float, float]
    confidence: float
    spread_mm: float


def find_joint_centre(
    volume: Volume, side: str, smallest_confidence: float = SMALLEST_CONFIDENCE
) -> JointCentre:
    """Finds the tibiofemoral joint's centre in an MRI of one knee, of any sequence and orientation.

    A first look at the middle of the field finds the joint roughly, four more around that place
    find it to a part of a voxel. The weights were trained on phantom knees alone, with contrasts
    drawn at random (`tools/fit_joint_centre`).

    Args:
      volume: any real dtype [i, j, k], finite.
      side: "left" or "right"; left knees are looked at mirrored.
      smallest_confidence: refuse below this; 0 accepts whatever is found.

    Raises:
      InputError: values that are not finite, a volume without contrast, or no knee joint found.
    """
    mirrored = checked_side(side) == "left"
    coarse = _coarse(volume)
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


def network_input(array: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """What the network sees: f32[..., 2], intensity over its 99th percentile, and the field."""
    high = float(np.percentile(array[mask], 99)) if mask.any() else 0.0
    scaled = np.clip(array / high, 0.0, 1.5) if high > 0 else np.zeros_like(array)
    return np.stack([np.where(mask, scaled, 0.0), mask], axis=-1).astype(np.float32)


def heat_map(weights: Mapping[str, np.ndarray], x: np.ndarray) -> tuple[np.ndarray, float]:
    """The network: a U-shaped one of convolutions with instance normalisation.

    Args:
      weights: by layer, kernels f32[3, 3, 3, in, out] or f32[1, 1, 1, in, out] ("c1.w"), scales
        and offsets ("c1.s", "c1.b"); the heads "heat" f32[24, 8] and "null" f32[33].
      x: f32[GRID, GRID, GRID, 2] from `network_input`.

    Returns:
      f32[GRID, GRID, GRID], the probability that the joint's centre is in the voxel, and the
      probability that it is anywhere; they agree in sum.
    """

    def layer(name: str, *parts: np.ndarray, stride: int = 1) -> np.ndarray:
        values, kernel = np.concatenate(parts, -1), weights[f"{name}.w"]
        one = kernel.shape[0] == 1
        values = values @ kernel[0, 0, 0] if one else _convolve(values, kernel, stride)
        values -= values.mean((0, 1, 2))
        values /= np.sqrt((values**2).mean((0, 1, 2)) + 1e-3)
        return np.maximum(values * weights[f"{name}.s"] + weights[f"{name}.b"], 0.0)

    half = layer("c2", layer("c1", _folded(x)))
    quarter = layer("d2", half, stride=2)
    eighth = layer("c4", layer("d3", quarter, stride=2))
    up = layer("u2", _doubled(eighth), quarter)
    up = layer("u1", _doubled(up), half)
    logits = _unfolded(up @ weights["heat"]).astype(np.float64)
    nowhere = 4.0 * float(eighth.mean((0, 1, 2)) @ weights["null"][:-1] + weights["null"][-1])
    top = max(float(logits.max()), nowhere)
    heat = np.exp(logits - top)
    total = float(heat.sum())
    return heat / (total + np.exp(nowhere - top)), total / (total + float(np.exp(nowhere - top)))


def _look(coarse: Volume, middle: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
    """The network at one place: the centre it finds (RAS mm), that it is there, the heat map."""
    affine = _grid_affine(middle)
    sampled, mask = resample(coarse, affine, (GRID,) * 3)
    heat, seen = heat_map(_weights(), network_input(sampled.array, mask))
    weights = heat / max(heat.sum(), 1e-12)
    index = [
        float((weights.sum(tuple(a for a in range(3) if a != axis)) * np.arange(GRID)).sum())
        for axis in range(3)
    ]
    return affine[:3, :3] @ index + affine[:3, 3], seen, weights


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


@functools.cache
def _weights() -> dict[str, np.ndarray]:
    with np.load(WEIGHTS) as stored:
        return {name: stored[name].astype(np.float32) for name in stored.files}


def _convolve(x: np.ndarray, kernel: np.ndarray, stride: int) -> np.ndarray:
    """3x3x3 convolution of f32[n, n, n, in] with zeros around, as 27 matrix products."""
    n = x.shape[0] // stride
    padded = np.pad(x, ((1, 1), (1, 1), (1, 1), (0, 0)))
    out = np.zeros((n, n, n, kernel.shape[-1]), np.float32)
    for a, b, c in np.ndindex(3, 3, 3):
        part = padded[
            a : a + n * stride : stride, b : b + n * stride : stride, c : c + n * stride : stride
        ]
        out += part @ kernel[a, b, c]
    return out


def _folded(x: np.ndarray) -> np.ndarray:
    """Blocks of 2 x 2 x 2 voxels as channels: the finest level costs an eighth that way."""
    n, c = x.shape[0] // 2, x.shape[-1]
    blocks = x.reshape(n, 2, n, 2, n, 2, c).transpose(0, 2, 4, 1, 3, 5, 6)
    return blocks.reshape(n, n, n, 8 * c)


def _unfolded(x: np.ndarray) -> np.ndarray:
    """Eight channels as blocks of 2 x 2 x 2 voxels, without a channel axis."""
    n = x.shape[0]
    return x.reshape(n, n, n, 2, 2, 2).transpose(0, 3, 1, 4, 2, 5).reshape((2 * n,) * 3)


def _doubled(x: np.ndarray) -> np.ndarray:
    return x.repeat(2, 0).repeat(2, 1).repeat(2, 2)
