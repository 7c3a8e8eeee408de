"""One radiograph to one volume with its side undone and the joint's centre at the origin."""

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import Radiograph, from_canonical, reorient_ras
from xr2mri_jax.inference.export import OutputFiles, write_prediction
from xr2mri_jax.inference.place import PlacedKnee, named_side, place_knee
from xr2mri_jax.inference.prediction import Prediction
from xr2mri_jax.io import read_radiograph
from xr2mri_jax.preprocess.radiograph import (
    DEFAULT_CONTRAST,
    standardise_radiograph,
)
from xr2mri_jax.presentation.picture import STATEMENT
from xr2mri_jax.training.checkpoint import LoadedModel, load_model


class Predictor:
    """A loaded model compiled once, for as many radiographs as one likes.

    Attributes:
      image_shape: (h, w) in pixels of the radiograph that the model takes.
    """

    def __init__(self, model: LoadedModel):
        """Raises InputError where the model's stage gives no volumes."""
        stage: Any = model.stage
        if not hasattr(stage, "predict"):
            raise InputError(
                f"--model: found the stage {stage.name!r}, which gives no volume, expected the "
                "workdir of a generator or joint stage"
            )
        h, w = model.config["model"]["cae"]["image_shape"]
        self.image_shape = (int(h), int(w))
        self._model = model
        self._predict = jax.jit(stage.predict)

    def canonical(self, xray: np.ndarray) -> np.ndarray:
        """Canonical volumes f32[b, d, h, w, 1] of canonical radiographs f32[b, h, w, 1].

        Raises:
          InputError: the radiographs have another size than the model's.
          FloatingPointError: the model gives values that are not finite.
        """
        if np.ndim(xray) != 4 or np.shape(xray)[1:] != (*self.image_shape, 1):
            raise InputError(
                f"radiographs: found shape {np.shape(xray)}, expected (b, {self.image_shape[0]}, "
                f"{self.image_shape[1]}, 1)"
            )
        found = self._predict(self._model.params, self._model.model_state, xray)
        array = np.asarray(found, np.float32)
        if not np.isfinite(array).all():
            raise FloatingPointError("the model gives values that are not finite")
        return np.clip(array, 0.0, 1.0)

    def __call__(
        self,
        radiograph: Radiograph,
        centre: Sequence[float] | None = None,
        contrast: Mapping[str, Any] = DEFAULT_CONTRAST,
    ) -> Prediction:
        """Predicts one volume; see `standardise_radiograph` for the arguments and errors."""
        standard = standardise_radiograph(radiograph, self.image_shape, centre, contrast)
        canonical = self.canonical(standard.image[None])[0, ..., 0]
        volume = reorient_ras(from_canonical(canonical, standard.side))
        record = {
            "statement": STATEMENT,
            "model": {"stage": self._model.stage.name, "step": int(self._model.step)},
            "radiograph": standard.record,
            "volume": {
                "shape": list(volume.shape),
                "spacing_mm": list(volume.spacing),
                "affine": volume.affine.tolist(),
                "canonical_shape": list(canonical.shape),
                "mirrored_back": standard.side == "left",
                "world": "RAS mm, origin at the joint's centre as it lies in the radiograph",
                "values": "0..1, the scale of the model's training volumes",
            },
        }
        return Prediction(volume, canonical, standard, record)


def predict_volume(
    model: LoadedModel,
    radiograph: Radiograph,
    centre: Sequence[float] | None = None,
    contrast: Mapping[str, Any] = DEFAULT_CONTRAST,
) -> Prediction:
    """One radiograph to one volume; for several with one model keep a `Predictor`."""
    return Predictor(model)(radiograph, centre, contrast)


