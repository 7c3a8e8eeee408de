"""One radiograph to one volume with its side undone and the joint's centre at the origin."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import Radiograph, from_canonical, reorient_ras
from xr2mri_jax.inference.export import OutputFiles, write_prediction
from xr2mri_jax.inference.prediction import Prediction
from xr2mri_jax.io import read_radiograph
from xr2mri_jax.preprocess.answers import Asked, FoundKnee, named_side
from xr2mri_jax.preprocess.contrast import contrast_of
from xr2mri_jax.preprocess.knees import one_knee
from xr2mri_jax.preprocess.radiograph import require_usable, standardise_radiograph
from xr2mri_jax.presentation.picture import STATEMENT
from xr2mri_jax.training.checkpoint import LoadedModel, load_model


class Predictor:
    """A loaded model compiled once, for as many radiographs as one likes.

    Attributes:
      image_shape: (h, w) in pixels of the radiograph that the model takes.
      contrast: that of the radiographs that it was trained on, see `standardise_radiograph`.
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
        self.contrast = contrast_of(model.config)
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

    def __call__(self, radiograph: Radiograph, centre: Sequence[float] | None = None) -> Prediction:
        """Predicts one volume of a knee whose side and spacing are known.

        Args:
          radiograph: bone bright, upright, with spacing and side, such as that of a `FoundKnee`.
          centre: (row, col) of the joint's centre; None: the middle.

        Raises:
          InputError: as `standardise_radiograph`.
        """
        standard = standardise_radiograph(radiograph, self.image_shape, centre, self.contrast)
        canonical = self.canonical(standard.image[None])[0, ..., 0]
        volume = reorient_ras(from_canonical(canonical, standard.side))
        record = {
            "statement": STATEMENT,
            "model": {
                "stage": self._model.stage.name,
                "step": int(self._model.step),
                "dtype_trained": self._model.config.get("dtype", "unknown"),
            },
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
    model: LoadedModel, radiograph: Radiograph, centre: Sequence[float] | None = None
) -> Prediction:
    """One radiograph to one volume; for several with one model keep a `Predictor`."""
    return Predictor(model)(radiograph, centre)


def predict_file(
    model_dir: str | os.PathLike[str],
    xray: str | os.PathLike[str],
    output: str | os.PathLike[str],
    side: str | None = None,
    spacing: float | None = None,
    centre: tuple[float, float] | None = None,
    dicom_dir: str | os.PathLike[str] | None = None,
    keep_identity: bool = False,
    force: bool = False,
) -> Prediction:
    """Reads a radiograph, predicts and writes OUT.nii.gz, OUT.png, OUT.json, and a DICOM series.

    Args:
      model_dir: workdir of a trained generator or joint stage.
      xray: radiograph of one knee or of both: DICOM, PNG, TIFF, JPEG or NIfTI.
      output: the volume's file, ending in .nii or .nii.gz.
      side: "left" or "right", needed where two knees are seen; may not contradict the file.
      spacing: mm a pixel; goes before the file's. Where neither states it, it is estimated from
        the joint line, with a warning.
      centre: (row, col) of the joint's centre; None: where the joint is seen.
      dicom_dir: folder for a DICOM series of the volume, new or empty; None for no such series.
      keep_identity: whether the series carries patient and study of the radiograph, which must be
        a DICOM file then; else it is anonymous.
      force: take the middle of a picture in which no knee is seen.

    Raises:
      InputError: anything of this cannot be used; nothing has been written then.
    """
    files = OutputFiles.beside(output, xray, dicom_dir, keep_identity)
    radiograph = read_radiograph(xray)
    try:
        asked = Asked(side, spacing, centre, named=named_side(Path(xray)), force=force)
        knee = one_knee(radiograph, asked)
        # A radiograph that cannot be used is refused before seconds are spent on the model.
        require_usable(knee.radiograph, knee.place.centre_px)
    except InputError as error:
        raise InputError(f"{xray}: {error}") from error
    predicted = Predictor(load_model(model_dir))(knee.radiograph, knee.place.centre_px)
    warnings = _warnings(Path(xray), knee)
    about = {
        "model": {"workdir": os.fspath(model_dir), **predicted.record["model"]},
        "source": {
            "file": os.fspath(xray),
            "side_in_file": radiograph.side,
            "spacing_mm_in_file": None if radiograph.spacing is None else list(radiograph.spacing),
        },
        "knee": knee.record(),
        "warnings": warnings,
    }
    if files.dicom is not None:
        folder = os.fspath(files.dicom.folder)
        about["dicom"] = {"folder": folder, "keep_identity": keep_identity}
    prediction = dataclasses.replace(predicted, record=predicted.record | about)
    write_prediction(files, prediction)
    return prediction


def _warnings(path: Path, knee: FoundKnee) -> list[str]:
    """What looks odd and may be right, logged and returned for the record."""
    scale = "" if knee.scale is None else knee.scale.said()
    warnings = [f"{path.name}: {doubt}" for doubt in (*knee.doubts, scale) if doubt]
    for warning in warnings:
        logging.warning(warning)
    return warnings
