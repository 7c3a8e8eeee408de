"""Measures how accurately and fast the joint's centre is found, in realistic phantom scans."""

import time
from typing import Any

import jax
import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import SIDES, Volume, mirror_volume, resample
from xr2mri_jax.phantom.bones import with_rows
from xr2mri_jax.phantom.case import compiled_parts
from xr2mri_jax.phantom.parameters import SPREADS, sample
from xr2mri_jax.preprocess.joint_centre.find import find_joint_centre

# A larger piece of the leg than the canonical box, so that the field may be off the joint.
CUBE_MM = 180.0
# Spacing and extent (mm) along the stored axes of the Osteoarthritis Initiative's acquisitions;
# directions of these axes as in its files.
SEQUENCES: dict[str, tuple[tuple[float, ...], tuple[float, ...], str]] = {
    "sag_dess": ((0.73, 0.73, 1.4), (140.0, 140.0, 112.0), "PIR"),
    "cor_iw_tse": ((0.73, 0.73, 3.0), (140.0, 140.0, 105.0), "LIP"),
    "sag_iw_tse": ((0.73, 0.73, 3.0), (160.0, 160.0, 111.0), "PIR"),
    "cor_t1_flash": ((0.63, 0.63, 1.5), (160.0, 160.0, 120.0), "LIP"),
}
_AXES = {"R": (1, 0, 0), "L": (-1, 0, 0), "A": (0, 1, 0), "P": (0, -1, 0), "S": (0, 0, 1)}
_AXES |= {"I": (0, 0, -1)}


def run(count: int = 100, seed: int = 9001) -> dict[str, Any]:
    """Finds the centre in `count` simulated scans of each sequence.

    Returns:
      By sequence: "error_mm" {median, p95, max, each [x, y, z]}, "distance_mm" {median, p95, max},
      "refused" (number), "seconds" (median of a call); JSON-able.
    """
    report: dict[str, Any] = {"count": count, "seed": seed, "sequences": {}}
    for sequence in SEQUENCES:
        errors, seconds, refused = [], [], 0
        for index in range(count):
            volume, side, truth = simulated_scan(seed, index, sequence)
            start = time.perf_counter()
            try:
                found = find_joint_centre(volume, side)
            except InputError:
                refused += 1
                continue
            seconds.append(time.perf_counter() - start)
            errors.append(np.abs(np.subtract(found.centre_mm, truth)))
        distance = np.linalg.norm(errors, axis=1)
        report["sequences"][sequence] = {
            "error_mm": _summary(np.array(errors)),
            "distance_mm": _summary(distance),
            "refused": refused,
            "seconds": round(float(np.median(seconds)), 3),
        }
    return report


def table(report: dict[str, Any]) -> str:
    """The report as lines of text."""
    lines = [f"{'sequence':14}{'x, y, z: median':>22}{'95 %':>20}{'max':>20}{'refused':>9}{'s':>7}"]
    for name, row in report["sequences"].items():
        cells = [
            ", ".join(f"{v:.1f}" for v in row["error_mm"][k]) for k in ("median", "p95", "max")
        ]
        lines.append(
            f"{name:14}{cells[0]:>22}{cells[1]:>20}{cells[2]:>20}{row['refused']:>9}"
            f"{row['seconds']:>7.2f}"
        )
    return "\n".join(lines)


