"""Composes the sample pictures of the stages: images in a row, planes of a volume."""

from collections.abc import Sequence
from typing import Any

import numpy as np


def in_row(images: Sequence[Any]) -> np.ndarray:
    """2D images side by side, stretched to squares of the largest size by nearest pixel.

    Args:
      images: each [h, w]; values outside [0, 1] are clipped.

    Returns:
      f32[h, w] in [0, 1].
    """
    arrays = [np.clip(np.asarray(image, np.float32), 0.0, 1.0) for image in images]
    size = max(max(array.shape) for array in arrays)
    return np.concatenate([_stretched(array, size) for array in arrays], axis=1)


def middle_planes(volume: Any) -> list[np.ndarray]:
    """The coronal [h, w], sagittal [h, d] and axial [d, w] middle planes of [d, h, w].

    The canonical box is a cube, so `in_row` shows them with correct proportions.
    """
    volume = np.asarray(volume, np.float32)
    d, h, w = (size // 2 for size in volume.shape)
    return [volume[d], volume[:, :, w].T, volume[:, h]]


def _stretched(image: np.ndarray, size: int) -> np.ndarray:
    rows, columns = (np.arange(size) * n // size for n in image.shape)
    return image[rows][:, columns]
