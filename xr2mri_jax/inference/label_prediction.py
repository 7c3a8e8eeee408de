"""Label maps predicted from radiographs, with a cache on disk."""

import dataclasses
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging

import xr2mri_jax
from xr2mri_jax.errors import InputError
from xr2mri_jax.files import atomic_path
from xr2mri_jax.geometry import BOX_MM, Volume
from xr2mri_jax.inference.knee_generator.load import load_generator, uncertainty_of
from xr2mri_jax.inference.predict import predict_found, scale_warning
from xr2mri_jax.inference.predictor import Predictor
from xr2mri_jax.inference.uncertainty.model import Uncertainty
from xr2mri_jax.io import budget, read_radiograph
from xr2mri_jax.phantom import surfaces
from xr2mri_jax.phantom.tissues import CODES
from xr2mri_jax.preprocess.knee_request import KneeRequest, named_side
from xr2mri_jax.preprocess.knees import one_knee
from xr2mri_jax.training import inference_settings

# Grid of the canonical box on which surfaces become labels: 1 mm.
LABEL_SHAPE = (128, 128, 128)


@dataclasses.dataclass(frozen=True, eq=False)
class LabelPrediction:
    """A predicted label map in the canonical frame: a right knee, centred on the joint.

    Attributes:
      labels: u8[d, h, w], codes of `tissues.TISSUES`.
      spacing: mm along (d, h, w).
      seen: u8[h, w], the model's input: bone bright, a left knee mirrored.
      doubts: the warnings of the prediction without that of an estimated spacing, which every
        radiograph without spacing has.

    Raises:
      InputError: wrong dtype, number of axes or code, or a spacing that is not positive.
    """

    labels: np.ndarray
    spacing: tuple[float, float, float]
    seen: np.ndarray
    doubts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.labels.dtype != np.uint8 or self.labels.ndim != 3 or not self.labels.size:
            raise InputError(
                f"predicted labels: found {self.labels.dtype} of shape {self.labels.shape}, "
                "expected uint8 with axes d, h, w"
            )
        highest = int(self.labels.max())
        if highest > max(CODES.values()):
            raise InputError(
                f"predicted labels: found code {highest}, expected 0 to {max(CODES.values())}"
            )
        if len(self.spacing) != 3 or not all(0 < mm < np.inf for mm in self.spacing):
            raise InputError(f"predicted labels: found spacing {self.spacing}, expected 3 mm > 0")
        if self.seen.dtype != np.uint8 or self.seen.ndim != 2:
            raise InputError(
                f"the radiograph of predicted labels: found {self.seen.dtype} of shape "
                f"{self.seen.shape}, expected uint8 with axes h, w"
            )

    @property
    def scale(self) -> float:
        """Mm of the patient per mm of the canonical box."""
        return self.spacing[0] * self.labels.shape[0] / BOX_MM[0]

    def volume(self) -> Volume:
        """The map in RAS mm of a right knee, with the centre of the array at the origin."""
        depth, height, width = self.spacing
        affine = np.eye(4)
        affine[:3, :3] = [[0, 0, -width], [-depth, 0, 0], [0, -height, 0]]
        affine[:3, 3] = -affine[:3, :3] @ ((np.array(self.labels.shape) - 1) / 2)
        return Volume(self.labels, affine)


# Maps a radiograph's file and a side ("left" or "right") to the labels of that knee.
PredictLabels = Callable[[Path, str], LabelPrediction]


@dataclasses.dataclass(frozen=True)
class LabelPredictor:
    """A model that predicts labels.

    Attributes:
      predict: raises InputError for a radiograph that cannot be used.
      about: JSON-able description of the model.
      identity: text that is unique to the model; part of the key of its cached predictions.
      uncertainty: of the model, or None.
    """

    predict: PredictLabels
    about: dict[str, Any]
    identity: str
    uncertainty: Uncertainty | None = None


def label_predictor(
    workdir: str | os.PathLike[str] | None, step: int | None = None
) -> LabelPredictor:
    """The model of a run, or the shipped model.

    Args:
      workdir: of a run whose generator has surfaces, or folder of a packaged generator; None: the
        shipped model.
      step: checkpoint of the run; None: the newest.

    Raises:
      InputError: no model is shipped, the run cannot be used, or it predicts no labels.
    """
    model, novelty_detector = load_generator(workdir, step)
    uncertainty, doubt = uncertainty_of(workdir, model)
    if doubt:
        logging.warning(doubt)
    predictor = Predictor(model, novelty_detector, source=workdir)
    if not predictor.has_surfaces:
        raise InputError(
            f"--workdir={workdir}: found the stage {model.stage.name!r} without labels, expected "
            "the run of a generator with config.model.generator.surfaces"
        )

    def predict(xray: Path, side: str) -> LabelPrediction:
        request = KneeRequest(
            side, named=named_side(xray), side_source="the table's side", force=True
        )
        knee = one_knee(read_radiograph(xray), request)
        made = predict_found(predictor, knee)
        assert made.distances is not None  # the model has surfaces
        codes = surfaces.labels(surfaces.resized(made.distances, LABEL_SHAPE, order=3))
        depth, height, width = (
            made.scale * extent / n for extent, n in zip(BOX_MM, LABEL_SHAPE, strict=True)
        )
        usual = scale_warning(knee, predictor.boxed)
        return LabelPrediction(
            codes,
            (depth, height, width),
            np.rint(made.seen.image[..., 0] * 255).astype(np.uint8),
            tuple(doubt for doubt in made.warnings if doubt != usual),
        )

    about = {
        "workdir": predictor.source,
        "stage": model.stage.name,
        "step": int(model.step),
        "dataset": model.config["data"]["dataset"],
        "dtype_trained": str(model.config.get("dtype", "unknown")),
        "dtype_evaluated": str(inference_settings.dtype_name(model.config)),
        "sizes": model.config["model"],
    }
    weights = hashlib.sha256(xr2mri_jax.__version__.encode())
    for leaf in jax.tree.leaves((model.params, model.model_state)):
        weights.update(np.ascontiguousarray(leaf).tobytes())
    return LabelPredictor(predict, about, weights.hexdigest(), uncertainty)


def with_cache(predictor: LabelPredictor, folder: Path) -> LabelPredictor:
    """The same predictor with its predictions cached as files.

    Args:
      predictor: computes missing predictions.
      folder: folder of the cache, created if missing; the file names are hashes of the model, the
        radiograph's bytes, the side and the side that the radiograph's name suggests.
    """

    def predict(xray: Path, side: str) -> LabelPrediction:
        content = hashlib.sha256(xray.read_bytes())
        content.update(f"{predictor.identity}:{side}:{named_side(xray)}".encode())
        path = folder / f"{content.hexdigest()[:32]}.npz"
        if path.is_file():
            return _read(path)
        made = predictor.predict(xray, side)
        with atomic_path(path) as partial, partial.open("wb") as stream:
            np.savez_compressed(
                stream,
                labels=made.labels,
                spacing=np.array(made.spacing),
                seen=made.seen,
                doubts=np.array(made.doubts, np.str_),
            )
        return made

    return dataclasses.replace(predictor, predict=predict)


def _read(path: Path) -> LabelPrediction:
    try:
        stored = budget.read_npz(path, budget.read_bytes(path))
        depth, height, width = (float(mm) for mm in stored["spacing"])
        doubts = tuple(str(doubt) for doubt in stored["doubts"])
        return LabelPrediction(stored["labels"], (depth, height, width), stored["seen"], doubts)
    except (ValueError, KeyError) as error:
        raise InputError(f"{path}: found no cached prediction, remove it ({error})") from error
