"""Writes the files of a prediction (volume, picture, record, DICOM series): all or none."""

import concurrent.futures
import contextlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from absl import logging
from pydicom import Dataset

from xr2mri_jax.errors import InputError
from xr2mri_jax.files import atomic_folder, atomic_paths, replaced_folder
from xr2mri_jax.geometry import from_canonical, reorient_ras
from xr2mri_jax.inference import shapes
from xr2mri_jax.inference.output_places import OutputPlace, require_separate
from xr2mri_jax.inference.prediction import Prediction
from xr2mri_jax.inference.uncertainty.of_prediction import HALF_WIDTH_STEP
from xr2mri_jax.io import dicom_write, write_nifti
from xr2mri_jax.io.dicom_file import read_header
from xr2mri_jax.io.dicom_modules import SeriesLabel, left_out, require_identity
from xr2mri_jax.io.formats import sniff
from xr2mri_jax.io.image import DRAWN
from xr2mri_jax.output_paths import require_apart, require_writable
from xr2mri_jax.preprocess.radiograph import displayed
from xr2mri_jax.presentation import structure_colours
from xr2mri_jax.presentation.statement import STATEMENT

SUFFIXES = (".nii.gz", ".nii")


class DicomOutput(NamedTuple):
    """Folder of the DICOM series, and whether to copy the radiograph's patient and study.

    `source` is the radiograph's header, or None if the radiograph was not a DICOM file.
    """

    folder: Path
    source: Dataset | None
    keep_identity: bool


class Further(NamedTuple):
    """A volume beside the predicted one: computes f32[d, h, w] in the canonical frame.

    `step` is the step of the stored values, see `write_nifti`.
    """

    values: Callable[[], np.ndarray | None]
    step: float | None


class OutputFiles(NamedTuple):
    """Where a prediction is written; None for files that are not wanted."""

    volume: Path
    record: Path
    picture: Path | None = None
    dicom: DicomOutput | None = None
    labels: Path | None = None
    meshes: Path | None = None

    def of_uncertainty(self, prediction: Prediction) -> dict[Path, Further]:
        """The further volumes by file: half-widths, confidence of the labels."""
        found: dict[Path, Further] = {}
        half_width, *confidence = self.uncertain()
        if prediction.half_width is not None:
            found[half_width] = Further(lambda: prediction.half_width, HALF_WIDTH_STEP)
        if confidence and prediction.spread is not None:
            found[confidence[0]] = Further(lambda: prediction.confidence, None)
        return found

    def uncertain(self) -> list[Path]:
        """Where half-widths and, with labels, their confidence are written if they are known."""
        labels = [] if self.labels is None else [self.labels]
        return [
            _beside(self.volume, "uncertainty"),
            *(_beside(path, "confidence") for path in labels),
        ]

    def with_shapes(
        self,
        labels: str | os.PathLike[str] | None,
        meshes: str | os.PathLike[str] | None,
        xray: str | os.PathLike[str],
        page: str | os.PathLike[str] | None = None,
    ) -> "OutputFiles":
        """The same with a label map file and a folder of meshes, checked.

        Args:
          labels, meshes: None where not wanted.
          xray: the input.
          page: folder or file of a page that the caller writes, only checked here.

        Raises:
          InputError: wrong file ending, a path that cannot be written to, or two outputs, or an
            output and the input, in one place.
        """
        if labels is not None:
            for file in _label_files(Path(labels)):
                require_apart(file, [xray], "--labels", "the radiograph")
            require_writable(Path(labels).parent, "--labels")
        if meshes is not None:
            if Path(meshes).exists() and not Path(meshes).is_dir():
                raise InputError(f"--meshes: found the file {meshes}, expected a folder")
            require_writable(Path(meshes).parent, "--meshes")
        files = self._replace(
            labels=None if labels is None else Path(labels),
            meshes=None if meshes is None else Path(meshes),
        )
        places = files._places()
        require_separate(places if page is None else [*places, OutputPlace("--page", Path(page))])
        return files

    def _places(self) -> list[OutputPlace]:
        """All files and folders that may be written."""
        volumes = [*self.named(), self.uncertain()[0]]
        places = [OutputPlace("--output", file) for file in volumes]
        if self.labels is not None:
            places += [OutputPlace("--labels", file) for file in _label_files(self.labels)]
        if self.meshes is not None:
            places.append(OutputPlace("--meshes", self.meshes, shared=True))
        if self.dicom is not None:
            places.append(OutputPlace("--dicom_dir", self.dicom.folder))
        return places

    def named(self) -> list[Path]:
        """The volume, record and picture that are wanted."""
        return [file for file in self[:3] if file is not None]

    @classmethod
    def beside(
        cls,
        output: str | os.PathLike[str],
        xray: str | os.PathLike[str],
        dicom_dir: str | os.PathLike[str] | None = None,
        keep_identity: bool = False,
    ) -> "OutputFiles":
        """OUT.nii.gz with OUT.png and OUT.json beside it, checked before any work is done.

        Args:
          output: the volume's file.
          xray: the input, which none of the three may overwrite.
          dicom_dir: folder for a DICOM series; None for no such series.
          keep_identity: copy patient and study of `xray`, then a DICOM file, to the series.

        Raises:
          InputError: wrong file ending, a folder that cannot be written to, an output that would
            overwrite the input, a DICOM folder that is not empty, or no patient to copy.
        """
        path = Path(output)
        suffix = next((suffix for suffix in SUFFIXES if path.name.endswith(suffix)), None)
        if suffix is None or path.name == suffix:
            raise InputError(f"--output: found {path}, expected a name ending in .nii.gz or .nii")
        stem = path.name.removesuffix(suffix)
        files = cls(path, path.with_name(stem + ".json"), path.with_name(stem + ".png"))
        for file in (*files.named(), _beside(path, "uncertainty")):
            if file.is_dir():
                raise InputError(f"--output: {file} is a folder, expected a file name")
            require_apart(file, [xray], f"--output={path}", "the radiograph")
        require_writable(path.parent, "--output")
        if dicom_dir is None and keep_identity:
            raise InputError("--keep_identity: found no --dicom_dir, expected one with it")
        if dicom_dir is None:
            return files
        return files._replace(dicom=_dicom_output(Path(dicom_dir), Path(xray), keep_identity))


