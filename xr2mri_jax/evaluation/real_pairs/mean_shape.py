"""Mean shapes: controls that do not use the knee's own radiograph.

A mean of unaligned bones is blunt, because poses and sizes differ, and easily beaten after an
alignment. Each bone is therefore aligned with a reference, averaged there, and put back into the
mean pose and size: the first step of generalised Procrustes analysis (Gower 1975, Psychometrika
40:33-51).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from xr2mri_jax.evaluation.real_pairs.knee import FULL, Bone, Knee, as_bytes
from xr2mri_jax.evaluation.real_pairs.knees import in_threads
from xr2mri_jax.evaluation.real_pairs.protocol import BONES, CUBE
from xr2mri_jax.geometry import BOX_MM, Volume, canonical_affine
from xr2mri_jax.metrics.alignment import Similarity, align
from xr2mri_jax.metrics.box import Box
from xr2mri_jax.metrics.occupancy import resampled
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
    """Mean bones of knees, each without one subject.

    The reference of a bone is its mean over all subjects without alignment, with which every
    subject's bone is aligned, scale included. A mean shape is the mean of the other subjects'
    aligned bones, moved by the mean of the transforms back to them, so that pose and size are
    theirs too. At every point, only the maps that reach it are averaged.
    """

    def __init__(self, knees: Sequence[Knee], subjects: Sequence[str]) -> None:
        """Aligns the bones of every subject's first knee and computes their distance maps.

        Args:
          knees: n knees.
          subjects: n names.

        Raises:
          InputError: a bone shares too little with the mean bone.
        """
        self._first = {name: i for i, name in reversed(list(enumerate(subjects)))}
        self._widths = [knee.width_mm for knee in knees]
        chosen = list(self._first.values())

        def placed(i: int) -> dict[str, _Placed]:
            return {name: _placed(bone, Similarity()) for name, bone in knees[i].bones.items()}

        made = in_threads(placed, chosen, "signed distances", "knee")
        reference = {name: bone_of(_mean([one[name] for one in made])) for name in BONES}

        def aligned(i: int) -> dict[str, _Placed]:
            return {name: _aligned(knees[i].bones[name], reference[name]) for name in BONES}

        made = in_threads(aligned, chosen, "mean shape", "knee")
        self._placed = dict(zip(chosen, made, strict=True))

    def without(self, subject: str | None) -> Mean:
        """The mean shape of all other subjects; None: of all."""
        chosen = [i for name, i in self._first.items() if name != subject]
        bones = {}
        for name in BONES:
            others = [self._placed[i][name] for i in chosen]
            bones[name] = bone_of(_mean(others)).moved(_mean_inverse([one.fit for one in others]))
        return Mean(bones, float(np.mean([self._widths[i] for i in chosen])))


class _Placed(NamedTuple):
    """A bone moved onto a reference: the transform, its signed distances, where its map reaches."""

    fit: Similarity
    distances: np.ndarray
    known: np.ndarray


def _placed(bone: Bone, fit: Similarity) -> _Placed:
    grid = Volume(np.zeros(GRID, bool), canonical_affine(GRID))
    points = grid.world(np.moveaxis(np.indices(GRID), 0, -1).reshape(-1, 3))
    known = bone.known(fit.inverse_points(points)).reshape(GRID)
    return _Placed(fit, signed_distances(bone, fit), known)


def _aligned(bone: Bone, reference: Bone) -> _Placed:
    return _placed(bone, align(bone.surface, reference.surface, CUBE, bone.known, scale=True))


def _mean(placed: Sequence[_Placed]) -> np.ndarray:
    """Mean signed distance map; where no map reaches, of all maps."""
    known = np.array([one.known for one in placed])
    weights = known | ~known.any(axis=0)
    return np.average([one.distances for one in placed], axis=0, weights=weights)


def _mean_inverse(fits: Sequence[Similarity]) -> Similarity:
    """The mean of the inverse transforms: rotation, logarithm of the scale, image of the origin."""
    rotation = Rotation.from_matrix([fit.rotation.T for fit in fits]).mean().as_matrix()
    scale = float(np.exp(-np.mean([np.log(fit.scale) for fit in fits])))
    origin = np.zeros((1, 3))
    translation = np.mean([fit.inverse_points(origin)[0] for fit in fits], axis=0)
    return Similarity(rotation, scale, translation)


def signed_distances(bone: Bone, fit: Similarity | None = None) -> np.ndarray:
    """Signed distance f32[64, 64, 64] in mm, negative inside; exact near the surface.

    Args:
      bone: the bone.
      fit: moves the bone first; None: it stays.
    """
    fit = fit or Similarity()
    grid = Volume(np.zeros(GRID, bool), canonical_affine(GRID))
    inside = resampled(bone.occupied, grid, fit.matrix(), FULL / 2)
    size = BOX_MM[0] / GRID[0]
    found = ndimage.distance_transform_edt(~inside) - ndimage.distance_transform_edt(inside)
    found = size * (found - 0.5 * np.sign(found))
    near = np.abs(found) < _EXACT_MM
    points = fit.inverse_points(grid.world(np.argwhere(near)))
    found[near] = fit.scale * bone.surface.signed_distance(points)
    return found.astype(np.float32)


def bone_of(distances: np.ndarray) -> Bone:
    """The bone whose surface is the zero level of a signed distance map f[64, 64, 64], mm."""
    occupancy = np.clip(0.5 - distances / _RAMP_MM, 0, 1).astype(np.float32)
    volume = Volume(occupancy, canonical_affine(GRID))
    known = Box.around(min(BOX_MM) / 2)
    return Bone(surface_of(volume, "mean shape"), as_bytes(volume), known)
