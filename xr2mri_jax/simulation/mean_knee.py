"""The mean knee of a family: `family.draw_knee` with every random number at its mean."""

from typing import Any

import numpy as np

from xr2mri_jax.phantom import surfaces
from xr2mri_jax.simulation import framing
from xr2mri_jax.simulation.atlas import Atlas
from xr2mri_jax.simulation.family import draw_knee, scan_distances

# Factors of the thickness of the mean knee's cartilages. It has no wear, as drawn and real knees
# have, and departures from it make cartilage thicker: with these, the shipped generator's plates
# have the mean thickness of those of the 20 development pairs (`evaluate --pairs`).
THINNER = {"femoral_outer": 0.93, "tibial_outer": 0.97, "patellar_outer": 0.93}


class MeanGenerator(np.random.Generator):
    """A generator that returns the mean of each distribution and the first of any choices."""

    def __init__(self) -> None:
        """Needs no seed."""
        super().__init__(np.random.PCG64(0))

    def normal(self, loc: Any = 0.0, scale: Any = 1.0, size: Any = None) -> Any:
        """The mean."""
        shape = np.broadcast_shapes(np.shape(loc), np.shape(scale), np.shape(np.zeros(size or ())))
        return np.broadcast_to(np.asarray(loc, float), shape) + 0.0

    def standard_normal(self, size: Any = None, *_: Any, **__: Any) -> Any:
        """Zeros."""
        return np.zeros(size or ())

    def uniform(self, low: Any = 0.0, high: Any = 1.0, size: Any = None) -> Any:
        """The middle."""
        return np.full(size or (), (low + high) / 2)

    def random(self, size: Any = None, *_: Any, **__: Any) -> Any:
        """The middle."""
        return np.full(size or (), 0.5)

    def choice(self, a: Any, *_: Any, **__: Any) -> Any:
        """The first."""
        return 0 if np.ndim(a) == 0 else a[0]


def mean_knee_distances(atlas: Atlas) -> np.ndarray:
    """Signed distances of the mean knee, as the dataset stores knees, without rounding.

    The mean of the distances of many knees blunts bones that lie turned in different ways; this
    knee has their mean measures, but for cartilage, see THINNER.

    Returns:
      f32[k, 32, 32, 32] in mm, in the order of `surfaces.NAMES`, within `surfaces.LIMIT_MM`.
    """
    knee = draw_knee(atlas, MeanGenerator())
    found = scan_distances(knee, framing.Jitter((0.0, 0.0, 0.0), 0.0, 1.0))
    for outer, bone in surfaces.CARTILAGES:
        share = THINNER[surfaces.NAMES[outer]]
        found[outer] = found[bone] - share * (found[bone] - found[outer])
    found = surfaces.halved(found)
    return np.clip(found, -surfaces.LIMIT_MM, surfaces.LIMIT_MM).astype(np.float32)