def write_prediction(files: OutputFiles, prediction: Prediction) -> None:
    """Writes all files; the volume appears last, so that it exists only if the others do.

    Radiograph tags that cannot be copied to the DICOM series are logged and added to the record's
    warnings.
    """
    if files.dicom is not None and files.dicom.keep_identity and files.dicom.source is not None:
        said = [f"{files.volume.name}: {clause}" for clause in left_out(files.dicom.source)]
        for warning in said:
            logging.warning(warning)
        prediction.record["warnings"] = [*prediction.record.get("warnings", []), *said]
    further = files.of_uncertainty(prediction)
    paths = [*files.named(), *further]
    if files.labels is not None and prediction.distances is not None:
        paths += [files.labels, shapes.table_path(files.labels)]
    with contextlib.ExitStack() as stack:
        volume, record, *others = stack.enter_context(atomic_paths(*paths))
        picture = others.pop(0) if files.picture is not None else None
        further_paths, others = others[: len(further)], others[len(further) :]
        if further:
            prediction.record["uncertainty"]["files"] = [os.fspath(path) for path in further]
        if files.dicom is not None:
            _write_dicom(stack.enter_context(atomic_folder(files.dicom.folder)), files, prediction)
        meshes = None
        if files.meshes is not None and prediction.distances is not None:
            meshes = stack.enter_context(replaced_folder(files.meshes, shapes.MESH_FILES))
        # Drawing takes as long as everything else, much of it without the interpreter's lock.
        drawing = stack.enter_context(concurrent.futures.ThreadPoolExecutor(1))
        drawn = None
        if picture is not None:
            drawn = drawing.submit(_write_picture, picture, prediction)
        _write_further(further_paths, further.values(), prediction)
        _write_shapes(files, prediction, others, meshes)
        write_nifti(volume, prediction.volume)
        if drawn is not None:
            drawn.result()
        text = json.dumps(prediction.record, indent=2, allow_nan=False)
        record.write_text(text + "\n", encoding="utf-8")


def _write_further(
    paths: Sequence[Path],
    volumes: Iterable[Further],
    prediction: Prediction,
) -> None:
    """Writes the volumes of `OutputFiles.of_uncertainty`, placed like the predicted volume."""
    for path, (values, step) in zip(paths, volumes, strict=True):
        array = values()
        assert array is not None  # its sources exist
        made = reorient_ras(from_canonical(array, prediction.seen.side))
        write_nifti(path, shapes.scaled(made, prediction.scale), step)


