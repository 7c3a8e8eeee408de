"""The quantities of a predicted knee that get an interval: cartilage thickness, joint space."""

import numpy as np

from xr2mri_jax.inference.joint_fit import spaces
from xr2mri_jax.phantom.thickness import mean_thickness


def quantities(distances: np.ndarray, with_space: bool = True) -> dict[str, float]:
    """Measures the quantities in the surfaces of a knee.

    Args:
      distances: f32[k, d, h, w] in mm of the box, as `phantom.surfaces.NAMES`, a right knee.
      with_space: whether to measure the joint space, which takes most of the time.

    Returns:
      mm by the names of `model.QUANTITIES`; without joint space if a plateau is missing.
    """
    found = {f"thickness_{plate}": mm for plate, mm in mean_thickness(distances).items()}
    between = spaces(distances) if with_space else None
    return found | {f"joint_space_{name}": mm for name, mm in (between or {}).items()}
