"""Controls that a model must beat: predictions from no radiograph, a wrong one or a look-up.

mean_volume: the mean of the training volumes, the same for every case. Its score needs no
  radiograph.
nearest_neighbour: the MRI of the training case with the nearest radiograph. Its score needs only a
  look-up, no learning.
shuffled_xray: the model with another subject's radiograph. If this scores as well as the model, the
  model ignores its input.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from xr2mri_jax.errors import InputError

SMALL = 32


class TrainingSummary:
    """The data of the training split that the controls need; filled batch by batch."""

    def __init__(self) -> None:
        self._sum: np.ndarray | None = None
        self._count: np.ndarray | None = None
        self._small: list[np.ndarray] = []
        self._subjects: list[str] = []
        self._indices: list[int] = []

    def add(self, batch: Mapping[str, np.ndarray]) -> None:
        """Adds a batch with xray, mri, mask, subject, index and example_mask."""
        real = batch["example_mask"] > 0
        mri, mask = batch["mri"][real], batch["mask"][real] > 0
        if self._sum is None:
            self._sum = np.zeros(mri.shape[1:], np.float64)
            self._count = np.zeros(mri.shape[1:], np.int64)
        for volume, inside in zip(mri, mask, strict=True):
            self._sum += np.where(inside, volume, np.float32(0))
            self._count += inside
        self._small.append(shrink(batch["xray"][real]))
        self._subjects += batch["subject"][real].tolist()
        self._indices += batch["index"][real].tolist()

    def mean_volume(self) -> np.ndarray:
        """The mean f32[d, h, w, 1] of each voxel over the cases whose mask includes it.

        A voxel outside every mask is 0.
        """
        assert self._sum is not None and self._count is not None
        return (self._sum / np.maximum(self._count, 1)).astype(np.float32)

    def nearest(self, xrays: np.ndarray, subjects: Sequence[str]) -> np.ndarray:
        """Finds the training case with the nearest radiograph, of another subject.

        The distance is Euclidean between radiographs downsampled by averaging to at most 32 x 32
        pixels, so that noise and shifts of one pixel matter little.

        Args:
          xrays: f32[n, h, w, 1] in [0, 1].
          subjects: their n subjects.

        Returns:
          i64[n], positions in the training split.

        Raises:
          InputError: if the whole training split belongs to one of these subjects.
        """
        train = np.concatenate(self._small).astype(np.float64)
        own = np.asarray(subjects)[:, None] == np.asarray(self._subjects)[None, :]
        if own.all(axis=1).any():
            raise InputError(
                "the training split has only one subject, expected another subject's knee for the "
                "control with the nearest radiograph"
            )
        test = shrink(xrays).astype(np.float64)
        squares = (test**2).sum(1)[:, None] + (train**2).sum(1)[None] - 2 * test @ train.T
        return np.asarray(self._indices)[np.argmin(np.where(own, np.inf, squares), axis=1)]


def shrink(xrays: np.ndarray) -> np.ndarray:
    """Averages radiographs f32[n, h, w, 1] over blocks to at most 32 x 32: f32[n, h' * w'].

    Rows and columns beyond the last complete block are dropped.
    """
    count, height, width = xrays.shape[:3]
    tall, wide = -(-height // SMALL), -(-width // SMALL)
    whole = xrays[:, : height // tall * tall, : width // wide * wide, 0]
    blocks = whole.reshape(count, height // tall, tall, width // wide, wide)
    return blocks.mean(axis=(2, 4), dtype=np.float32).reshape(count, -1)


def shuffled(subjects: Sequence[str], seed: int) -> np.ndarray:
    """Assigns every case a case of another subject; every case is used once.

    Cases are sorted by subject, with subjects in random order, and rotated by the largest number
    of cases of a subject, so that no case is assigned its own subject.

    Args:
      subjects: n names.
      seed: seed of the order.

    Returns:
      i64[n]: case i gets the radiograph of case result[i].

    Raises:
      InputError: if more than half of the cases belong to one subject: no such order exists.
    """
    names, membership, counts = np.unique(
        np.asarray(subjects), return_inverse=True, return_counts=True
    )
    if 2 * counts.max() > len(subjects):
        raise InputError(
            f"the control with shuffled radiographs needs another subject for every case, but "
            f"{counts.max()} of {len(subjects)} cases belong to {names[counts.argmax()]}"
        )
    rng = np.random.default_rng(seed)
    rank = rng.permutation(len(names))[membership]
    row = np.lexsort((rng.permutation(len(subjects)), rank))
    result = np.empty(len(subjects), np.int64)
    result[row] = np.roll(row, -int(counts.max()))
    return result