def _write_shapes(
    files: OutputFiles, prediction: Prediction, labels: list[Path], meshes: Path | None
) -> None:
    """Label map and meshes with their entries in the record.

    Args:
      files: the final names, for the record.
      prediction: with the distances.
      labels: temporary paths of the label map and of its table; empty where none is wanted.
      meshes: temporary folder, or None.
    """
    found, side = prediction.distances, prediction.seen.side
    if found is None:
        return
    if labels:
        codes = prediction.labels
        assert files.labels is not None and codes is not None  # the prediction has distances
        shapes.write_labels(
            labels[0], labels[1], shapes.label_volume(codes, side, prediction.scale)
        )
        prediction.record["labels"] = {
            "file": os.fspath(files.labels),
            "table": os.fspath(shapes.table_path(files.labels)),
            "voxels": {
                row["name"]: int((codes == row["code"]).sum()) for row in structure_colours.table()
            },
        }
    if meshes is not None:
        made = shapes.meshes(found, side, prediction.scale)
        names = shapes.write_meshes(meshes, made)
        prediction.record["meshes"] = {"folder": os.fspath(files.meshes or ""), "files": names}


def _beside(path: Path, what: str) -> Path:
    """NAME_WHAT.nii.gz beside NAME.nii.gz."""
    suffix = next(suffix for suffix in SUFFIXES if path.name.endswith(suffix))
    return path.with_name(f"{path.name.removesuffix(suffix)}_{what}{suffix}")


def _label_files(path: Path) -> list[Path]:
    """A label map with the table of its codes and its confidence."""
    return [path, shapes.table_path(path), _beside(path, "confidence")]


def _dicom_output(folder: Path, xray: Path, keep_identity: bool) -> DicomOutput:
    """Checks folder and patient before any work is done."""
    try:
        dicom_write.require_free(folder)
    except InputError as error:
        raise InputError(f"--dicom_dir: {error}") from error
    require_writable(folder.parent, "--dicom_dir")
    source = read_header(xray) if sniff(xray) == "dicom" else None
    if keep_identity:
        require_identity(source)
    return DicomOutput(folder, source, keep_identity)


def _write_dicom(folder: Path, files: OutputFiles, prediction: Prediction) -> None:
    """Writes the series in sagittal slices, as knees are read; all slices share the scale 0..1."""
    assert files.dicom is not None
    model = prediction.record["model"]
    label = SeriesLabel(
        series="SYNTHETIC MRI from radiograph - NOT FOR DIAGNOSIS",
        derivation=(
            "Synthesised from one radiograph by a neural network "
            f"(xr2mri_jax, {model['stage']} model, step {model['step']}). No MRI was acquired. "
            "The frame's origin is the joint's centre in the radiograph."
        ),
        comment=(f"{STATEMENT}. Shows what a training population makes likely, not this patient."),
        synthetic=True,
    )
    dicom_write.write_series(
        folder,
        prediction.volume,
        side=prediction.seen.side,
        label=label,
        source=files.dicom.source,
        keep_identity=files.dicom.keep_identity,
        plane="sagittal",
        value_range=(0.0, 1.0),
    )


def _write_picture(path: Path, prediction: Prediction) -> None:
    # Imported here: Matplotlib takes half a second, which a volume alone does not need.
    from xr2mri_jax.presentation.picture import draw

    standard = prediction.seen
    # Canonical axes with the mirroring undone: the order in which planes are displayed.
    array = from_canonical(prediction.canonical, standard.side).array
    model, source = prediction.record["model"], prediction.record.get("source", {})
    named = Path(source["file"]).name if "file" in source else "radiograph"
    spacing = standard.record["spacing_mm"]
    known = spacing is not None and min(spacing) > 0
    size = f"{spacing[0]:.3g} x {spacing[1]:.3g} mm per pixel" if known else "size unknown"
    scale = prediction.record.get("knee", {}).get("scale")
    notes = []
    if scale is not None and scale["deviation_mm"] > 0:
        size += " (estimated)"
        if "note" in scale:
            notes.append("the volume has the mean knee's size, whatever the estimate")
    caption = f"{named}, {standard.side} knee, {size}; {model['stage']} model, step {model['step']}"
    if standard.record["outside"]["share"] > 0:
        notes.append("the radiograph's border is repeated where it is dim")
    if notes:
        caption += "\n" + "; ".join(notes)
    labels, half_width = (
        None if one is None else from_canonical(one, standard.side).array
        for one in (prediction.labels, prediction.half_width)
    )
    figure = draw(
        displayed(standard), array, standard.side, caption, labels, half_width, prediction.scale
    )
    figure.savefig(
        path, format="png", facecolor="black", metadata=DRAWN, pil_kwargs={"compress_level": 2}
    )
