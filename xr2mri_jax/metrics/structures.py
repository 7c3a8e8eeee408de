"""Squared error by structure of the knee and by frequency band."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import ndimage

from xr2mri_jax.phantom.tissues import CODES

BONES = ("femur", "tibia", "patella", "fibula")
CARTILAGES = (
    "femoral_cartilage",
    "medial_tibial_cartilage",
    "lateral_tibial_cartilage",
    "patellar_cartilage",
)
STRUCTURES: dict[str, tuple[str, ...]] = {
    "bone": (*BONES, "cortical_bone"),
    "cartilage": CARTILAGES,
    "menisci": ("medial_meniscus", "lateral_meniscus"),
    "muscle": ("muscle",),
    "fat": ("fat",),
}
# Wavelengths in mm at which a band ends: there a Gaussian keeps half of the amplitude.
CUTS_MM = (40.0, 20.0, 10.0)
FINE_MM = CUTS_MM[-1]
# Thickness in mm, and at least a voxel, of the shell about a bone's surface that counts as its
# shape, on each side; what is deeper counts for texture.
SHELL_MM = 4.0


def sigma_mm(wavelength_mm: float) -> float:
    """Standard deviation of the Gaussian that halves the amplitude of a wavelength."""
    return wavelength_mm * float(np.sqrt(2 * np.log(2))) / (2 * np.pi)


def bands(error: np.ndarray, spacing_mm: Sequence[float]) -> dict[str, np.ndarray]:
    """An error volume parted into frequency bands that add up to it.

    Args:
      error: f32[d, h, w].
      spacing_mm: voxel size along d, h, w.

    Returns:
      f32[d, h, w] by band from coarse to fine: "> 40 mm", "20-40 mm", "10-20 mm", "< 10 mm"
      (wavelengths).
    """
    blurred = [smooth(error, cut, spacing_mm) for cut in CUTS_MM]
    names = [f"> {CUTS_MM[0]:g} mm"]
    names += [f"{b:g}-{a:g} mm" for a, b in itertools.pairwise(CUTS_MM)]
    names += [f"< {CUTS_MM[-1]:g} mm"]
    parts = [blurred[0]]
    parts += [fine - coarse for coarse, fine in itertools.pairwise(blurred)]
    parts += [error - blurred[-1]]
    return dict(zip(names, parts, strict=True))


def smooth(error: np.ndarray, cut_mm: float, spacing_mm: Sequence[float]) -> np.ndarray:
    """An error volume f32[d, h, w] without wavelengths below the cut; mirrored at its ends."""
    sigma = [sigma_mm(cut_mm) / step for step in spacing_mm]
    return ndimage.gaussian_filter(error, sigma, mode="reflect", truncate=3.0)


def structures(labels: np.ndarray) -> dict[str, np.ndarray]:
    """Where each of `STRUCTURES` is: labels u8[d, h, w] (`tissues.TISSUES`) to bool[d, h, w]."""
    return {
        name: np.isin(labels, [CODES[part] for part in parts]) for name, parts in STRUCTURES.items()
    }


def regions(labels: np.ndarray, spacing_mm: Sequence[float]) -> dict[str, np.ndarray]:
    """Where the properties of the verdict are measured.

    Args:
      labels: u8[d, h, w], codes of `tissues.TISSUES`, the canonical frame.
      spacing_mm: voxel size along d, h, w.

    Returns:
      bool[d, h, w]: "bone shape", within `SHELL_MM` (at least a voxel) along each axis of the
      surface of femur, tibia and patella; "joint space", between femur and tibia along h with one
      voxel of either; "cartilage"; "texture", bone deeper than that.
    """
    bone = {name: labels == CODES[name] for name in BONES}
    solid = bone["femur"] | bone["tibia"] | bone["patella"]
    grown, core = (_moved(solid, spacing_mm, grow) for grow in (True, False))
    return {
        "bone shape": grown & ~core,
        "joint space": _between(bone["femur"], bone["tibia"]),
        "cartilage": structures(labels)["cartilage"],
        "texture": core,
    }


def _moved(solid: np.ndarray, spacing_mm: Sequence[float], grow: bool) -> np.ndarray:
    """The region grown or shrunken by `SHELL_MM`, at least a voxel, along each axis."""
    change = ndimage.maximum_filter1d if grow else ndimage.minimum_filter1d
    moved = solid.astype(np.uint8)
    for axis, step in enumerate(spacing_mm):
        reach = max(1, round(SHELL_MM / step))
        moved = change(moved, 2 * reach + 1, axis=axis, mode="nearest")
    return moved > 0


def _between(femur: np.ndarray, tibia: np.ndarray) -> np.ndarray:
    """Voxels below femur and above tibia along h, with one voxel of either bone."""
    above = np.logical_or.accumulate(femur, axis=1)
    below = np.logical_or.accumulate(tibia[:, ::-1], axis=1)[:, ::-1]
    gap = above & below & ~femur & ~tibia
    return ndimage.binary_dilation(gap, np.ones((1, 3, 1), bool)) if gap.any() else gap


def mean_squares(
    error: np.ndarray, mask: np.ndarray, where: Mapping[str, np.ndarray]
) -> dict[str, float]:
    """Mean square of an error in each region inside the mask; NaN where the region is empty.

    Args:
      error: f32[d, h, w].
      mask: bool[d, h, w].
      where: bool[d, h, w] by name.
    """
    square = np.square(error, dtype=np.float64)
    result = {}
    for name, region in where.items():
        counted = region & mask
        result[name] = float(square[counted].mean()) if counted.any() else float("nan")
    return result
