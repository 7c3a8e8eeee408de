"""Phantom knees as typical hospital files: bilateral radiographs, oblique MRI series."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset

from xr2mri_jax.geometry import SIDES, Volume, from_canonical, resample

# Positions of the knees of a lying patient, RAS mm, and rotation of the sagittal slices (degrees,
# about the leg and about the line from front to back), as in a technician's planning.
CENTRES = {"right": (95.0, -12.0, -480.0), "left": (-95.0, -12.0, -480.0)}
TURN, TILT = 9.0, 4.0
# Voxel counts and size (mm) of the Osteoarthritis Initiative's sagittal DESS, within the slice.
MATRIX, PIXEL_MM = 384, 0.3646
DEPTH_MM = 112.0
LEVELS = 1000  # stored value of the brightest voxel


def dess_volume(
    case: dict[str, Any], slices: int = 160, rows: int = MATRIX, columns: int = MATRIX
) -> Volume:
    """A phantom knee as an oblique sagittal series.

    Args:
      case: of `phantom.case.simulate_case`.
      slices: over DEPTH_MM.
      rows, columns: pixels of PIXEL_MM in a slice.

    Returns:
      int16[i = column, j = row, k = slice] in 0..LEVELS, about the centre in CENTRES.
    """
    side = SIDES[case["side"]]
    canonical = from_canonical(np.asarray(case["mri"])[..., 0], side, CENTRES[side])
    turn, tilt = np.deg2rad(TURN), np.deg2rad(TILT)
    about_leg = np.array(
        [
            [np.cos(turn), -np.sin(turn), 0],
            [np.sin(turn), np.cos(turn), 0],
            [0, 0, 1],
        ]
    )
    about_front = np.array(
        [
            [np.cos(tilt), 0, np.sin(tilt)],
            [0, 1, 0],
            [-np.sin(tilt), 0, np.cos(tilt)],
        ]
    )
    # Columns run backwards, rows down, slices to the patient's right.
    directions = about_leg @ about_front @ np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0]])
    shape = (columns, rows, slices)
    affine = np.eye(4)
    affine[:3, :3] = directions * (PIXEL_MM, PIXEL_MM, DEPTH_MM / slices)
    affine[:3, 3] = CENTRES[side] - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    sampled, _ = resample(canonical, affine, shape)
    values = np.rint(sampled.array * np.float32(LEVELS / 65535)).astype(np.int16)
    return Volume(values, affine)


def write_series(
    folder: str | os.PathLike[str],
    volume: Volume,
    description: str,
    chosen: Sequence[int] | None = None,
) -> list[Path]:
    """Writes a volume as one DICOM series, a file per slice, named 001, 002, ... without extension.

    Args:
      folder: created if missing.
      volume: int16[i = column, j = row, k = slice] with its affine in RAS mm.
      description: the SeriesDescription.
      chosen: numbers of the slices to write; None: all.

    Returns:
      The files.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    to_lps = np.diag((-1.0, -1.0, 1.0))
    directions = to_lps @ (volume.affine[:3, :3] / volume.spacing)
    series, frame = uid.generate_uid(), uid.generate_uid()
    paths = []
    for number in range(volume.shape[2]) if chosen is None else chosen:
        dataset = _image(volume.array[:, :, number].T, uid.MRImageStorage, "MR")
        dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = series, frame
        dataset.SeriesDescription = description
        dataset.InstanceNumber = number + 1
        dataset.PixelSpacing = [_text(volume.spacing[1]), _text(volume.spacing[0])]
        dataset.SliceThickness = _text(volume.spacing[2])
        dataset.ImageOrientationPatient = [_text(x) for x in directions[:, :2].T.ravel()]
        place = to_lps @ volume.world((0, 0, number))
        dataset.ImagePositionPatient = [_text(x) for x in place]
        paths.append(folder / f"{number + 1:03d}")
        pydicom.dcmwrite(paths[-1], dataset, enforce_file_format=True)
    return paths


def write_film(
    path: str | os.PathLike[str],
    image: np.ndarray,
    spacing: Sequence[float] | None,
    inverted: bool = False,
    spacing_tag: str = "ImagerPixelSpacing",
) -> None:
    """Writes a radiograph as computed radiography: 12 of 16 bits.

    Args:
      path: the file; its folder is created if missing.
      image: u16[rows, cols] over the whole range, bone bright.
      spacing: (row_mm, col_mm), or None to leave it out.
      inverted: store as MONOCHROME1, bone at low values.
      spacing_tag: the tag that holds the spacing.
    """
    pixels = (image >> 4).astype(np.uint16)
    dataset = _image(
        4095 - pixels if inverted else pixels, uid.ComputedRadiographyImageStorage, "CR"
    )
    dataset.BitsStored, dataset.HighBit = 12, 11
    dataset.PhotometricInterpretation = "MONOCHROME1" if inverted else "MONOCHROME2"
    dataset.SeriesInstanceUID = uid.generate_uid()
    dataset.SeriesDescription = "Bilateral PA Fixed Flexion Knee"
    if spacing is not None:
        setattr(dataset, spacing_tag, [_text(value) for value in spacing])
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)


def _image(pixels: np.ndarray, storage: str, modality: str) -> Dataset:
    """A dataset with pixels [rows, cols] of 16 bits and the tags that every image needs."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = storage, uid.generate_uid()
    dataset.StudyInstanceUID = uid.generate_uid()
    dataset.Modality = modality
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    dataset.PixelData = np.ascontiguousarray(pixels).tobytes()
    dataset["PixelData"].VR = "OW"
    return dataset


def _text(value: float) -> str:
    """A decimal string of at most 16 characters."""
    return f"{value:.10g}"[:16]
