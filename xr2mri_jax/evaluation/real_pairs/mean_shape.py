"""Mean shapes: what is reached without any radiograph."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from xr2mri_jax.evaluation.real_pairs.knee import BONES, FULL, Bone, Extent, as_bytes, bones_of
from xr2mri_jax.geometry import Volume, canonical_affine
from xr2mri_jax.metrics.surfaces import surface_of
from xr2mri_jax.phantom import case

GRID = (64, 64, 64)  # voxels of 2 mm over the canonical box
PHANTOM_KNEES = 4
_EXACT_MM = 12.0
# An occupancy of 0 to 1 over this many mm of signed distance: linear over two voxels each way, so
# that marching cubes finds the zero level itself.
_RAMP_MM = 8.0


class Mean(NamedTuple):
    """A mean shape: bones by name, and the mean width of the tibial plateau."""

    bones: dict[str, Bone]
    width_mm: float

    def of_width(self, width_mm: float) -> dict[str, Bone]:
        """The bones, scaled about the joint's centre to another width of the plateau."""
        scale = width_mm / self.width_mm
        return {name: bone.scaled(scale) for name, bone in self.bones.items()}


class MeanShapes:
    """Mean signed distance maps of knees, with any subject left out."""

    def __init__(
        self,
        knees: Sequence[Mapping[str, Bone]],
        widths_mm: Sequence[float],
        subjects: Sequence[str],
    ) -> None:
        """Of every subject the first knee counts.

        Args:
          knees: bones by name, of n knees.
          widths_mm: of their tibial plateaus.
          subjects: n names.
        """
        self._first = {name: i for i, name in reversed(list(enumerate(subjects)))}
        self._widths = widths_mm
        self._maps = {
            i: {bone: signed_distances(knees[i][bone]) for bone in BONES}
            for i in self._first.values()
        }

    def without(self, subject: str | None) -> Mean:
        """The mean shape of all other subjects."""
        chosen = [i for name, i in self._first.items() if name != subject]
        bones = {
            bone: bone_of(np.mean([self._maps[i][bone] for i in chosen], axis=0)) for bone in BONES
        }
        return Mean(bones, float(np.mean([self._widths[i] for i in chosen])))


def signed_distances(bone: Bone) -> np.ndarray:
    """Signed distance f32[64, 64, 64] in mm, below 0 inside; exact near the surface."""
    blocks = bone.occupied.array.reshape(64, 2, 64, 2, 64, 2).mean(axis=(1, 3, 5))
    inside = blocks >= FULL / 2
    size = 128.0 / GRID[0]
    found = ndimage.distance_transform_edt(~inside) - ndimage.distance_transform_edt(inside)
    found = size * (found - 0.5 * np.sign(found))
    near = np.abs(found) < _EXACT_MM
    grid = Volume(inside, canonical_affine(GRID))
    found[near] = bone.surface.signed_distance(grid.world(np.argwhere(near)))
    return found.astype(np.float32)


def bone_of(distances: np.ndarray) -> Bone:
    """The bone whose surface is the zero level of a signed distance map f[64, 64, 64], mm."""
    occupancy = np.clip(0.5 - distances / _RAMP_MM, 0, 1).astype(np.float32)
    volume = Volume(occupancy, canonical_affine(GRID))
    return Bone(surface_of(volume, "mean shape"), as_bytes(volume), Extent.of(volume))


def phantom_mean() -> Mean:
    """The mean shape of PHANTOM_KNEES simulated subjects: it needs no patient's map."""
    parts = case.compiled_parts(GRID)
    shapes, widths = [], []
    for index in range(0, 2 * PHANTOM_KNEES, 2):  # the right knee of each subject
        drawn = case.draw(0, index)
        voxels = parts.voxelise(drawn.parameters, parts.place(drawn.parameters), drawn.surfaces)
        labels = Volume(np.asarray(voxels.labels), canonical_affine(GRID))
        bones, width = bones_of(labels, "right")
        shapes.append(bones)
        widths.append(width)
    names = [str(index) for index in range(PHANTOM_KNEES)]
    return MeanShapes(shapes, widths, names).without(None)
