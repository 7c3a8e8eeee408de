"""Predicts a volume from one radiograph: mirrored back, with the joint centre at the origin."""

import concurrent.futures
import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import logging

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import Radiograph
from xr2mri_jax.inference import novelty
from xr2mri_jax.inference.export import OutputFiles, write_prediction
from xr2mri_jax.inference.knee_generator.frame import framed_knee, scale_of
from xr2mri_jax.inference.prediction import Prediction
from xr2mri_jax.inference.predictor import Predictor, load_predictor
from xr2mri_jax.io import read_radiograph
from xr2mri_jax.preprocess.framing import line_columns
from xr2mri_jax.preprocess.joint_space import JointSpace, measure_joint_space
from xr2mri_jax.preprocess.knee_request import FoundKnee, KneeRequest, named_side
from xr2mri_jax.preprocess.knees import one_knee
from xr2mri_jax.preprocess.radiograph import (
    StandardRadiograph,
    require_usable,
    standardise_radiograph,
)
from xr2mri_jax.preprocess.scale import line_mm

if TYPE_CHECKING:
    from xr2mri_jax.inference.prediction_page import PredictionPage

# Of a model whose input is framed by the joint line, if no spacing is stated.
MEAN_SIZE = "without a stated spacing, volume and joint space have the mean knee's size"


def _compiled(model: str | os.PathLike[str] | None) -> Predictor:
    predictor = load_predictor(model)
    predictor.compile()
    return predictor


def predict_knee(predictor: Predictor, radiograph: Radiograph, request: KneeRequest) -> Prediction:
    """Finds the requested knee and predicts its volume.

    Args:
      predictor: the model.
      radiograph: as read, see `knees_of`.
      request: which knee is wanted, and what is known about it.

    Returns:
      The prediction; its record also contains the knee and every warning.

    Raises:
      InputError: the radiograph cannot be used.
    """
    return predict_found(predictor, one_knee(radiograph, request))


def predict_found(
    predictor: Predictor, knee: FoundKnee, space: JointSpace | None = None
) -> Prediction:
    """Predicts the volume of a knee that was already found; otherwise like `predict_knee`.

    The joint `space` is measured unless given.
    """
    seen, scale = _model_input(knee, predictor)
    if not predictor.has_surfaces:
        space = None
    elif space is None:
        space = measure_joint_space(knee.radiograph, knee.place)
    line = None if knee.scale is None else _line_mm(knee, predictor)
    measured = None if space is None else space.record(line)
    wanted = None if space is None or line is None else space.millimetres(line)
    predicted = predictor.predict(seen, scale, wanted)
    mean_size = predictor.boxed and knee.scale is not None and knee.scale.deviation > 0
    about = {
        "knee": _knee_record(knee, mean_size) | {"joint_space": measured},
        "warnings": [
            *_doubts(knee, predicted.record["model"].get("unlike"), mean_size),
            *filter(None, [predictor.doubt]),
        ],
    }
    return dataclasses.replace(predicted, record=predicted.record | about)


def _line_mm(knee: FoundKnee, predictor: Predictor) -> float:
    """Length of the joint line in mm of the predicted volume; the knee must have a scale."""
    assert knee.scale is not None
    if predictor.boxed:
        return line_mm(knee.radiograph, knee.place, knee.scale)
    return line_columns(knee.place, knee.radiograph) * knee.scale.spacing[1]


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
    page: str | os.PathLike[str] | None = None,
) -> Prediction:
    """Reads a radiograph, predicts, and writes OUT.nii.gz, OUT.png, OUT.json and optional files.

    Args:
      model_dir: workdir of a trained generator or joint stage, or folder of a packaged generator;
        None or "" for the shipped model.
      xray: radiograph of one knee or of both: DICOM, PNG, TIFF, JPEG or NIfTI.
      output: the volume's file, ending in .nii or .nii.gz.
      side: "left" or "right", required if two knees are found; must not contradict the file.
      spacing: mm per pixel; overrides the file's. If neither is known, it is estimated from the
        joint line, with a warning.
      centre: (row, col) of the joint centre; None: located in the image.
      dicom_dir: folder for a DICOM series of the volume, new or empty; None for no such series.
      keep_identity: copy patient and study of the radiograph, which must then be a DICOM file, to
        the series; otherwise the series is anonymous.
      force: use the middle of an image in which no knee is found.
      labels: file for the label map; the table of its codes is written beside it as JSON.
      meshes: folder for one STL file per structure, in the patient's mm.
      picture: whether OUT.png is drawn.
      page: a page with a viewer: a new folder, or a file ending in .html.

    Raises:
      InputError: one of the arguments cannot be used; nothing has been written.
    """
    files = OutputFiles.beside(output, xray, dicom_dir, keep_identity)
    if not picture:
        files = files._replace(picture=None)
    files = files.with_shapes(labels, meshes, xray, page)
    viewed = None if page is None else _page(page)
    request = KneeRequest(side, spacing, centre, named=named_side(Path(xray)), force=force)
    # The model is loaded and compiled while the knee is found.
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        loading = pool.submit(_compiled, model_dir)
        radiograph = read_radiograph(xray)
        try:
            knee = one_knee(radiograph, request)
            require_usable(knee.radiograph, knee.place.centre_px)
        except InputError as error:
            raise InputError(f"{xray}: {error}") from error
        predictor = loading.result()
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
    if viewed is not None:
        with viewed:
            viewed.add(prediction, "knee", Path(xray).name)
    return prediction


def _page(output: str | os.PathLike[str]) -> "PredictionPage":
    # Imported here, because most predictions have no page.
    from xr2mri_jax.inference.prediction_page import PredictionPage

    return PredictionPage(output)


def with_source(predicted: Prediction, radiograph: Radiograph, xray: Path) -> Prediction:
    """The prediction with its file named in the record and in the warnings."""
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
    """Raises InputError if `flags` request surfaces that the model does not predict."""
    if not predictor.has_surfaces:
        raise InputError(
            f"{flags}: the model predicts no surfaces, expected one trained with "
            "config.model.generator.surfaces"
        )


def _model_input(knee: FoundKnee, predictor: Predictor) -> tuple[StandardRadiograph, float]:
    """The model's input for a knee, and millimetres in the patient per millimetre of the box."""
    if predictor.boxed:
        standard = framed_knee(knee, predictor.image_shape[0], predictor.contrast)
        return standard, scale_of(standard.record, knee.scale)
    centre = knee.place.centre_px
    return (
        standardise_radiograph(knee.radiograph, predictor.image_shape, centre, predictor.contrast),
        1.0,
    )


def _knee_record(knee: FoundKnee, mean_size: bool) -> dict[str, Any]:
    """The knee's record; says of an estimated spacing that a volume of `mean_size` ignores it."""
    record = knee.record()
    if mean_size:
        record["scale"] |= {"note": f"an estimate of the pixel size only: {MEAN_SIZE}"}
    return record


def _doubts(knee: FoundKnee, unlike: float | None, mean_size: bool) -> list[str]:
    """The doubtful decisions, as texts."""
    doubts = [*knee.doubts, scale_warning(knee, mean_size), *novelty.doubts(unlike)]
    return [doubt for doubt in doubts if doubt]


def scale_warning(knee: FoundKnee, mean_size: bool) -> str:
    """The warning that every radiograph without a stated spacing has; "" for a stated one."""
    warning = "" if knee.scale is None else knee.scale.warning()
    return f"{warning}; {MEAN_SIZE}" if warning and mean_size else warning
