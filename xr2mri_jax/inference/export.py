"""The files of a prediction: NIfTI volume, picture and record, written together or not at all."""

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from xr2mri_jax.errors import InputError
from xr2mri_jax.files import atomic_path
from xr2mri_jax.geometry import from_canonical
from xr2mri_jax.inference.picture import draw
from xr2mri_jax.io import write_nifti

if TYPE_CHECKING:
    from xr2mri_jax.inference.predict import Prediction

SUFFIXES = (".nii.gz", ".nii")


class OutputFiles(NamedTuple):
    """Where a prediction goes."""

    volume: Path
    picture: Path
    record: Path

    @classmethod
    def beside(cls, output: str | os.PathLike[str], xray: str | os.PathLike[str]) -> "OutputFiles":
        """OUT.nii.gz with OUT.png and OUT.json beside it, checked before any work is done.

        Args:
          output: the volume's file.
          xray: the input, which none of the three may overwrite.

        Raises:
          InputError: another ending, a folder that cannot be written to, the input in the way.
        """
        path = Path(output)
        suffix = next((suffix for suffix in SUFFIXES if path.name.endswith(suffix)), None)
        if suffix is None or path.name == suffix:
            raise InputError(f"--output: found {path}, expected a name ending in .nii.gz or .nii")
        stem = path.name.removesuffix(suffix)
        files = cls(path, path.with_name(stem + ".png"), path.with_name(stem + ".json"))
        for file in files:
            if file.is_dir():
                raise InputError(f"--output: {file} is a folder, expected a file's name")
            if file.exists() and Path(xray).exists() and file.samefile(xray):
                raise InputError(
                    f"--output: {file} would overwrite the radiograph, expected another name"
                )
        _require_writable(path.parent)
        return files


def write_prediction(files: OutputFiles, prediction: "Prediction") -> None:
    """Writes the three files; the volume appears last, so that where it is the others are."""
    with contextlib.ExitStack() as stack:
        # The stack closes in reverse order, and closing puts a file in its place.
        volume, picture, record = (stack.enter_context(atomic_path(file)) for file in files)
        write_nifti(volume, prediction.volume)
        _write_picture(picture, prediction)
        text = json.dumps(prediction.record, indent=2, allow_nan=False)
        record.write_text(text + "\n", encoding="utf-8")


def _write_picture(path: Path, prediction: "Prediction") -> None:
    standard = prediction.radiograph
    # Canonical axes with the mirroring undone: the order in which planes are displayed.
    array = from_canonical(prediction.canonical, standard.side).array
    pixels = standard.image[..., 0]
    if standard.record["mirrored"]:
        pixels = pixels[:, ::-1]
    model, source = prediction.record["model"], prediction.record.get("source", {})
    named = Path(source["file"]).name if "file" in source else "radiograph"
    spacing = standard.record["spacing_mm"]
    caption = (
        f"{named}, {standard.side} knee, {spacing[0]:.3g} x {spacing[1]:.3g} mm a pixel; "
        f"{model['stage']} model, step {model['step']}"
    )
    draw(pixels, array, standard.side, caption).savefig(path, format="png", facecolor="black")


def _require_writable(folder: Path) -> None:
    """Tries the folder, or the one that it would be made in; makes nothing."""
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise InputError(
            f"--output: the folder {nearest} cannot be written to ({error.strerror}), expected one "
            "that can"
        ) from error
