"""Mean shapes: controls that do not use the knee's own radiograph."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from xr2mri_jax.evaluation.real_pairs.knee import FULL, Bone, Knee, as_bytes
from xr2mri_jax.evaluation.real_pairs.knees import in_threads
from xr2mri_jax.evaluation.real_pairs.protocol import BONES
from xr2mri_jax.geometry import BOX_MM, Volume, canonical_affine
from xr2mri_jax.metrics.box import Box
from xr2mri_jax.metrics.surfaces import surface_of

GRID = (64, 64, 64)  # voxels of 2 mm over the canonical box
_EXACT_MM = 12.0
# The occupancy falls from 1 to 0 over this many mm of signed distance. It is linear over two voxels
# on each side, so that marching cubes finds the exact zero level.
_RAMP_MM = 8.0


class Mean(NamedTuple):
    """A mean shape: bones by name, and the mean width of the tibial plateau."""

    bones: dict[str, Bone]
    width_mm: float

    def of_width(self, width_mm: float) -> dict[str, Bone]:
        """The bones, scaled about the joint's centre to a given plateau width."""
        scale = width_mm / self.width_mm
        return {name: bone.scaled(scale) for name, bone in self.bones.items()}


class MeanShapes:
    """Mean signed distance maps of knees, each without one subject."""

    def __init__(self, knees: Sequence[Knee], subjects: Sequence[str]) -> None:
        """Computes the distance maps of every subject's first knee.

        Args:
          knees: n knees.
          subjects: n names.
        """
        self._first = {name: i for i, name in reversed(list(enumerate(subjects)))}
        self._widths = [knee.width_mm for knee in knees]

        def maps(i: int) -> dict[str, np.ndarray]:
            return {bone: signed_distances(knees[i].bones[bone]) for bone in BONES}

        chosen = list(self._first.values())
        made = in_threads(maps, chosen, "signed distances", "knee")
        self._maps = dict(zip(chosen, made, strict=True))

    def without(self, subject: str | None) -> Mean:
        """The mean shape of all other subjects; None: of all."""
        chosen = [i for name, i in self._first.items() if name != subject]
        bones = {
            bone: bone_of(np.mean([self._maps[i][bone] for i in chosen], axis=0)) for bone in BONES
        }
        return Mean(bones, float(np.mean([self._widths[i] for i in chosen])))


def signed_distances(bone: Bone) -> np.ndarray:
    """Signed distance f32[64, 64, 64] in mm, negative inside; exact near the surface."""
    blocks = bone.occupied.array.reshape(64, 2, 64, 2, 64, 2).mean(axis=(1, 3, 5))
    inside = blocks >= FULL / 2
    size = BOX_MM[0] / GRID[0]
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
    known = Box.around(min(BOX_MM) / 2)
    return Bone(surface_of(volume, "mean shape"), as_bytes(volume), known)
