"""Predicts the knees of one uploaded radiograph and writes the files for download."""

import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

from xr2mri_jax.errors import InputError
from xr2mri_jax.inference import read_ahead
from xr2mri_jax.inference.export import DicomOutput, OutputFiles, write_prediction
from xr2mri_jax.inference.predict import predict_found, with_source
from xr2mri_jax.inference.prediction import Prediction
from xr2mri_jax.inference.prediction_page import PredictionPage, case_title, viewer_case
from xr2mri_jax.inference.predictor import Predictor
from xr2mri_jax.preprocess.knee_request import FoundKnee, KneeRequest, RefusedKnee, named_side
from xr2mri_jax.preprocess.knees import knees_of
from xr2mri_jax.presentation import pages
from xr2mri_jax.presentation.page_elements import Shown

# Files for download per knee, with their labels on the page.
DOWNLOADS = {
    "volume.nii.gz": "volume (NIfTI)",
    "volume_uncertainty.nii.gz": "uncertainty of the volume (NIfTI)",
    "labels.nii.gz": "labels (NIfTI)",
    "labels_confidence.nii.gz": "confidence of the labels (NIfTI)",
    "labels.json": "table of the labels",
    "meshes.zip": "meshes (STL)",
    "dicom.zip": "DICOM series",
    "record.json": "record",
    "page.html": "this page, one file",
}


def knees(upload: Path, side: str | None, spacing: float | None) -> Iterator[FoundKnee]:
    """Finds the knees of a radiograph.

    Args:
      upload: its file.
      side: the side of the knee to use; None: all knees.
      spacing: mm per pixel at the knee, or None.

    Raises:
      InputError: it cannot be read or shows no usable knee; the message does not contain its path.
    """
    request = KneeRequest(side, spacing, named=named_side(upload))
    try:
        answers = knees_of(read_ahead.decode_radiograph(upload), request)
    except Exception as error:  # any decoder error becomes a one-line message for the user
        raise InputError(read_ahead.error_reason(upload, error)) from error
    found = [knee for knee in answers if isinstance(knee, FoundKnee)]
    if not found:
        reasons = "; ".join(knee.reason for knee in answers if isinstance(knee, RefusedKnee))
        raise InputError(reasons or "found no knee, expected a frontal radiograph of one or both")
    yield from found


def predicted(predictor: Predictor, knee: FoundKnee, upload: Path) -> Prediction:
    """Predicts a knee; the record names the file without its folder.

    Raises:
      InputError: the knee cannot be used; the message does not contain the file's path.
    """
    try:
        made = predict_found(predictor, knee)
        return with_source(made, knee.radiograph, Path(upload.name))
    except Exception as error:
        raise InputError(read_ahead.error_reason(upload, error)) from error


def show(folder: Path, prediction: Prediction, name: str, file: str) -> Shown:
    """Writes the viewer's data of a knee into a folder; returns its entry."""
    title = case_title(file, prediction.seen.side)
    return pages.write_case(folder, viewer_case(prediction, name, title))


def write_downloads(folder: Path, prediction: Prediction, name: str, file: str) -> list[str]:
    """Writes the files in DOWNLOADS for a knee; returns their names.

    Args:
      folder: an empty folder.
      prediction: the knee's prediction.
      name: name of its case.
      file: name of the radiograph, for the page.
    """
    surfaces = prediction.distances is not None
    work = folder / "work"
    files = OutputFiles(
        folder / "volume.nii.gz",
        folder / "record.json",
        dicom=DicomOutput(work / "dicom", None, False),
        labels=folder / "labels.nii.gz" if surfaces else None,
        meshes=work / "meshes" if surfaces else None,
    )
    write_prediction(files, prediction)
    for part in sorted(work.iterdir()):
        _zipped(part, folder / f"{part.name}.zip")
    shutil.rmtree(work)
    with PredictionPage(folder / "page.html") as page:
        page.add(prediction, name, file)
    return [name for name in DOWNLOADS if (folder / name).is_file()]


def _zipped(folder: Path, path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for one in sorted(folder.iterdir()):
            archive.write(one, one.name)
