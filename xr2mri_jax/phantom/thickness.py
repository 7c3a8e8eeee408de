"""Thickness of the cartilage plates from the signed distances of a knee."""

import numpy as np

from xr2mri_jax.phantom import surfaces
from xr2mri_jax.phantom.surfaces import NAMES

# Grid on which they are measured, 2 mm; half the depth in mm of the shell about a bone's surface.
_GRID = (64, 64, 64)
_SHELL_MM = 1.0
# plate: bone, outer surface, and whether it is lateral (None: both sides).
PLATES: dict[str, tuple[str, str, bool | None]] = {
    "femoral_medial": ("femur", "femoral_outer", False),
    "femoral_lateral": ("femur", "femoral_outer", True),
    "tibial_medial": ("tibia", "tibial_outer", False),
    "tibial_lateral": ("tibia", "tibial_outer", True),
    "patellar": ("patella", "patellar_outer", None),
}


def mean_thickness(distances: np.ndarray) -> dict[str, float]:
    """Mean thickness of each cartilage plate over the bone that it covers.

    At the bone's surface the thickness is the distance to the outer surface, which signed distances
    hold; voxels within 1 mm of the bone's surface are averaged. Medial and lateral part at the
    tibia's middle.

    Args:
      distances: f32[k, d, h, w] in mm over the canonical box, as `surfaces.NAMES`, a right knee.

    Returns:
      mm by plate; 0 for a plate that is missing.
    """
    wanted = [k for pair in surfaces.CARTILAGES for k in pair]
    fields = surfaces.resized(np.asarray(distances)[wanted], _GRID)
    fine = {NAMES[k]: field for k, field in zip(wanted, fields, strict=True)}
    middle = surfaces.tibial_middle(fine["tibia"])
    lateral = np.broadcast_to(np.arange(_GRID[2]) < middle, _GRID)
    found = {}
    for plate, (bone, outer, side) in PLATES.items():
        near = np.abs(fine[bone]) < _SHELL_MM
        if side is not None:
            near &= lateral == side
        depth = (fine[bone] - fine[outer])[near]
        covered = depth[depth > surfaces.COVERED_MM]
        found[plate] = float(covered.mean()) if len(covered) else 0.0
    return found
