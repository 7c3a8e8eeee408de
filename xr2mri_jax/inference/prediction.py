"""The prediction for one radiograph, before it is written."""

import dataclasses
import functools
from typing import Any

import numpy as np

from xr2mri_jax.geometry import Volume
from xr2mri_jax.inference.uncertainty.surfaces import SurfaceSpread
from xr2mri_jax.phantom import surfaces
from xr2mri_jax.preprocess.radiograph import StandardRadiograph
from xr2mri_jax.presentation.pluralise import pluralise


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Prediction:
    """A volume predicted from one radiograph.

    Attributes:
      volume: f32 in [0, 1], axes nearest to R, A, S; the canonical box around the world origin,
        which is the joint's centre.
      canonical: f32[d, h, w] in [0, 1], the same in the canonical frame (a right knee).
      seen: the model's input.
      record: JSON-able account of model, radiograph and volume.
      distances: f32[k, d', h', w'] in mm of the box, see `phantom.surfaces`; None if the model
        predicts none.
      scale: millimetres in the patient per millimetre of the box.
      half_width: f32[d, h, w] in [0, 1], half-width of the interval of each voxel of `canonical`;
        None if the model's uncertainty is unknown.
      spread: uncertainty of its surfaces; None if unknown, or without surfaces.
    """

    volume: Volume
    canonical: np.ndarray
    seen: StandardRadiograph
    record: dict[str, Any]
    distances: np.ndarray | None = None
    scale: float = 1.0
    half_width: np.ndarray | None = None
    spread: SurfaceSpread | None = None

    @functools.cached_property
    def labels(self) -> np.ndarray | None:
        """Label codes u8[d, h, w] on the grid of `canonical`; None without distances."""
        if self.distances is None:
            return None
        return surfaces.labels(surfaces.resized(self.distances, self.canonical.shape, order=3))

    @functools.cached_property
    def confidence(self) -> np.ndarray | None:
        """Probability that each label is right, f32[d, h, w] in [0, 1]; None without `spread`."""
        if self.distances is None or self.spread is None or self.labels is None:
            return None
        return self.spread.confidence(
            surfaces.resized(self.distances, self.labels.shape), self.labels
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """The doubtful decisions, one text each."""
        return tuple(self.record["warnings"])

    def __repr__(self) -> str:
        """One line: printed arrays would fill pages."""
        size = " x ".join(map(str, self.volume.array.shape))
        doubts = pluralise(len(self.warnings), "warning")
        return f"Prediction({self.seen.side} knee, volume of {size} voxels, {doubts})"
