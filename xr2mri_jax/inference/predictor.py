"""A loaded model that predicts volumes and surfaces, compiled once for many radiographs."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import Radiograph, from_canonical, reorient_ras
from xr2mri_jax.inference.joint_fit import fit_joint_space
from xr2mri_jax.inference.knee_generator.load import (
    frames_by_joint_line,
    has_surfaces,
    load_generator,
    uncertainty_of,
)
from xr2mri_jax.inference.novelty import NoveltyDetector, deepest_features
from xr2mri_jax.inference.prediction import Prediction
from xr2mri_jax.inference.shapes import scaled
from xr2mri_jax.inference.uncertainty.model import Uncertainty, identity
from xr2mri_jax.inference.uncertainty.of_prediction import with_uncertainty
from xr2mri_jax.preprocess.contrast import contrast_of
from xr2mri_jax.preprocess.radiograph import StandardRadiograph, standardise_radiograph
from xr2mri_jax.presentation.statement import STATEMENT
from xr2mri_jax.stages.base import Encodes, Predicts, Surfaces
from xr2mri_jax.training.loaded_model import LoadedModel

# Number of steps of a volume's values: as fine as a scanner's; files are a third smaller.
_LEVELS = np.float32(4096)
SHIPPED_MODEL = "the shipped model"  # the name of its folder in records


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
        novelty_detector: NoveltyDetector | None = None,
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
        self.boxed = frames_by_joint_line(model)
        self.source = os.fspath(source) if source else SHIPPED_MODEL
        self._model = model
        # Transferred to the device once: NumPy arrays would be transferred by every call.
        self._weights = jax.device_put((model.params, model.model_state))
        self._predict = jax.jit(stage.predict)
        self.has_surfaces = has_surfaces(model)
        self._novelty_detector = novelty_detector
        self._uncertainty, self.doubt = uncertainty

        def predict_all(params: Any, model_state: Any, xray: Any) -> tuple[Any, Any, Any]:
            features = None
            if novelty_detector is not None:
                assert isinstance(stage, Encodes), f"{stage.name} has no hidden variables"
                features = deepest_features(stage, params, xray)
            if not self.has_surfaces:
                return stage.predict(params, model_state, xray), None, features
            assert isinstance(stage, Surfaces)
            return *stage.surfaces(params, model_state, xray), features

        # One program, so that the hidden variables are computed once.
        self._program = jax.jit(predict_all)

    @property
    def step(self) -> int:
        """Training step of the model."""
        return int(self._model.step)

    def identity(self) -> dict[str, str | None]:
        """SHA-256 of the weights and of the uncertainty, None without one."""
        model, uncertainty = self._model, self._uncertainty
        found = None if uncertainty is None else identity(dataclasses.asdict(uncertainty)).hex()
        weights = identity((model.params, model.model_state)).hex()
        return {"weights_sha256": weights, "uncertainty_sha256": found}

    def compile(self) -> None:
        """Compiles what a prediction needs, before several threads need it at once."""
        self._answer(np.zeros((1, *self.image_shape, 1), np.float32))

    def canonical(self, xray: np.ndarray) -> np.ndarray:
        """Canonical volumes f32[b, d, h, w, 1] of canonical radiographs f32[b, h, w, 1].

        Raises:
          InputError: the size of the radiographs differs from the model's.
          FloatingPointError: the model predicts values that are not finite.
        """
        self._require_shape(xray)
        found = self._predict(*self._weights, xray)
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
        """Predicts one volume, and surfaces if the model has them.

        Args:
          standard: the model's input.
          scale: millimetres in the patient per millimetre of the box.
          space_mm: joint space in the patient by compartment, see `fit_joint_space`. None, or a
            model without surfaces, leaves the bones as predicted.
        """
        canonical, distances, unlike = self._answer(standard.image[None])
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
                **({} if unlike is None else {"unlike": unlike}),
            },
            "radiograph": standard.record,
            "volume": {
                "shape": list(volume.shape),
                "spacing_mm": list(volume.spacing),
                "affine": volume.affine.tolist(),
                "canonical_shape": list(canonical.shape),
                "mirrored_back": standard.side == "left",
                "scale": scale,
                "world": "RAS mm, origin at radiograph.centre_px",
                "values": f"0..1 in steps of 1/{_LEVELS:.0f}, the scale of the training volumes",
            },
            "joint_space": None if fitted is None else _in_patient(fitted.record, scale),
            "warnings": [],
        }
        made = Prediction(volume, canonical, standard, record, distances, scale)
        return with_uncertainty(made, self._uncertainty)

    def _answer(self, xray: np.ndarray) -> tuple[np.ndarray, np.ndarray | None, float | None]:
        """Volume, distances and novelty score of one canonical radiograph f32[1, h, w, 1].

        Returns:
          f32[d, h, w] in [0, 1]; f32[k, d', h', w'] in mm, or None without surfaces; the novelty
          score, which exceeds 1 for 1 % of similar radiographs, or None if the training
          radiographs are unknown.
        """
        self._require_shape(xray)
        found = self._program(*self._weights, xray)
        volume, distances, features = jax.device_get(found)
        for part in (volume, distances):
            if part is not None and not np.isfinite(part).all():
                raise FloatingPointError("the model gives values that are not finite")
        unlike = None
        if self._novelty_detector is not None:
            unlike = float(self._novelty_detector.distance(np.asarray(features, np.float64))[0])
        volume = np.clip(np.asarray(volume[0, ..., 0], np.float32), 0.0, 1.0)
        return volume, None if distances is None else np.asarray(distances[0], np.float32), unlike

    def _require_shape(self, xray: np.ndarray) -> None:
        if np.ndim(xray) != 4 or np.shape(xray)[1:] != (*self.image_shape, 1):
            raise InputError(
                f"radiographs: found shape {np.shape(xray)}, expected (b, {self.image_shape[0]}, "
                f"{self.image_shape[1]}, 1)"
            )


def _in_patient(
    spaces: Mapping[str, Mapping[str, float]], scale: float
) -> dict[str, dict[str, float]]:
    """The record of a `JointFit`, from mm of the box to mm of the patient."""
    return {
        name: {compartment: scale * mm for compartment, mm in found.items()}
        for name, found in spaces.items()
    }


def load_predictor(model: str | os.PathLike[str] | None = None) -> Predictor:
    """Loads a generator, see `load_generator`; InputError if it predicts no volumes."""
    loaded, novelty_detector = load_generator(model)
    return Predictor(loaded, novelty_detector, model, uncertainty_of(model, loaded))
