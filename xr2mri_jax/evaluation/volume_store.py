"""Stores predicted and real volumes of a split in a memory-mapped file."""

import tempfile
from pathlib import Path
from types import TracebackType

import numpy as np

from xr2mri_jax import files
from xr2mri_jax.errors import WorkError

SCALE = np.float32(65535)


class VolumeStore:
    """Storage for n predictions, real volumes and masks, 5 bytes per voxel and case.

    A context manager: the file is deleted when it closes or when the process ends for any reason.
    Its disk space is reserved before the first case. Intensities are stored as uint16, as in the
    datasets: predictions are clipped to [0, 1] and rounded to 1/65535 (0.000015).
    """

    def __init__(self, cases: int, folder: Path | str | None = None) -> None:
        self.cases = cases
        self.shape: tuple[int, ...] | None = None
        self._folder = folder
        self._arrays: dict[str, np.memmap] = {}

    def __enter__(self) -> "VolumeStore":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._arrays.clear()

    def put(
        self, cases: np.ndarray, predicted: np.ndarray, real: np.ndarray, mask: np.ndarray
    ) -> None:
        """Stores a batch.

        Args:
          cases: i[b], positions 0..n-1.
          predicted: f32[b, d, h, w, 1]; clipped to [0, 1].
          real: f32[b, d, h, w, 1] in [0, 1].
          mask: f32[b, d, h, w, 1], 1 inside the acquired field.

        Raises:
          ValueError: if the three shapes differ.
          WorkError: if the prediction is not finite.
          OSError: if the disk has too little space for all cases.
        """
        if predicted.shape != real.shape or mask.shape != real.shape:
            raise ValueError(
                f"predicted {predicted.shape}, real {real.shape}, mask {mask.shape}: shapes differ"
            )
        if not _finite(predicted):
            wrong = [c for c, p in zip(cases.tolist(), predicted, strict=True) if not _finite(p)]
            raise WorkError(
                f"the model's prediction for the split's examples {wrong} is not finite"
            )
        if self.shape is None:
            self._open(real.shape[1:])
        self._arrays["predicted"][cases] = np.rint(np.clip(predicted, 0, 1) * SCALE)
        self._arrays["real"][cases] = np.rint(real * SCALE)
        self._arrays["mask"][cases] = mask > 0

    def predicted(self, cases: np.ndarray) -> np.ndarray:
        """f32[b, d, h, w, 1] in [0, 1]."""
        return self._arrays["predicted"][cases] / SCALE

    def real(self, cases: np.ndarray) -> np.ndarray:
        """f32[b, d, h, w, 1] in [0, 1]."""
        return self._arrays["real"][cases] / SCALE

    def mask(self, cases: np.ndarray) -> np.ndarray:
        """f32[b, d, h, w, 1], 0 or 1."""
        return self._arrays["mask"][cases].astype(np.float32)

    def pair(self, case: int) -> tuple[np.ndarray, np.ndarray]:
        """The real and the predicted volume of a case, f32[d, h, w], both 0 outside the mask."""
        position = np.array([case])
        mask = self.mask(position)[0, ..., 0]
        return self.real(position)[0, ..., 0] * mask, self.predicted(position)[0, ..., 0] * mask

    def columns(self, first: int, last: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Voxels first..last-1 of every case in storage order: predicted, real, mask, f32[n, v]."""
        parts = [
            self._arrays[name].reshape(self.cases, -1)[:, first:last].astype(np.float32)
            for name in ("predicted", "real", "mask")
        ]
        return parts[0] / SCALE, parts[1] / SCALE, parts[2]

    def _open(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        for name, dtype in (("predicted", np.uint16), ("real", np.uint16), ("mask", np.uint8)):
            whole = (self.cases, *shape)
            # On POSIX the file has no name, so it always disappears with the process.
            with tempfile.TemporaryFile(prefix="xr2mri-volumes-", dir=self._folder) as file:
                size = int(np.prod(whole, dtype=np.int64)) * np.dtype(dtype).itemsize
                place = self._folder or f"{tempfile.gettempdir()} (TMPDIR)"
                # Writing a mapped page without disk space later would end the process by SIGBUS.
                files.reserve(file, size, f"{place}, {size / 1e6:.0f} MB for volumes")
                self._arrays[name] = np.memmap(file, dtype, "r+", shape=whole)


def _finite(array: np.ndarray) -> bool:
    return bool(np.isfinite(array).all())
