"""Crops the knees of a radiograph to the input of the grading network."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import LINE_SHARE, Radiograph
from xr2mri_jax.inference.volume_grade import Measure
from xr2mri_jax.preprocess.framing import (
    frame_radiograph,
    is_framed,
    line_columns,
)
from xr2mri_jax.preprocess.joint_space import JointSpace, measure_joint_space
from xr2mri_jax.preprocess.knee_request import FoundKnee, KneeRequest, RefusedKnee
from xr2mri_jax.preprocess.knees import knees_of
from xr2mri_jax.preprocess.scale import line_mm

# Frames get a note if less than this fraction is inside the image, or if their resolution is below
# this fraction of the network's.
COVERED, FINE = 0.9, 0.5


@dataclasses.dataclass(frozen=True, eq=False)
class FramedKnee:
    """A knee as input of the network.

    Attributes:
      side: "left" or "right".
      image: f32[h, w, 1] in [0, 1], bone bright, a left knee mirrored.
      notes: unusual findings that may be correct, one clause each.
      source: u8[H, W], the file's whole radiograph, bone bright, in the knee's grey window.
      record: of the `StandardRadiograph`, maps the frame to the source.
      joint_space: in pixels of the source, see `measure_joint_space`; None without a joint line.
      line_mm: length of the joint line in mm; None if there is no joint line and no stated spacing.
      scale_estimated: whether `line_mm` is that of the mean knee, because no spacing is stated.
      volume_space_mm: (medial, lateral) between the bones of the predicted volume, or None.
    """

    side: str
    image: np.ndarray
    notes: tuple[str, ...]
    source: np.ndarray
    record: Mapping[str, Any]
    joint_space: JointSpace | None = None
    line_mm: float | None = None
    scale_estimated: bool = False
    volume_space_mm: tuple[float, float] | None = None

    @property
    def displayed(self) -> np.ndarray:
        """f32[h, w]: the image with the mirroring undone."""
        return self.image[:, ::-1, 0] if self.side == "left" else self.image[..., 0]

    @property
    def joint_space_share(self) -> tuple[float, float] | None:
        """(medial, lateral) over the joint line's length; None if it is not measured."""
        space = self.joint_space
        return None if space is None else (space.medial.share, space.lateral.share)

    @property
    def joint_space_mm(self) -> tuple[float, float] | None:
        """(medial, lateral), at the scale of `line_mm`; None if one of the two is unknown."""
        if self.joint_space is None or self.line_mm is None:
            return None
        found = self.joint_space.millimetres(self.line_mm)
        return found["medial"], found["lateral"]


def frame_knees(
    radiograph: Radiograph,
    shape: Sequence[int],
    contrast: Mapping[str, Any],
    request: KneeRequest | None = None,
    volume: Measure | None = None,
) -> list[FramedKnee | RefusedKnee]:
    """Finds the knees and frames each like the training radiographs.

    Args:
      radiograph: see `knees_of`.
      shape: (h, w) of the network's radiographs.
      contrast: as for `standardise_radiograph`.
      request: the request; None: every knee, with nothing known about it.
      volume: measures the joint space of a knee's predicted volume, see
        `volume_grade.space_measurer`; None: no volume is predicted.

    Returns:
      One entry for each possible knee.

    Raises:
      InputError: as `knees_of`, or a radiograph that cannot be standardised.
    """
    return [
        answer if isinstance(answer, RefusedKnee) else _framed(answer, shape, contrast, volume)
        for answer in knees_of(radiograph, request or KneeRequest())
    ]


def _framed(
    knee: FoundKnee,
    shape: Sequence[int],
    contrast: Mapping[str, Any],
    volume: Measure | None,
) -> FramedKnee:
    radiograph, notes = knee.radiograph, list(knee.doubts)
    standard = frame_radiograph(radiograph, knee.place, shape, contrast)
    wide = float(radiograph.shape[1])
    if not is_framed(radiograph, knee.place):
        wide = line_columns(knee.place, radiograph) / LINE_SHARE
    if wide < FINE * shape[1]:
        notes.append(f"{wide:.0f} pixels across the knee, the network expects {shape[1]}")
    missing = standard.record["outside"]["share"]
    if missing > 1 - COVERED:
        notes.append(f"{missing:.0%} of the frame around the knee lie outside the image")
    joint_space, between_bones = measure_joint_space(radiograph, knee.place), None
    if volume is not None:
        try:
            between_bones = volume(knee, joint_space)
        except InputError as error:  # the knee is graded without its volume, and this is noted
            notes.append(f"no volume: {error}")
    window = standard.record["window"]
    shown = (radiograph.array - window["low"]) / (window["high"] - window["low"])
    source = np.rint(255 * np.clip(shown, 0, 1)).astype(np.uint8)
    return FramedKnee(
        knee.side,
        standard.image,
        tuple(notes),
        source,
        standard.record,
        joint_space,
        None if knee.scale is None else line_mm(radiograph, knee.place, knee.scale),
        knee.scale is not None and knee.scale.deviation > 0,
        between_bones,
    )
