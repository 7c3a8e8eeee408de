"""One radiograph to one volume with its side undone and the joint's centre at the origin."""

import dataclasses
import functools
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import KneePlace, Radiograph, from_canonical, reorient_ras
from xr2mri_jax.inference.export import OutputFiles, write_prediction
from xr2mri_jax.inference.knee_generator.frame import SIZE_SPREAD, boxed, framed_knee, scale
from xr2mri_jax.inference.knee_generator.load import is_boxed, load_generator
from xr2mri_jax.inference.place import named_side, place_knee
from xr2mri_jax.inference.prediction import Prediction
from xr2mri_jax.inference.shapes import scaled
from xr2mri_jax.inference.unlikeness import Likeness, deepest_features
from xr2mri_jax.io import read_radiograph
from xr2mri_jax.preprocess.radiograph import (
    DEFAULT_CONTRAST,
    StandardRadiograph,
    standardise_radiograph,
)
from xr2mri_jax.presentation.picture import STATEMENT
from xr2mri_jax.training.checkpoint import LoadedModel


class Predictor:
    """A loaded model compiled once, for as many radiographs as one likes.

    Attributes:
      image_shape: (h, w) in pixels of the radiograph that the model takes.
    """

    def __init__(self, model: LoadedModel, likeness: Likeness | None = None):
        """Takes a model, and what its training radiographs are like where that is known.

        Raises:
          InputError: the model's stage gives no volumes.
        """
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
        has_surfaces = bool(model.config["model"]["generator"].get("surfaces"))
        self._surfaces = jax.jit(stage.surfaces) if has_surfaces else None
        self._features = jax.jit(functools.partial(deepest_features, stage))
        self._likeness = likeness

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
        return self.predict(standard)

    def predict(self, standard: StandardRadiograph, scale: float = 1.0) -> Prediction:
        """Predicts one volume, and surfaces where the model gives them.

        Args:
          standard: as the model sees it.
          scale: millimetres in the patient for one of the box.
        """
        canonical, distances = self._answer(standard.image[None])
        volume = scaled(reorient_ras(from_canonical(canonical, standard.side)), scale)
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
                "scale": scale,
                "world": "RAS mm, origin at the joint's centre as it lies in the radiograph",
                "values": "0..1, the scale of the model's training volumes",
            },
        }
        return Prediction(volume, canonical, standard, record, distances, scale)

    def distance(self, image: np.ndarray) -> float | None:
        """How unlike the training radiographs f32[h, w, 1] is; 1 % of those alike exceed 1."""
        if self._likeness is None:
            return None
        features = np.asarray(self._features(self._model.params, image[None]), np.float64)
        return float(self._likeness.distance(features)[0])

    def _answer(self, xray: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """The volume f32[d, h, w] and the distances of one canonical radiograph."""
        if self._surfaces is None:
            return self.canonical(xray)[0, ..., 0], None
        found = self._surfaces(self._model.params, self._model.model_state, xray)
        volume, distances = (np.asarray(part, np.float32)[0] for part in found)
        if not (np.isfinite(volume).all() and np.isfinite(distances).all()):
            raise FloatingPointError("the model gives values that are not finite")
        return np.clip(volume[..., 0], 0.0, 1.0), distances


def predict_volume(
    model: LoadedModel,
    radiograph: Radiograph,
    centre: Sequence[float] | None = None,
    contrast: Mapping[str, Any] = DEFAULT_CONTRAST,
) -> Prediction:
    """One radiograph to one volume; for several with one model keep a `Predictor`."""
    return Predictor(model)(radiograph, centre, contrast)


def predict_file(
    model_dir: str | os.PathLike[str] | None,
    xray: str | os.PathLike[str],
    output: str | os.PathLike[str],
    side: str | None = None,
    spacing: float | None = None,
    centre: Sequence[float] | None = None,
    dicom_dir: str | os.PathLike[str] | None = None,
    keep_identity: bool = False,
    labels: str | os.PathLike[str] | None = None,
    meshes: str | os.PathLike[str] | None = None,
) -> Prediction:
    """Reads a radiograph, predicts and writes OUT.nii.gz, OUT.png, OUT.json, and a DICOM series.

    Args:
      model_dir: workdir of a trained generator or joint stage, or a folder of the shipped form;
        None or "" for the model that ships.
      xray: radiograph of one knee or of both: DICOM, PNG, TIFF, JPEG or NIfTI.
      output: the volume's file, ending in .nii or .nii.gz.
      side: "left" or "right"; needed where the file does not say it, may not contradict it.
      spacing: mm a pixel; needed where the file does not say it, else goes before it.
      centre: (row, col) of the joint's centre; None takes the middle of a crop around one knee and
        finds the joint in a larger image, see `place.place_knee`.
      dicom_dir: folder for a DICOM series of the volume, new or empty; None for no such series.
      keep_identity: whether the series carries patient and study of the radiograph, which must be
        a DICOM file then; else it is anonymous.
      labels: file for the label map, with the table of its codes beside it as JSON.
      meshes: folder for a STL file a structure, in the patient's mm.

    Raises:
      InputError: anything of this cannot be used; nothing has been written then.
    """
    files = OutputFiles.beside(output, xray, dicom_dir, keep_identity)
    files = files.with_shapes(labels, meshes, xray)
    read = read_radiograph(xray)
    model, likeness = load_generator(model_dir)
    predictor = Predictor(model, likeness)
    try:
        sided = _with_flags(read, side, spacing)
        if is_boxed(model):
            seen = _boxed(sided, Path(xray), predictor)
        else:
            seen = _placed(sided, centre, predictor)
    except InputError as error:
        raise InputError(f"{xray}: {error}{_hint(Path(xray), read)}") from error
    if (labels or meshes) and not model.config["model"]["generator"].get("surfaces"):
        raise InputError(
            "--labels, --meshes: the model gives no surfaces, expected one trained with "
            "config.model.generator.surfaces"
        )
    prediction = predictor.predict(seen.standard, seen.scale)
    unlike = predictor.distance(seen.standard.image)
    named = os.fspath(model_dir) if model_dir else "the one that ships"
    prediction.record["model"] = {"workdir": named, **prediction.record["model"]}
    prediction.record["source"] = {
        "file": os.fspath(xray),
        "side_in_file": read.side,
        "spacing_mm_in_file": None if read.spacing is None else list(read.spacing),
        "place_found": None if seen.found is None else dataclasses.asdict(seen.found),
        "inverted": seen.inverted,
    }
    if unlike is not None:
        prediction.record["model"]["unlike"] = unlike
    if files.dicom is not None:
        prediction.record["dicom"] = {
            "folder": os.fspath(files.dicom.folder),
            "keep_identity": keep_identity,
        }
    prediction.record["warnings"] = _warnings(Path(xray), seen, unlike)
    write_prediction(files, prediction)
    return prediction


@dataclasses.dataclass(frozen=True, eq=False)
class _Seen:
    """What the model sees, its scale, and what was found out about the radiograph."""

    standard: StandardRadiograph
    scale: float
    found: KneePlace | None
    inverted: bool
    notes: tuple[str, ...] = ()


def _placed(radiograph: Radiograph, centre: Sequence[float] | None, predictor: Predictor) -> _Seen:
    """The canonical box around the joint, by the radiograph's spacing."""
    placed = place_knee(radiograph, centre)
    standard = standardise_radiograph(placed.radiograph, predictor.image_shape, placed.centre)
    return _Seen(standard, 1.0, placed.found, placed.inverted)


def _boxed(radiograph: Radiograph, path: Path, predictor: Predictor) -> _Seen:
    """The frame around the joint line; a known spacing tells the size of what is made."""
    frame, notes = framed_knee(radiograph, radiograph.side, named_side(path))
    standard = boxed(frame, predictor.image_shape[0])
    if radiograph.spacing is None:
        notes = (
            *notes,
            "the pixel spacing is unknown: the tibial plateau is taken to be 76.6 mm wide, which "
            f"is uncertain by {SIZE_SPREAD:.0%}",
        )
    record = {**standard.record, "spacing_mm": list(radiograph.spacing or (0.0, 0.0))}
    standard = dataclasses.replace(standard, record=record)
    return _Seen(standard, scale(record, radiograph.spacing), None, False, notes)


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


def _warnings(path: Path, seen: _Seen, unlike: float | None) -> list[str]:
    """What looks odd and may be right, logged and returned for the record."""
    named, side = named_side(path), seen.standard.side
    warnings = list(seen.notes)
    if named not in (None, side) and not any("the file's name" in note for note in warnings):
        warnings.append(f"the letter at the end of the name may mean {named}, taken as {side}")
    if seen.inverted:
        warnings.append("bone is dark in the file: the image was inverted")
    if unlike is not None and unlike > 1:
        warnings.append(
            f"unlike the training radiographs (distance {unlike:.1f}, of those alike 1 % exceed 1)"
        )
    warnings = [f"{path.name}: {warning}" for warning in warnings]
    for warning in warnings:
        logging.warning(warning)
    return warnings
