"""An MRI volume to the canonical volume, with a record that leads back."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import BOX_MM, Volume, to_canonical
from xr2mri_jax.preprocess.intensity import apply_window, percentile_window, undo_window

# Percent of the voxels in the field: noise below and single bright vessels above are clipped.
PERCENTILES = (0.5, 99.5)


@dataclasses.dataclass(frozen=True, eq=False)
class StandardVolume:
    """A canonical volume.

    Attributes:
      array: f32[d, h, w] in [0, 1], zero outside the field, a left knee mirrored to a right one.
      mask: bool[d, h, w], the acquired field.
      record: JSON-able; everything that was done, see `standardise_volume`.
    """

    array: np.ndarray
    mask: np.ndarray
    record: dict[str, Any]


def standardise_volume(
    volume: Volume,
    side: str,
    centre: Sequence[float],
    shape: Sequence[int],
    percentiles: Sequence[float] = PERCENTILES,
) -> StandardVolume:
    """Brings an MRI into the canonical box and scales it to [0, 1] inside the field.

    Args:
      volume: any real range, the patient's own coordinates.
      side: "left" or "right".
      centre: RAS mm of the tibiofemoral joint's centre.
      shape: voxels (d, h, w) of the canonical grid.
      percentiles: limits of the intensity window, percent of the field's voxels in the box.

    Returns:
      The canonical volume. Its record has source_shape, source_affine, shape, side, mirrored,
      centre_mm, box_mm, field (share of the box inside the field) and window {low, high,
      percentiles}.

    Raises:
      InputError: a bad side or shape, the box meets no part of the field, a constant volume.
    """
    array, mask = to_canonical(volume, side, centre, shape)
    if not mask.any():
        raise InputError(
            f"the box around {[float(c) for c in centre]} mm meets no voxel of the volume, "
            "expected the joint's centre in world (RAS) millimetres"
        )
    low, high = percentile_window(array[mask], percentiles)
    scaled = np.where(mask, apply_window(array, low, high), np.float32(0))
    record = {
        "source_shape": list(volume.shape),
        "source_affine": volume.affine.tolist(),
        "shape": [int(n) for n in shape],
        "side": side,
        "mirrored": side == "left",
        "centre_mm": [float(c) for c in centre],
        "box_mm": list(BOX_MM),
        "field": float(mask.mean()),
        "window": {"low": low, "high": high, "percentiles": [float(p) for p in percentiles]},
    }
    return StandardVolume(scaled, mask, record)


def source_values(record: Mapping[str, Any], array: np.ndarray) -> np.ndarray:
    """Canonical intensities, any shape in [0, 1], as source values, but for what was clipped."""
    return undo_window(array, record["window"]["low"], record["window"]["high"])
