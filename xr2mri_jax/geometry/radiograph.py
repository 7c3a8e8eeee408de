"""Radiographs with pixel spacing and side."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry.sides import SIDES, checked_side


@dataclasses.dataclass(frozen=True, eq=False)
class Radiograph:
    """A radiograph as displayed: rows from superior to inferior, bone bright.

    Attributes:
      array: f32[h, w], linear in the stored values, any range (other dtypes are converted).
      spacing: (row_mm, col_mm), or None if unknown.
      side: "left", "right", or None if unknown or if the image shows both knees.
      doubts: doubts that the file's header raises, one clause each: a view that is not frontal,
        another body part, an ignored tag.
      background: bool[h, w], true where there is no image (padding, shutters); these pixels have
        the lowest value of the others and do not affect an intensity window. None: no background.

    Raises:
      InputError: not two axes, a spacing that is not positive, or a side that is not in SIDES.
    """

    array: np.ndarray
    spacing: tuple[float, float] | None = None
    side: str | None = None
    doubts: tuple[str, ...] = ()
    background: np.ndarray | None = None

    def __post_init__(self) -> None:
        array = np.asarray(self.array)
        if array.ndim != 2 or 0 in array.shape:
            raise InputError(f"a radiograph has shape {array.shape}: expected two axes, none empty")
        object.__setattr__(self, "array", array.astype(np.float32, copy=False))
        if self.spacing is not None:
            object.__setattr__(self, "spacing", checked_spacing(self.spacing))
        if self.side is not None:
            checked_side(self.side)
        if self.background is not None and np.shape(self.background) != array.shape:
            raise InputError(
                f"background of shape {np.shape(self.background)}: expected {array.shape}"
            )

    @property
    def shape(self) -> tuple[int, int]:
        """Pixels along (h, w)."""
        h, w = self.array.shape
        return h, w


def checked_spacing(spacing: float | Sequence[float] | np.ndarray) -> tuple[float, float]:
    """Returns (row_mm, col_mm) from one number or two; raises InputError unless both are > 0."""
    values = np.atleast_1d(np.asarray(spacing, np.float64))
    if values.shape not in ((1,), (2,)) or not np.isfinite(values).all() or values.min() <= 0:
        raise InputError(f"spacing {spacing}: expected one or two positive numbers, mm per pixel")
    return float(values[0]), float(values[-1])


def mirror_radiograph(radiograph: Radiograph) -> Radiograph:
    """Reverses the columns and swaps left and right; an unknown side stays unknown."""
    side = None if radiograph.side is None else SIDES[1 - SIDES.index(radiograph.side)]
    background = radiograph.background
    return dataclasses.replace(
        radiograph,
        array=np.ascontiguousarray(radiograph.array[:, ::-1]),
        side=side,
        background=None if background is None else np.ascontiguousarray(background[:, ::-1]),
    )
