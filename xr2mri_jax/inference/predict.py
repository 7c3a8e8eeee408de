"""Predicts a volume from one radiograph: mirrored back, with the joint centre at the origin."""

import dataclasses
import functools
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
from xr2mri_jax.inference.joint_fit import fit_joint_space
from xr2mri_jax.inference.knee_generator.frame import framed_knee, scale_of
from xr2mri_jax.inference.knee_generator.load import (
    has_surfaces,
    is_boxed,
    load_generator,
    uncertainty_of,
)
from xr2mri_jax.inference.prediction import Prediction
from xr2mri_jax.inference.shapes import scaled
from xr2mri_jax.inference.uncertainty.model import Uncertainty
from xr2mri_jax.inference.uncertainty.of_prediction import with_uncertainty
from xr2mri_jax.inference.unlikeness import Likeness, deepest_features
from xr2mri_jax.io import read_radiograph
from xr2mri_jax.preprocess.answers import Asked, FoundKnee, named_side
from xr2mri_jax.preprocess.contrast import contrast_of
from xr2mri_jax.preprocess.joint_space import measure_joint_space
from xr2mri_jax.preprocess.knees import one_knee
from xr2mri_jax.preprocess.radiograph import (
    StandardRadiograph,
    require_usable,
    standardise_radiograph,
)
from xr2mri_jax.preprocess.scale import line_mm
from xr2mri_jax.presentation.statement import STATEMENT
from xr2mri_jax.stages.base import Encodes, Predicts, Surfaces
from xr2mri_jax.training.trained import LoadedModel

# Steps of a volume's values: as fine as a scanner's, and such files are a third smaller.
_LEVELS = np.float32(4096)


