"""Adds the uncertainty to a prediction: half-widths, confidence of labels, intervals."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from xr2mri_jax.inference.prediction import Prediction
from xr2mri_jax.inference.uncertainty.model import Uncertainty
from xr2mri_jax.inference.uncertainty.quantities import quantities
from xr2mri_jax.phantom.surfaces import NAMES

# Step of the half-widths, which are at most 1: coarse steps make small files.
HALF_WIDTH_STEP = 1 / 128
# Half-widths in mm of the 90 % interval of a joint space traced in the radiograph: the 19th
# smallest of 20 absolute differences between the predicted bones, fitted to the trace, and the
# segmented MRI of real pairs (`evaluate --pairs`), rounded up.
TRACED_OFF_MM = {"medial": 2.0, "lateral": 1.8}
TRACED_FITTED_ON = (
    "20 real pairs of radiograph and segmented MRI, the shipped generator's development pairs"
)


def with_uncertainty(prediction: Prediction, uncertainty: Uncertainty | None) -> Prediction:
    """The prediction with its uncertainty; unchanged if the model's uncertainty is unknown."""
    if uncertainty is None:
        return prediction
    record: dict[str, Any] = {
        "values": "half-width of the interval of each voxel, 0..1 as the volume's values",
    }
    measured = {}
    fitted = prediction.record["joint_space"]
    spread = None if prediction.distances is None else uncertainty.surfaces
    if prediction.distances is not None and spread is not None:
        measured = quantities(prediction.distances, with_space=fitted is None)
        record["surface_mm"] = {
            name: prediction.scale * float(width.mean())
            for name, width in zip(NAMES, spread.half_width, strict=True)
        }
    about = uncertainty.record(measured, prediction.scale) | record
    if fitted is not None:
        about["intervals"] |= _of_traced(fitted["after_mm"])
    half_width = uncertainty.voxels.half_width(prediction.canonical)
    return dataclasses.replace(
        prediction,
        half_width=np.round(half_width / HALF_WIDTH_STEP) * np.float32(HALF_WIDTH_STEP),
        spread=spread,
        record=prediction.record | {"uncertainty": about},
    )


def _of_traced(spaces: Mapping[str, float]) -> dict[str, dict[str, Any]]:
    """The intervals of a joint space measured in the radiograph, mm of the patient.

    They have their own `fitted_on`, since they are the same for every model.
    """
    return {
        f"joint_space_{name}": {
            "mm": mm,
            "low": max(mm - TRACED_OFF_MM[name], 0.0),
            "high": mm + TRACED_OFF_MM[name],
            "fitted_on": TRACED_FITTED_ON,
        }
        for name, mm in spaces.items()
    }
