"""Squared error by knee structure and by frequency band."""

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
# Band limits as wavelengths in mm, at which a Gaussian halves the amplitude.
CUTS_MM = (40.0, 20.0, 10.0)
FINE_MM = CUTS_MM[-1]
# Thickness in mm (at least one voxel), on each side, of the shell around a bone's surface in which
# shape is measured. Texture is measured in deeper bone.
SHELL_MM = 4.0


def sigma_mm(wavelength_mm: float) -> float:
    """Standard deviation of the Gaussian that halves the amplitude of a wavelength."""
    return wavelength_mm * float(np.sqrt(2 * np.log(2))) / (2 * np.pi)


def bands(error: np.ndarray, spacing_mm: Sequence[float]) -> dict[str, np.ndarray]:
    """Splits an error volume into frequency bands that sum to it.

    Args:
      error: f32[d, h, w].
      spacing_mm: voxel size along d, h, w.

    Returns:
      f32[d, h, w] by band of wavelengths, coarse to fine: "> 40 mm", "20-40 mm", "10-20 mm",
      "< 10 mm".
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
    """Low-pass filters an error volume f32[d, h, w] at a wavelength; mirrored at its borders."""
    sigma = [sigma_mm(cut_mm) / step for step in spacing_mm]
    return ndimage.gaussian_filter(error, sigma, mode="reflect", truncate=3.0)


def structures(labels: np.ndarray) -> dict[str, np.ndarray]:
    """Masks bool[d, h, w] of `STRUCTURES`, from labels u8[d, h, w] (`tissues.TISSUES`)."""
    return {
        name: np.isin(labels, [CODES[part] for part in parts]) for name, parts in STRUCTURES.items()
    }


def regions(labels: np.ndarray, spacing_mm: Sequence[float]) -> dict[str, np.ndarray]:
    """The regions in which the properties of the verdict are measured.

    Args:
      labels: u8[d, h, w], codes of `tissues.TISSUES`, the canonical frame.
      spacing_mm: voxel size along d, h, w.

    Returns:
      bool[d, h, w]: "bone shape", within `SHELL_MM` (at least one voxel), along each axis, of the
      surface of femur, tibia and patella; "joint space", between femur and tibia along h plus one
      voxel of each bone; "cartilage"; "texture", bone deeper than `SHELL_MM`.
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
    """Dilates or erodes the region by `SHELL_MM`, at least one voxel, along each axis."""
    change = ndimage.maximum_filter1d if grow else ndimage.minimum_filter1d
    moved = solid.astype(np.uint8)
    for axis, step in enumerate(spacing_mm):
        reach = max(1, round(SHELL_MM / step))
        moved = change(moved, 2 * reach + 1, axis=axis, mode="nearest")
    return moved > 0


def _between(femur: np.ndarray, tibia: np.ndarray) -> np.ndarray:
    """Voxels below the femur and above the tibia along h, plus one voxel of each bone."""
    above = np.logical_or.accumulate(femur, axis=1)
    below = np.logical_or.accumulate(tibia[:, ::-1], axis=1)[:, ::-1]
    gap = above & below & ~femur & ~tibia
    return ndimage.binary_dilation(gap, np.ones((1, 3, 1), bool)) if gap.any() else gap


def mean_squares(
    error: np.ndarray, mask: np.ndarray, where: Mapping[str, np.ndarray]
) -> dict[str, float]:
    """Mean squared error in each region inside the mask; NaN if the region is empty.

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