def simulated_scan(
    seed: int, index: int, sequence: str = "sag_dess", voxels: int = 96
) -> tuple[Volume, str, np.ndarray]:
    """One phantom knee as a scanner would store it, and its joint's centre.

    The field is off the joint by about 12 mm and oblique by about 6 degrees in each direction; its
    sizes vary by a tenth. A coil's field of up to a factor of about 3 and Rician noise are added.

    Args:
      seed, index: of the knee, as in `phantom.case.simulate_case`; also seed the scanner's effects.
      sequence: a key of SEQUENCES; any but sag_dess has random contrasts.
      voxels: along each edge of the simulated piece of leg, CUBE_MM.

    Returns:
      The volume i16 in patient coordinates, its side, and the centre (x, y, z) in RAS mm.
    """
    rng = np.random.default_rng([seed, index, list(SEQUENCES).index(sequence)])
    cube, labels, truth = leg(seed, index, voxels)
    if sequence != "sag_dess":
        contrast = rng.uniform(0.1, 1.0, 18).astype(np.float32)
        contrast[0], contrast[14], contrast[16] = 0.0, 0.1, 0.05
        contrast[1:5] = rng.uniform(0.6, 1.0)
        contrast[5:9] = rng.uniform(0.05, 0.5)
        soft = ndimage.gaussian_filter(contrast[labels], 0.5)
        cube = Volume(soft, cube.affine)
    spacing, extent, directions = SEQUENCES[sequence]
    turn = Rotation.from_euler("xyz", rng.normal(0, 6, 3), degrees=True).as_matrix()
    axes = turn @ np.array([_AXES[letter] for letter in directions], float).T
    shape = [round(e * rng.uniform(0.9, 1.1) / s) for e, s in zip(extent, spacing, strict=True)]
    affine = np.eye(4)
    affine[:3, :3] = axes * spacing
    middle = truth + np.clip(rng.normal(0, 12, 3), -30, 30)
    affine[:3, 3] = middle - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    scan, mask = resample(cube, affine, shape)
    clean = scan.array * mask * _coil(rng, shape)
    level = rng.uniform(0.005, 0.05) * float(np.percentile(clean, 99))
    noisy = np.hypot(clean + rng.normal(0, level, shape), rng.normal(0, level, shape))
    stored = np.round(noisy * rng.uniform(300, 1500)).clip(0, 32767).astype(np.int16)
    moved = np.eye(4)
    moved[:3, 3] = rng.uniform(-90, 90, 3)
    volume, side = Volume(stored, moved @ affine), SIDES[1 - index % 2]
    truth = truth + moved[:3, 3]
    if side == "left":
        return mirror_volume(volume), side, truth * (-1, 1, 1)
    return volume, side, truth


def leg(seed: int, index: int, voxels: int) -> tuple[Volume, np.ndarray, np.ndarray]:
    """A cube of CUBE_MM around a phantom knee, as a right knee, in RAS mm around the cube's middle.

    Returns:
      The DESS signal f32[n, n, n] (axes d, h, w) relative to cartilage, the labels u8 of the same
      shape, and the joint's centre (x, y, z): the position of the middle of the phantom's box
      without its shift.
    """
    parts = compiled_parts((voxels,) * 3)
    subjects, knees = (jax.random.fold_in(jax.random.key(seed), part) for part in (0, 1))
    key = jax.random.fold_in(knees, index)
    parameters = dict(with_rows(sample(jax.random.fold_in(subjects, index // 2), key)))
    size = float(parameters["size"])
    # The phantom's box is 128 mm; a smaller knee in it equals a true-sized knee in a larger box.
    parameters["size"] = np.float32(size * 128.0 / CUBE_MM)
    voxelised = parts.voxelise(parameters, parts.place(parameters), jax.random.fold_in(key, 2))
    x, y, z = (float(parameters[name]) for name in ("shift_x", "shift_y", "shift_z"))
    step = CUBE_MM / voxels
    affine = np.eye(4)
    affine[:3, :3] = [[0, 0, -step], [-step, 0, 0], [0, -step, 0]]
    affine[:3, 3] = -affine[:3, :3] @ np.full(3, (voxels - 1) / 2)
    centre = -size * np.array([x, y - SPREADS["shift_y"].mean, z])
    return Volume(np.asarray(voxelised.signal), affine), np.asarray(voxelised.labels), centre


def _coil(rng: np.random.Generator, shape: list[int]) -> np.ndarray:
    total = np.zeros((1, 1, 1))
    for axis, n in enumerate(shape):
        t = np.linspace(-1, 1, n).reshape([-1 if a == axis else 1 for a in range(3)])
        total = total + rng.normal(0, 0.3) * t + rng.normal(0, 0.2) * t * t
    return np.exp(total)


def _summary(values: np.ndarray) -> dict[str, Any]:
    return {
        "median": np.median(values, axis=0).round(2).tolist(),
        "p95": np.percentile(values, 95, axis=0).round(2).tolist(),
        "max": values.max(axis=0).round(2).tolist(),
    }
