"""The mean knee of a family: `family.draw_knee` with every random number at its mean.

And any knee in the mean pose, so that what differs between two knees is their shape.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from xr2mri_jax.phantom import surfaces
from xr2mri_jax.simulation import framing
from xr2mri_jax.simulation.atlas import Atlas
from xr2mri_jax.simulation.family import (
    FEMUR_PIVOT,
    PATELLA_PIVOT,
    Knee,
    draw_knee,
    scan_distances,
    zoom_of,
)
from xr2mri_jax.simulation.population import population
from xr2mri_jax.simulation.poses import (
    SPACE_MM,
    RadiographPose,
    compose,
    measured_pose,
    plateau_points,
    with_joint_spaces,
)

# Factors of the thickness of the mean knee's cartilages. It has no wear, as drawn and real knees
# have, and departures from it make cartilage thicker: with these, the shipped generator's plates
# have the mean thickness of those of the 20 development pairs (`evaluate --pairs`).
THINNER = {"femoral_outer": 0.93, "tibial_outer": 0.97, "patellar_outer": 0.93}
CENTRED = framing.Jitter((0.0, 0.0, 0.0), 0.0, 1.0)


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


def mean_knee_distances(atlas: Atlas, jitter: framing.Jitter = CENTRED) -> np.ndarray:
    """Signed distances of the mean knee, as the dataset stores knees, without rounding.

    The mean of the distances of many knees blunts bones that lie turned in different ways; this
    knee has their mean measures, but for cartilage, see THINNER.

    Args:
      atlas: from `atlas.build`.
      jitter: how the frame misses the knee.

    Returns:
      f32[k, 32, 32, 32] in mm, in the order of `surfaces.NAMES`, within `surfaces.LIMIT_MM`.
    """
    found = scan_distances(draw_knee(atlas, MeanGenerator()), jitter)
    for outer, bone in surfaces.CARTILAGES:
        share = THINNER[surfaces.NAMES[outer]]
        found[outer] = found[bone] - share * (found[bone] - found[outer])
    return _limited(found)


def in_mean_pose(shapes: Mapping[str, np.ndarray]) -> np.ndarray:
    """Signed distances of a knee whose bones lie as in the mean knee, with its joint spaces.

    Args:
      shapes: by name of `surfaces.NAMES` f32[SIZE, SIZE, SIZE], mm, each bone in its own frame.

    Returns:
      As `mean_knee_distances`; the knee is scaled to the usual width of its plateau.
    """
    means = population().parted(population().mean)
    zoom, points = zoom_of(shapes["tibia"]), plateau_points(shapes["tibia"])
    wanted = (means["space"] + SPACE_MM) * zoom
    lying = measured_pose(means["pose"], FEMUR_PIVOT)
    femur = with_joint_spaces(shapes["femur"], points, lying, wanted)
    patella = compose(measured_pose(means["tracking"], PATELLA_PIVOT), femur)
    seen = RadiographPose(np.eye(3), femur, patella)
    knee = Knee(dict(shapes), femur, patella, seen, zoom, 0, (float(wanted[0]), float(wanted[1])))
    return _limited(scan_distances(knee, CENTRED))


def _limited(distances: np.ndarray) -> np.ndarray:
    halved = surfaces.halved(distances)
    return np.clip(halved, -surfaces.LIMIT_MM, surfaces.LIMIT_MM).astype(np.float32)
