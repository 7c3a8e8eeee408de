"""DICOM radiographs."""

import os
from pathlib import Path

import pydicom

from xr2mri_jax import geometry
from xr2mri_jax.errors import InputError
from xr2mri_jax.io import dicom_facts, formats
from xr2mri_jax.io.dicom_display import displayed, single_frame
from xr2mri_jax.io.dicom_file import read_header
from xr2mri_jax.io.dicom_tags import MODALITIES, named, term

RADIOGRAPH_MODALITIES = ("CR", "DX", "RG", "RF", "OT")


def read_radiograph(
    path: str | os.PathLike[str],
    spacing: tuple[float, float] | None = None,
    side: str | None = None,
) -> geometry.Radiograph:
    r"""Reads a DICOM radiograph as a viewer displays it, bone bright and upright.

    The stored values go through the modality LUT or rescale, then through the first VOI LUT or else
    the first window (a window of no width counts as absent), and MONOCHROME1 is inverted within the
    range that the values can take. PatientOrientation other than L\F is undone by flips. Padding
    and what shutters hide is marked as background and has the lowest value of the rest.

    Broken tags that are not needed are ignored. The radiograph's `doubts` name them, and anything
    in the header that contradicts a frontal radiograph of a knee.

    Args:
      path: the file.
      spacing: mm per pixel (row, col) as displayed, instead of the header's, see
        `dicom_facts.spacing`.
      side: overrides the header's ImageLaterality, else Laterality (L or R).

    Returns:
      The radiograph, f32[h, w]; its spacing is None if nothing gives one.

    Raises:
      InputError: not a radiograph by Modality, several frames, coloured, or broken.
    """
    path = Path(path)
    dataset = read_header(path, pixels=True)
    doubts: list[str] = []
    with formats.reading(path, "DICOM"):
        _check_modality(dataset, path, doubts)
        single_frame(dataset, "one radiograph")
        array, background = displayed(dataset, doubts)
        dicom_facts.check_view(dataset, doubts)
        turn = dicom_facts.turn(dataset, doubts)
        if spacing is None:
            spacing = turn.spacing(dicom_facts.spacing(dataset, doubts))
        if spacing is None:
            dicom_facts.check_aspect(dataset, doubts)
        if side is None:
            side = dicom_facts.side(dataset, doubts)
        return geometry.Radiograph(
            turn(array),
            spacing,
            side,
            tuple(doubts),
            None if background is None else turn(background),
        )


def _check_modality(dataset: pydicom.Dataset, path: Path, doubts: list[str]) -> None:
    """Refuses other modalities. Terms unknown to the standard (DR, XR) are a doubt."""
    modality = term(dataset, "Modality", MODALITIES)
    expected = ", ".join(RADIOGRAPH_MODALITIES)
    if modality is None:
        doubts.append(f"{named('Modality')} is not a known term, expected {expected}: ignored")
    elif modality not in ("", *RADIOGRAPH_MODALITIES):
        raise InputError(
            f"{path}: wrong modality, {named('Modality')} is {modality}, expected a radiograph "
            f"({expected})"
        )
