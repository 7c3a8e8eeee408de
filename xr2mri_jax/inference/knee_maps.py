"""Grad-CAM maps of a graded knee, as its pictures need them."""

from typing import NamedTuple

import numpy as np


class KneeMaps(NamedTuple):
    """Maps of one knee, in the pixels of its two patches.

    Attributes:
      blocks: f32[2, h', w'] >= 0 of each block, see `models.gradcam.GradCam.__call__`; None if
        not computed.
      boundaries: f32[2, h', w'] >= 0 of each boundary between grades, see `GradCam.of_boundaries`;
        None if not computed.
    """

    blocks: tuple[np.ndarray, ...] | None
    boundaries: tuple[np.ndarray, ...] | None
