"""Brings an MRI volume into the canonical frame, with a record that maps back."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import BOX_MM, Volume, to_canonical
from xr2mri_jax.preprocess.intensity import scale_to_window, undo_window
from xr2mri_jax.preprocess.joint_centre.find import JointCentre, find_joint_centre
from xr2mri_jax.preprocess.record import frame_record

# Percent of the voxels in the field: clips noise below and single bright vessels above.
PERCENTILES = (0.5, 99.5)


@dataclasses.dataclass(frozen=True, eq=False)
class StandardVolume:
    """A volume in the canonical frame.

    Attributes:
      array: f32[d, h, w] in [0, 1], zero outside the field, a left knee mirrored to a right one.
      mask: bool[d, h, w], the acquired field.
      record: JSON-able; every processing step, see `standardise_volume`.
    """

    array: np.ndarray
    mask: np.ndarray
    record: dict[str, Any]


def standardise_volume(
    volume: Volume,
    side: str,
    centre: Sequence[float] | None,
    shape: Sequence[int],
    percentiles: Sequence[float] = PERCENTILES,
) -> StandardVolume:
    """Brings an MRI into the canonical box and scales it to [0, 1] inside the field.

    Args:
      volume: any real range, in patient coordinates; NaN outside the field.
      side: "left" or "right".
      centre: RAS mm of the tibiofemoral joint centre; None: located by `find_joint_centre`.
      shape: voxels (d, h, w) of the canonical grid.
      percentiles: limits of the intensity window, percent of the field's voxels in the box.

    Returns:
      The volume in the canonical frame. Its record has source_shape, source_affine, shape, side,
      mirrored, centre_mm, centre_found (None if it was given, else confidence and spread_mm),
      box_mm, field (fraction of the box inside the field) and window {low, high, percentiles}.

    Raises:
      InputError: an invalid side, shape or setting, no joint found, no overlap of box and field, or
        a constant volume.
    """
    found = None
    if centre is None:
        found = find_joint_centre(volume, side)
        centre = found.centre_mm
    array, mask = to_canonical(volume, side, centre, shape)
    if not mask.any():
        raise InputError(
            f"the box around {[float(c) for c in centre]} mm contains no voxel of the volume, "
            "expected the joint's centre in world (RAS) millimetres"
        )
    scaled, window = scale_to_window(array, mask, percentiles)
    record = {
        **frame_record(volume.shape, shape, side),
        "source_affine": volume.affine.tolist(),
        "centre_mm": [float(c) for c in centre],
        "centre_found": _how_sure(found),
        "box_mm": list(BOX_MM),
        "field": float(mask.mean()),
        "window": window,
    }
    return StandardVolume(np.where(mask, scaled, np.float32(0)), mask, record)


def source_values(record: Mapping[str, Any], array: np.ndarray) -> np.ndarray:
    """Maps canonical intensities to values of the source, except for clipped values.

    Args:
      record: of a `StandardVolume`.
      array: f32 in [0, 1], of any shape.
    """
    return undo_window(array, record["window"]["low"], record["window"]["high"])


def _how_sure(found: JointCentre | None) -> dict[str, float] | None:
    if found is None:
        return None
    return {"confidence": found.confidence, "spread_mm": found.spread_mm}
