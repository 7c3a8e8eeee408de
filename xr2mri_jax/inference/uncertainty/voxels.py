"""How far a predicted intensity may be off: the half-width of an interval for every voxel.

The half-width is a product: a factor for the place in the box, one for what is predicted there
(intensity and contrast of the surroundings), and one for each structure that may lie there, to the
power of its probability. A thin bright cartilage is wider off than its blurred prediction tells.
"""

import dataclasses
import functools

import numpy as np
from scipy import ndimage

# Blocks of the box along (d, h, w); a volume with fewer voxels along an axis fills every second.
BLOCKS = (16, 32, 32)
# Edges of the bins of intensity, and of its range over 3 x 3 x 3 voxels.
_INTENSITY = (0.03, 0.08, 0.15, 0.25, 0.35, 0.5, 0.7)
_CONTRAST = (0.02, 0.05, 0.1, 0.2, 0.35)
PLACES = BLOCKS[0] * BLOCKS[1] * BLOCKS[2]
BINS = (len(_INTENSITY) + 1) * (len(_CONTRAST) + 1)


def features(volume: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The bin and the block of every voxel: volume f32[d, h, w] in [0, 1] to i32[d, h, w] each."""
    lowest = ndimage.minimum_filter(volume, 3, mode="nearest")
    highest = ndimage.maximum_filter(volume, 3, mode="nearest")
    levels = np.digitize(volume, _INTENSITY).astype(np.int32)
    levels *= len(_CONTRAST) + 1
    levels += np.digitize(highest - lowest, _CONTRAST).astype(np.int32)
    index = [
        (np.arange(n) * blocks // n).astype(np.int32)
        for n, blocks in zip(volume.shape, BLOCKS, strict=True)
    ]
    place = (index[0][:, None, None] * BLOCKS[1] + index[1][:, None]) * BLOCKS[2] + index[2]
    return levels, np.ascontiguousarray(place)


@dataclasses.dataclass(frozen=True, eq=False)
class VoxelSpread:
    """Tables of logarithms; s structures, the last of them what is none of the others.

    Attributes:
      of_place: f32[PLACES].
      of_bin: f32[BINS].
      of_structure: f32[s], 0 for a structure that needs no factor.
      seen_in_bin: f32[s, BINS], the logarithm of each structure's share of a bin.
      seen_at: f32[s, PLACES], that of its share of a place over its share of all voxels.
    """

    of_place: np.ndarray
    of_bin: np.ndarray
    of_structure: np.ndarray
    seen_in_bin: np.ndarray
    seen_at: np.ndarray

    def half_width(self, volume: np.ndarray) -> np.ndarray:
        """Half-width of the interval: volume f32[d, h, w] in [0, 1] to f32[d, h, w] in [0, 1]."""
        levels, place = features(volume)
        place += levels * np.int32(PLACES)
        return self._table.take(place)

    @functools.cached_property
    def _table(self) -> np.ndarray:
        """The half-width of every bin and place, f32[BINS * PLACES]."""
        place = np.arange(PLACES)
        rows = [self.logarithm(np.full(PLACES, i), place) for i in range(BINS)]
        return np.minimum(np.exp(np.concatenate(rows)), 1.0).astype(np.float32)

    def logarithm(self, levels: np.ndarray, place: np.ndarray) -> np.ndarray:
        """The logarithm of the half-width, f32[n], by bin and block, i[n] each."""
        found = self.of_place[place] + self.of_bin[levels]
        if self.of_structure.any():
            found += self.of_structure @ self.probability(levels, place)
        return found

    def probability(self, levels: np.ndarray, place: np.ndarray) -> np.ndarray:
        """How likely each structure is there, by bin and place as independent signs: f32[s, n]."""
        score = self.seen_in_bin[:, levels] + self.seen_at[:, place]
        score -= score.max(axis=0)
        np.exp(score, out=score)
        score /= score.sum(axis=0)
        return score