def predict_file(
    model_dir: str | os.PathLike[str],
    xray: str | os.PathLike[str],
    output: str | os.PathLike[str],
    side: str | None = None,
    spacing: float | None = None,
    centre: Sequence[float] | None = None,
    dicom_dir: str | os.PathLike[str] | None = None,
    keep_identity: bool = False,
) -> Prediction:
    """Reads a radiograph, predicts and writes OUT.nii.gz, OUT.png, OUT.json, and a DICOM series.

    Args:
      model_dir: workdir of a trained generator or joint stage.
      xray: radiograph of one knee or of both: DICOM, PNG, TIFF, JPEG or NIfTI.
      output: the volume's file, ending in .nii or .nii.gz.
      side: "left" or "right"; needed where the file does not say it, may not contradict it.
      spacing: mm a pixel; needed where the file does not say it, else goes before it.
      centre: (row, col) of the joint's centre; None takes the middle of a crop around one knee and
        finds the joint in a larger image, see `place.place_knee`.
      dicom_dir: folder for a DICOM series of the volume, new or empty; None for no such series.
      keep_identity: whether the series carries patient and study of the radiograph, which must be
        a DICOM file then; else it is anonymous.

    Raises:
      InputError: anything of this cannot be used; nothing has been written then.
    """
    files = OutputFiles.beside(output, xray, dicom_dir, keep_identity)
    read = radiograph = read_radiograph(xray)
    try:
        radiograph = _with_flags(radiograph, side, spacing)
        placed = place_knee(radiograph, centre)
        radiograph, centre = placed.radiograph, placed.centre
        # A radiograph that cannot be used is refused before seconds are spent on the model.
        standardise_radiograph(radiograph, (32, 32), centre)
    except InputError as error:
        raise InputError(f"{xray}: {error}{_hint(Path(xray), radiograph)}") from error
    prediction = Predictor(load_model(model_dir))(radiograph, centre)
    prediction.record["model"] = {"workdir": os.fspath(model_dir), **prediction.record["model"]}
    prediction.record["source"] = {
        "file": os.fspath(xray),
        "side_in_file": read.side,
        "spacing_mm_in_file": None if read.spacing is None else list(read.spacing),
        "place_found": None if placed.found is None else dataclasses.asdict(placed.found),
        "inverted": placed.inverted,
    }
    if files.dicom is not None:
        prediction.record["dicom"] = {
            "folder": os.fspath(files.dicom.folder),
            "keep_identity": keep_identity,
        }
    prediction.record["warnings"] = _warnings(Path(xray), placed)
    write_prediction(files, prediction)
    return prediction


def _with_flags(radiograph: Radiograph, side: str | None, spacing: float | None) -> Radiograph:
    """Adds side and spacing from the flags to what the file says.

    A given spacing goes before the file's, which knows nothing of magnification. A side is no
    matter of precision: raises InputError where flag and file disagree.
    """
    if side is not None and radiograph.side not in (None, side):
        raise InputError(
            f"the file says {radiograph.side} knee, found --side={side}, expected the two to agree"
        )
    if spacing is not None and not 0 < spacing < math.inf:
        raise InputError(f"found --spacing={spacing:g}, expected a positive number, mm a pixel")
    return dataclasses.replace(
        radiograph,
        side=side or radiograph.side,
        spacing=radiograph.spacing if spacing is None else (spacing, spacing),
    )


def _hint(path: Path, radiograph: Radiograph) -> str:
    named = named_side(path)
    if radiograph.side is None and named is not None:
        return f" (the letter at the end of the name may mean {named})"
    return ""


def _warnings(path: Path, placed: PlacedKnee) -> list[str]:
    """What looks odd and may be right, logged and returned for the record."""
    named, side = named_side(path), placed.radiograph.side
    warnings = []
    if named not in (None, side):
        warnings.append(f"the letter at the end of the name may mean {named}, taken as {side}")
    if placed.inverted:
        warnings.append("bone is dark in the file: the image was inverted")
    warnings = [f"{path.name}: {warning}" for warning in warnings]
    for warning in warnings:
        logging.warning(warning)
    return warnings
