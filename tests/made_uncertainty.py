"""An uncertainty of made numbers."""

import numpy as np

from xr2mri_jax.inference.uncertainty import surfaces, voxels
from xr2mri_jax.inference.uncertainty.model import QUANTITIES, Uncertainty
from xr2mri_jax.metrics.structures import STRUCTURES
from xr2mri_jax.phantom.surfaces import NAMES


def uncertainty(with_surfaces: bool = True, mm: float = 2.0) -> Uncertainty:
    """Half-widths of 0.1, but for what is bright; surfaces are off by up to `mm`."""
    kinds = len(STRUCTURES) + 1
    of_bin = np.full(voxels.BINS, np.log(0.1), np.float32)
    of_bin[-6:] = np.log(0.2)
    spread = voxels.VoxelSpread(
        np.zeros(voxels.PLACES, np.float32),
        of_bin,
        np.zeros(kinds, np.float32),
        np.zeros((kinds, voxels.BINS), np.float32),
        np.zeros((kinds, voxels.PLACES), np.float32),
    )
    if not with_surfaces:
        return Uncertainty(spread, None, {}, 5)
    widths = np.full((len(NAMES), *surfaces.BLOCKS), mm, np.float32)
    offsets = dict.fromkeys(QUANTITIES, (-0.5, 0.25))
    return Uncertainty(spread, surfaces.SurfaceSpread(widths), offsets, 5)
