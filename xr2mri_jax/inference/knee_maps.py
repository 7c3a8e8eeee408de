"""Maps of evidence that a grading told of a knee, as its pictures need them."""

from typing import NamedTuple

import numpy as np


class KneeMaps(NamedTuple):
    """Maps of one knee, of both patches as they lie in them.

    Attributes:
      blocks: f32[2, h', w'] >= 0 of each block, see `models.gradcam.GradCam.__call__`; None where
        they were not told.
      boundaries: f32[2, h', w'] >= 0 of each boundary between grades, see `GradCam.of_boundaries`;
        None likewise.
    """

    blocks: tuple[np.ndarray, ...] | None
    boundaries: tuple[np.ndarray, ...] | None
