"""Augmentation of a radiograph in NumPy, for the PyTorch side of the side-by-side runs.

PyTorch's data loaders augment on the CPU, one example at a time. These are the augmentations of
`data.augment` that the compared recipe uses, with the same strengths.
"""

import math
from collections.abc import Mapping

import numpy as np


def apply(xray: np.ndarray, rng: np.random.Generator, strength: Mapping[str, float]) -> np.ndarray:
    """Shift, rotation, magnification, gamma, contrast, brightness and noise.

    Args:
      xray: uint16[h, w, 1], 65535 is 1.
      rng: the example's generator.
      strength: from `augment.strengths`; the other augmentations are ignored.

    Returns:
      f32[h, w, 1] in [0, 1].
    """
    image = _moved(xray[..., 0].astype(np.float32) / np.float32(65535), rng, strength)
    gamma, contrast, brightness = rng.uniform(-1, 1, size=3)
    image = image ** np.float32(math.exp(gamma * strength["gamma"]))
    mean = image.mean(dtype=np.float32)
    image = (image - mean) * np.float32(math.exp(contrast * strength["contrast"])) + mean
    image += np.float32(brightness * strength["brightness"])
    sigma = np.float32(rng.uniform() * strength["noise"])
    image += sigma * rng.standard_normal(image.shape, dtype=np.float32)
    return np.clip(image, 0, 1)[..., None]


def _moved(
    image: np.ndarray, rng: np.random.Generator, strength: Mapping[str, float]
) -> np.ndarray:
    """f32[h, w] moved with bilinear interpolation; the border repeats the outermost pixels."""
    height, width = image.shape
    limit = int(strength["shift"])
    shift = rng.integers(-limit, limit + 1, size=2)
    angle = math.radians(rng.uniform(-1, 1) * strength["rotate"])
    scale = 1.0 + rng.uniform(-1, 1) * strength["scale"]
    middle = (height - 1) / 2, (width - 1) / 2
    y = np.arange(height)[:, None] - middle[0] - shift[0]
    x = np.arange(width)[None, :] - middle[1] - shift[1]
    cosine, sine = math.cos(angle) / scale, math.sin(angle) / scale
    rows = np.clip(cosine * y + sine * x + middle[0], 0, height - 1).ravel()
    columns = np.clip(cosine * x - sine * y + middle[1], 0, width - 1).ravel()
    top = np.minimum(rows.astype(np.int32), height - 2)
    left = np.minimum(columns.astype(np.int32), width - 2)
    down, right = (rows - top).astype(np.float32), (columns - left).astype(np.float32)
    place = top.astype(np.intp) * width + left
    flat = image.ravel()
    upper, lower = (
        _between(flat.take(row), flat.take(row + 1), right) for row in (place, place + width)
    )
    return _between(upper, lower, down).reshape(height, width)


def _between(first: np.ndarray, second: np.ndarray, share: np.ndarray) -> np.ndarray:
    """first + share * (second - first), in the memory of `second`."""
    second -= first
    second *= share
    second += first
    return second
