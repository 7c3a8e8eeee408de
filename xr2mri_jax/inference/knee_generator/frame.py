"""The shipped generator's input: a framed knee, and its scale in the patient."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from xr2mri_jax.geometry import BOX_MM, PLATEAU_MM
from xr2mri_jax.preprocess.framing import frame_radiograph
from xr2mri_jax.preprocess.knee_request import FoundKnee
from xr2mri_jax.preprocess.radiograph import StandardRadiograph, covered_box, inside_source
from xr2mri_jax.preprocess.scale import Scale
from xr2mri_jax.simulation import framing

# Pixels of a frame before it is placed in the box.
FRAME_SHAPE = (224, 224)


def framed_knee(knee: FoundKnee, size: int, contrast: Mapping[str, Any]) -> StandardRadiograph:
    """Frames a found knee by its joint line and places it in the canonical box.

    Args:
      knee: from `preprocess.knees`.
      size: pixels of the box along each axis.
      contrast: as for `standardise_radiograph`.

    Raises:
      InputError: as `frame_radiograph`.
    """
    return place_in_box(frame_radiograph(knee.radiograph, knee.place, FRAME_SHAPE, contrast), size)


def place_in_box(frame: StandardRadiograph, size: int) -> StandardRadiograph:
    """Places a frame in the canonical box at the scale of the training knees.

    Args:
      frame: f32[h, w, 1], as `simulation.framing.Frame.mean`.
      size: pixels of the box along each axis.

    Returns:
      f32[size, size, 1]; its record maps back to the pixels of the source, with `centre_px` at the
      middle of the box, and the pixels in both the frame and the source as `covered_box`.
    """
    height, width = frame.image.shape[:2]
    steps, first = framing.Frame.mean().box_mapping((height, width), size)
    middle = (size - 1) / 2
    to_frame = np.diag([*steps, 1.0])
    to_frame[:2, 2] = first
    to_source = np.asarray(frame.record["canonical_to_source"], np.float64) @ to_frame
    image = framing.canvas(frame.image[..., 0], size)[..., None]
    shape = (size, size)
    inside = inside_source(to_frame, shape, (height, width))
    inside &= inside_source(to_source, shape, frame.record["source_shape"])
    record = {
        **frame.record,
        "shape": [size, size],
        "centre_px": (to_source @ [middle, middle, 1.0])[:2].tolist(),
        **covered_box(inside),
        "canonical_to_source": to_source.tolist(),
        "box_mm": list(BOX_MM[1:]),
        "scale": f"the tibial plateau is taken to be {PLATEAU_MM:g} mm wide",
    }
    return StandardRadiograph(np.clip(image, 0, 1), frame.side, record)


def scale_of(record: Mapping[str, Any], stated: Scale | None) -> float:
    """Millimetres in the patient per millimetre of the box; 1 if the pixel spacing is unknown.

    Args:
      record: from `place_in_box`.
      stated: scale of the knee's radiograph; an estimate from the joint line counts as unknown.
    """
    if stated is None or stated.deviation > 0:
        return 1.0
    matrix = np.asarray(record["canonical_to_source"], np.float64)
    return float(abs(matrix[1, 1]) * stated.spacing[1] * record["shape"][1] / BOX_MM[2])
