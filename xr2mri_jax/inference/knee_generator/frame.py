"""A framed knee as the shipped generator sees it, and what its millimetres are in the patient."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import BOX_MM, Radiograph
from xr2mri_jax.inference.framing import frame_knees
from xr2mri_jax.preprocess.radiograph import DEFAULT_CONTRAST, StandardRadiograph
from xr2mri_jax.simulation import framing
from xr2mri_jax.simulation.atlas import PLATEAU_MM

# A frame's pixels before it is put into the box.
FRAME_SHAPE = (224, 224)
# Standard deviation of the plateau's width over its mean, of 44 segmented adult knees.
SIZE_SPREAD = 6.0 / PLATEAU_MM


def framed_knee(
    radiograph: Radiograph, side: str | None = None, named: str | None = None
) -> tuple[StandardRadiograph, tuple[str, ...]]:
    """The knee that is meant, framed by its joint line, and what is odd about it.

    Args:
      radiograph: frontal, upright; the spacing may be unknown.
      side: which knee; needed where two are seen.
      named: the side that the file's name may mean.

    Raises:
      InputError: as `frame_knees`, or two knees and no side.
    """
    knees = frame_knees(radiograph, FRAME_SHAPE, DEFAULT_CONTRAST, side, named)
    if len(knees) > 1:
        raise InputError("found two knees, expected to be told which: --side=right or --side=left")
    (knee,) = knees
    return StandardRadiograph(knee.image, knee.side, dict(knee.record)), knee.notes


def boxed(frame: StandardRadiograph, size: int) -> StandardRadiograph:
    """A frame in the canonical box at the scale of the training knees.

    Args:
      frame: f32[h, w, 1] of 1 / 0.79 joint lines, the joint's centre 0.55 of the way down.
      size: pixels of the box each way.

    Returns:
      f32[size, size, 1]; its record leads back to the source's pixels.
    """
    height, width = frame.image.shape[:2]
    wide = PLATEAU_MM * framing.FRAME[0] * size / BOX_MM[1]
    steps = height / wide, width / wide
    middle = (size - 1) / 2
    to_frame = np.diag([*steps, 1.0])
    to_frame[0, 2] = framing.CENTRE_ROW[0] * height - 0.5 - steps[0] * middle
    to_frame[1, 2] = (width - 1) / 2 - steps[1] * middle
    to_source = np.asarray(frame.record["canonical_to_source"], np.float64) @ to_frame
    image = framing.canvas(frame.image[..., 0], size)[..., None]
    record = {
        **frame.record,
        "shape": [size, size],
        "canonical_to_source": to_source.tolist(),
        "box_mm": list(BOX_MM[1:]),
        "scale": "the tibial plateau is taken to be 76.6 mm wide",
    }
    return StandardRadiograph(np.clip(image, 0, 1), frame.side, record)


def scale(record: Mapping[str, Any], spacing: Sequence[float] | None) -> float:
    """Millimetres in the patient for a millimetre of the box: 1 where the spacing is unknown.

    Args:
      record: of `boxed`.
      spacing: (row_mm, col_mm) of the source, or None.
    """
    if spacing is None:
        return 1.0
    matrix = np.asarray(record["canonical_to_source"], np.float64)
    return float(abs(matrix[1, 1]) * spacing[1] * record["shape"][1] / BOX_MM[2])