class Predictor:
    """A loaded model that is compiled once and used for many radiographs.

    Attributes:
      image_shape: (h, w) in pixels of the model's input.
      contrast: contrast settings of its training radiographs, see `standardise_radiograph`.
      has_surfaces: whether it predicts labels and meshes.
      boxed: whether its input is framed by the joint line, and needs no spacing.
      source: path of the model, for records.
      doubt: a warning for every prediction, or "".
    """

    def __init__(
        self,
        model: LoadedModel,
        likeness: Likeness | None = None,
        source: str | os.PathLike[str] | None = None,
        uncertainty: tuple[Uncertainty | None, str] = (None, ""),
    ):
        """Takes a model, statistics of its radiographs if known, its folder, and `uncertainty_of`.

        Raises:
          InputError: the model's stage predicts no volumes.
        """
        stage = model.stage
        if not isinstance(stage, Predicts):
            raise InputError(
                f"--model: found the stage {stage.name!r}, which predicts no volume, expected the "
                "workdir of a generator or joint stage"
            )
        h, w = model.config["model"]["cae"]["image_shape"]
        self.image_shape = (int(h), int(w))
        self.contrast = contrast_of(model.config)
        self.boxed = is_boxed(model)
        self.source = os.fspath(source) if source else "the shipped model"
        self._model = model
        self._predict = jax.jit(stage.predict)
        self._surfaces = None
        if has_surfaces(model):
            assert isinstance(stage, Surfaces)
            self._surfaces = jax.jit(stage.surfaces)
        self.has_surfaces = self._surfaces is not None
        self._likeness = likeness
        self._uncertainty, self.doubt = uncertainty
        if likeness is not None:
            assert isinstance(stage, Encodes), f"{stage.name} has no hidden variables"
            self._features = jax.jit(functools.partial(deepest_features, stage))

    @property
    def step(self) -> int:
        """Training step of the model."""
        return int(self._model.step)

    def compile(self) -> None:
        """Compiles what a prediction needs, before threads ask for it at once."""
        blank = np.zeros((*self.image_shape, 1), np.float32)
        self._answer(blank[None])
        self.distance(blank)

    def canonical(self, xray: np.ndarray) -> np.ndarray:
        """Canonical volumes f32[b, d, h, w, 1] of canonical radiographs f32[b, h, w, 1].

        Raises:
          InputError: the radiographs have another size than the model's.
          FloatingPointError: the model predicts values that are not finite.
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
        """Predicts the volume of a knee with known side and spacing.

        Args:
          radiograph: bone bright, upright, with spacing and side, such as that of a `FoundKnee`.
          centre: (row, col) of the joint centre; None: the middle of the image.

        Raises:
          InputError: as `standardise_radiograph`.
        """
        return self.predict(
            standardise_radiograph(radiograph, self.image_shape, centre, self.contrast)
        )

    def predict(
        self,
        standard: StandardRadiograph,
        scale: float = 1.0,
        space_mm: Mapping[str, float] | None = None,
    ) -> Prediction:
        """Predicts one volume, and surfaces where the model gives them.

        Args:
          standard: as the model sees it.
          scale: millimetres in the patient for one of the box.
          space_mm: joint space in the patient by compartment, see `fit_joint_space`; None leaves
            the bones where the model puts them, and so does a model without surfaces.
        """
        canonical, distances = self._answer(standard.image[None])
        fitted = None
        if space_mm is not None and distances is not None:
            wanted = {name: value / scale for name, value in space_mm.items()}
            fitted = fit_joint_space(canonical, distances, wanted)
        if fitted is not None:
            canonical, distances = fitted.volume, fitted.distances
        canonical = np.round(canonical * _LEVELS) / _LEVELS
        volume = scaled(reorient_ras(from_canonical(canonical, standard.side)), scale)
        record: dict[str, Any] = {
            "statement": STATEMENT,
            "model": {
                "workdir": self.source,
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
                "scale": scale,
                "world": "RAS mm, origin at the joint centre in the radiograph",
                "values": f"0..1 in steps of 1/{_LEVELS:.0f}, the scale of the training volumes",
            },
            "joint_space": None if fitted is None else fitted.record,
            "warnings": [],
        }
        made = Prediction(volume, canonical, standard, record, distances, scale)
        return with_uncertainty(made, self._uncertainty)

    def distance(self, image: np.ndarray) -> float | None:
        """Novelty score of an input f32[h, w, 1]; 1 % of similar radiographs exceed 1."""
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


def load_predictor(model: str | os.PathLike[str] | None = None) -> Predictor:
    """Loads a generator, see `load_generator`; InputError if it gives no volumes."""
    loaded, likeness = load_generator(model)
    return Predictor(loaded, likeness, model, uncertainty_of(model, loaded))


def predict_knee(predictor: Predictor, radiograph: Radiograph, asked: Asked) -> Prediction:
    """Finds the requested knee and predicts its volume.

    Args:
      predictor: the model.
      radiograph: as read, see `knees_of`.
      asked: the request: which knee, and what is known about it.

    Returns:
      The prediction; its record also contains the knee and every warning.

    Raises:
      InputError: the radiograph cannot be used.
    """
    return predict_found(predictor, one_knee(radiograph, asked))


def predict_found(predictor: Predictor, knee: FoundKnee) -> Prediction:
    """Predicts the volume of a knee that was already found; otherwise as `predict_knee`."""
    seen, scale = _seen(knee, predictor)
    space = measure_joint_space(knee.radiograph, knee.place) if predictor.has_surfaces else None
    line = None if knee.scale is None else line_mm(knee.radiograph, knee.place, knee.scale)
    measured = None if space is None else space.record(line)
    wanted = None if space is None or line is None else space.millimetres(line)
    predicted = predictor.predict(seen, scale, wanted)
    unlike = predictor.distance(seen.image)
    model = predicted.record["model"] | ({} if unlike is None else {"unlike": unlike})
    about = {
        "model": model,
        "knee": knee.record() | {"joint_space": measured},
        "warnings": [*_doubts(knee, unlike), *filter(None, [predictor.doubt])],
    }
    return dataclasses.replace(predicted, record=predicted.record | about)


def predict_file(
    model_dir: str | os.PathLike[str] | None,
    xray: str | os.PathLike[str],
    output: str | os.PathLike[str],
    side: str | None = None,
    spacing: float | None = None,
    centre: tuple[float, float] | None = None,
    dicom_dir: str | os.PathLike[str] | None = None,
    keep_identity: bool = False,
    force: bool = False,
    labels: str | os.PathLike[str] | None = None,
    meshes: str | os.PathLike[str] | None = None,
    picture: bool = True,
) -> Prediction:
    """Reads a radiograph, predicts, and writes OUT.nii.gz, OUT.png, OUT.json and optional files.

    Args:
      model_dir: workdir of a trained generator or joint stage, or a folder of the shipped form;
        None or "" for the shipped model.
      xray: radiograph of one knee or of both: DICOM, PNG, TIFF, JPEG or NIfTI.
      output: the volume's file, ending in .nii or .nii.gz.
      side: "left" or "right", required if two knees are seen; must not contradict the file.
      spacing: mm per pixel; overrides the file's. If neither is known, it is estimated from the
        joint line, with a warning.
      centre: (row, col) of the joint centre; None: located in the image.
      dicom_dir: folder for a DICOM series of the volume, new or empty; None for no such series.
      keep_identity: copy patient and study of the radiograph, which must then be a DICOM file, to
        the series; otherwise the series is anonymous.
      force: use the middle of an image in which no knee is found.
      labels: file for the label map, with the table of its codes beside it as JSON.
      meshes: folder for a STL file a structure, in the patient's mm.
      picture: whether OUT.png is drawn.

    Raises:
      InputError: one of the arguments cannot be used; nothing has been written.
    """
    files = OutputFiles.beside(output, xray, dicom_dir, keep_identity)
    files = files.with_shapes(labels, meshes, xray)
    if not picture:
        files = files._replace(picture=None)
    radiograph = read_radiograph(xray)
    asked = Asked(side, spacing, centre, named=named_side(Path(xray)), force=force)
    try:
        # Refuse an unusable radiograph before spending seconds on loading the model.
        knee = one_knee(radiograph, asked)
        require_usable(knee.radiograph, knee.place.centre_px)
    except InputError as error:
        raise InputError(f"{xray}: {error}") from error
    predictor = load_predictor(model_dir)
    if labels or meshes:
        require_surfaces(predictor, "--labels, --meshes")
    try:
        predicted = predict_found(predictor, knee)
    except InputError as error:
        raise InputError(f"{xray}: {error}") from error
    prediction = with_source(predicted, radiograph, Path(xray))
    if files.dicom is not None:
        folder = os.fspath(files.dicom.folder)
        prediction.record["dicom"] = {"folder": folder, "keep_identity": keep_identity}
    for warning in prediction.warnings:
        logging.warning(warning)
    write_prediction(files, prediction)
    return prediction


def with_source(predicted: Prediction, radiograph: Radiograph, xray: Path) -> Prediction:
    """The prediction with a record that names its file, in the warnings too."""
    spacing = None if radiograph.spacing is None else list(radiograph.spacing)
    about: dict[str, Any] = {
        "source": {
            "file": os.fspath(xray),
            "side_in_file": radiograph.side,
            "spacing_mm_in_file": spacing,
        },
        "warnings": [f"{xray.name}: {warning}" for warning in predicted.warnings],
    }
    return dataclasses.replace(predicted, record=predicted.record | about)


def require_surfaces(predictor: Predictor, flags: str) -> None:
    """Raises InputError where `flags` ask for surfaces that the model does not give."""
    if not predictor.has_surfaces:
        raise InputError(
            f"{flags}: the model gives no surfaces, expected one trained with "
            "config.model.generator.surfaces"
        )


def _seen(knee: FoundKnee, predictor: Predictor) -> tuple[StandardRadiograph, float]:
    """The model's input for a knee, and millimetres in the patient per millimetre of the box."""
    if predictor.boxed:
        standard = framed_knee(knee, predictor.image_shape[0], predictor.contrast)
        return standard, scale_of(standard.record, knee.scale)
    centre = knee.place.centre_px
    return (
        standardise_radiograph(knee.radiograph, predictor.image_shape, centre, predictor.contrast),
        1.0,
    )


def _doubts(knee: FoundKnee, unlike: float | None) -> list[str]:
    """The doubtful decisions, as texts."""
    doubts = [*knee.doubts, "" if knee.scale is None else knee.scale.said()]
    if unlike is not None and unlike > 1:
        doubts.append(
            f"unlike the training radiographs (distance {unlike:.1f}, 1 % of similar ones exceed 1)"
        )
    return [doubt for doubt in doubts if doubt]
