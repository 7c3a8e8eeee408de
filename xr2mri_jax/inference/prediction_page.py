"""The page of predictions: a viewer of the volumes, and a table of the knees."""

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xr2mri_jax import files, output_paths
from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import from_canonical, reorient_ras
from xr2mri_jax.inference import shapes
from xr2mri_jax.inference.prediction import Prediction
from xr2mri_jax.preprocess.radiograph import displayed
from xr2mri_jax.preprocess.scale import is_estimate
from xr2mri_jax.presentation import pages, structure_colours
from xr2mri_jax.presentation.page_elements import Lines, Page, Row, Section, Shown, Table, Viewer
from xr2mri_jax.presentation.pluralise import pluralise
from xr2mri_jax.presentation.statement import MEANING, STATEMENT
from xr2mri_jax.presentation.viewer_case import Layer, Surface, ViewerCase

# Voxels along each axis of the grid of the page's meshes; the STL files have a finer one.
MESH_SIZE = 72
_HEADS = ("file", "side", "spacing (mm)", "novelty", "warnings")
_CAPTION = (
    "The novelty score measures how unlike the training radiographs a radiograph is: 1 % of "
    "similar ones exceed 1. A tilde marks a spacing that was estimated from the image."
)


def viewer_case(prediction: Prediction, name: str, title: str) -> ViewerCase:
    """The viewer's data for a prediction, in the patient's frame.

    Args:
      prediction: its record names source, knee and model.
      name: letters, digits, "-" and "_".
      title: for the reader.
    """
    layers = [Layer("prediction", prediction.volume)]
    side, scale, found = prediction.seen.side, prediction.scale, prediction.distances
    if prediction.half_width is not None:
        made = reorient_ras(from_canonical(prediction.half_width, side))
        layers.append(Layer("uncertainty", shapes.scaled(made, scale)))
    meshes: list[Surface] = []
    if found is not None:
        assert prediction.labels is not None  # the prediction has distances
        layers.append(Layer("labels", shapes.label_volume(prediction.labels, side, scale)))
        meshes = viewer_meshes(found, side, scale)
    return ViewerCase(
        name,
        title,
        layers,
        displayed(prediction.seen),
        scale,
        meshes,
        structure_colours.table() if found is not None else (),
        _facts(prediction.record, side),
    )


def case_title(file: str, side: str) -> str:
    """The viewer's name of a knee; `file` is the radiograph's name."""
    return f"{file}, {side} knee"


def spacing_text(mm: float, source: str) -> str:
    """A spacing in the table; `source` as in `preprocess.scale`: an estimate is "~0.431"."""
    return f"{'~' if is_estimate(source) else ''}{mm:.3f}"


def viewer_meshes(distances: np.ndarray, side: str, scale: float = 1.0) -> list[Surface]:
    """The meshes that a viewer shows; arguments as for `shapes.meshes`."""
    made = shapes.meshes(distances, side, scale, MESH_SIZE)
    return [
        Surface(name, structure_colours.COLOURS[name], mesh.vertices, mesh.faces)
        for name, mesh in made.items()
    ]


def _facts(record: dict[str, Any], side: str) -> dict[str, str]:
    model = record["model"]
    facts = {
        "source": Path(record.get("source", {}).get("file", "")).name or "a radiograph",
        "knee": side,
        "model": f"{model['workdir']}, step {model['step']}",
    }
    if "unlike" in model:
        facts["novelty"] = f"{model['unlike']:.2f} (1 % of similar radiographs exceed 1)"
    outside = record["radiograph"]["outside"]["share"]
    if outside > 0:
        facts["radiograph"] = (
            f"the dimmed {outside:.0%} lie outside the part that the model reads; its border is "
            "repeated there"
        )
    facts |= _intervals(record.get("uncertainty"))
    for i, warning in enumerate(record["warnings"], 1):
        facts[f"warning {i}"] = warning
    return facts


def _intervals(about: dict[str, Any] | None) -> dict[str, str]:
    """The page's facts about the quantities that have an interval."""
    if about is None:
        return {}
    return {
        f"{name.replace('_', ' ')} (mm)": (
            f"{found['mm']:.1f} ({about['level']:.0%} interval {found['low']:.1f} to "
            f"{found['high']:.1f})"
        )
        for name, found in about["intervals"].items()
    }


class PredictionPage:
    """Collects the cases of one page during prediction, and writes the page at the end.

    A context manager: without a call of `finish` nothing is left.
    """

    def __init__(self, output: str | os.PathLike[str]) -> None:
        """Takes the page's folder, new or empty, or its file, ending in .html.

        Raises:
          InputError: the folder is not empty, or the place cannot be written to.
        """
        self.output = Path(output)
        self.single = pages.is_single(self.output)
        if self.single:
            pages.require_single(self.output, "--page")
        else:
            if self.output.exists() and not (
                self.output.is_dir() and not any(self.output.iterdir())
            ):
                raise InputError(
                    f"--page: {self.output} exists, expected a new folder or a name ending in .html"
                )
            output_paths.require_writable(self.output.parent, "--page")
        self._shown: list[Shown] = []
        self._rows: list[Row] = []
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> "PredictionPage":
        self._folder = self._stack.enter_context(self._opened())
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Path]:
        if self.single:
            with tempfile.TemporaryDirectory(prefix="xr2mri-page-") as name:
                yield Path(name)
                self._write(Path(name))
        else:
            with files.atomic_folder(self.output) as folder:
                yield folder
                self._write(folder)

    def add(self, prediction: Prediction, name: str, file: str) -> None:
        """Adds a prediction; `file` is the radiograph's name in the table."""
        side = prediction.seen.side
        case = viewer_case(prediction, name, case_title(file, side))
        self._shown.append(pages.write_case(self._folder, case))
        record = prediction.record
        scale, unlike = record.get("knee", {}).get("scale"), record["model"].get("unlike")
        cells = (
            side,
            "" if scale is None else spacing_text(np.mean(scale["spacing_mm"]), scale["source"]),
            "" if unlike is None else f"{unlike:.2f}",
            "; ".join(prediction.warnings),
        )
        self._rows.append(Row(file, cells, case=name))

    def _write(self, folder: Path) -> None:
        page = prediction_page(self._shown, self._rows)
        if self.single:
            pages.write_single(self.output, page, folder)
        else:
            pages.write_folder(folder, page)


def prediction_page(shown: Sequence[Shown], rows: Sequence[Row]) -> Page:
    """The page of predictions.

    Args:
      shown: the viewer's cases.
      rows: of the table of knees, see `PredictionPage`.
    """
    refused = sum(not row.case for row in rows)
    knees = pluralise(len(shown), "knee")
    title = "Predicted volume" if len(rows) == 1 else f"Predicted volumes of {knees}"
    said = f"Predicted: {knees}."
    if refused:
        said = f"{said} Refused: {pluralise(refused, 'row')}; the table says why."
    table = Table(_CAPTION, _HEADS, rows, sortable=len(rows) > 1, wrapped=True)
    return Page(
        title,
        [f"{STATEMENT[0].upper()}{STATEMENT[1:]}. {MEANING}"],
        [
            Section("Summary", [Lines([said])] if len(rows) > 1 else []),
            Section("Viewer", [Viewer(shown)] if shown else []),
            Section("Knees", [table]),
        ],
    )
