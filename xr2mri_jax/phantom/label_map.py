"""From any label map to a volume of a tissue property, with cortical shells and partial volume."""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from xr2mri_jax.errors import InputError
from xr2mri_jax.phantom.tissues import BONE_CODES, CODES

# Thickness in mm of the shell that a bone label gets; label maps do not tell cortical bone.
CORTEX_MM = 1.2


def material_volume(
    labels: np.ndarray,
    spacing: Sequence[float],
    table: np.ndarray,
    surroundings: str = "background",
) -> np.ndarray:
    """Looks a property up for every voxel.

    Args:
      labels: unsigned or signed integers [d, h, w], codes of `tissues.TISSUES`.
      spacing: mm along d, h, w.
      table: f32[n], the property by code (`mri.signal_table`, `tissues.attenuation_table`).
      surroundings: tissue that label 0 stands for; a map of bones alone is best put into "muscle".

    Returns:
      f32[d, h, w]: the property; bones have a cortical shell, and edges are softened by about half
      a voxel.

    Raises:
      InputError: a code or the surroundings are unknown, or the array has not three axes.
    """
    labels = np.asarray(labels)
    if labels.ndim != 3 or not np.issubdtype(labels.dtype, np.integer):
        raise InputError(
            f"labels: found {labels.dtype} with {labels.ndim} axes, expected integers with 3"
        )
    unknown = sorted(set(np.unique(labels).tolist()) - set(CODES.values()))
    if unknown:
        raise InputError(f"labels: found code {unknown[0]}, expected 0 to {max(CODES.values())}")
    if surroundings not in CODES:
        raise InputError(f"surroundings: found {surroundings!r}, expected one of {tuple(CODES)}")
    values = np.array(table, np.float32)
    values[0] = table[CODES[surroundings]]
    volume = values[labels]
    bone = np.isin(labels, BONE_CODES)
    if bone.any():
        depth = ndimage.distance_transform_edt(bone, sampling=tuple(spacing)).astype(np.float32)
        # The transform measures to the next voxel centre: half a voxel of it lies outside.
        inside = np.clip((depth - CORTEX_MM) / float(np.mean(spacing)), 0.0, 1.0)
        cortical = np.float32(table[CODES["cortical_bone"]])
        volume = np.where(bone, cortical + (volume - cortical) * inside, volume)
    return ndimage.gaussian_filter(volume, 0.45, mode="nearest").astype(np.float32)
