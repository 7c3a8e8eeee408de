"""Selects and writes the cases of an evaluation for the page's viewer."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from xr2mri_jax.evaluation.property_errors import LabelsOf
from xr2mri_jax.evaluation.result import Result
from xr2mri_jax.evaluation.volume_store import VolumeStore
from xr2mri_jax.geometry import Volume, from_canonical, reorient_ras
from xr2mri_jax.inference import shapes
from xr2mri_jax.inference.prediction_page import viewer_meshes
from xr2mri_jax.inference.uncertainty.model import Uncertainty
from xr2mri_jax.phantom import surfaces
from xr2mri_jax.presentation import pages, structure_colours
from xr2mri_jax.presentation.model_and_controls import MODEL
from xr2mri_jax.presentation.page_elements import Shown, Viewer
from xr2mri_jax.presentation.viewer_case import Layer, ViewerCase
from xr2mri_jax.runtime import processor
from xr2mri_jax.runtime.progress import progress

MOST_CASES = 200  # maximum number of cases with volumes in a report's folder
FAILURES = 8  # in the gallery
# xray f32[1, h, w, 1] to distances f32[k, d, h, w], see `phantom.surfaces`.
Distances = Callable[[np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """The sources of the cases' arrays.

    Attributes:
      found: the evaluation.
      store: its volumes.
      labels: maps a position to the true labels u8[d, h, w]; None if there are none.
      distances: the model's surfaces; None if it has none.
      uncertainty: the model's uncertainty; None if unknown.
    """

    found: Result
    store: VolumeStore
    labels: LabelsOf | None = None
    distances: Distances | None = None
    uncertainty: Uncertainty | None = None


def write(folder: Path, source: Source, most: int = MOST_CASES) -> tuple[Viewer, list[str]]:
    """Writes the data of the cases in parallel, worst PSNR first.

    Args:
      folder: the report's folder.
      source: the arrays.
      most: maximum number of cases; if there are more, shows the failures and evenly spaced
        others.

    Returns:
      The viewer, and the viewer's name of each case, "" for cases not shown.
    """
    psnr = source.found.values[MODEL]["psnr"]
    order = [int(i) for i in np.argsort(psnr, kind="stable")]
    chosen = spread(order, most)

    def one(i: int) -> Shown:
        return pages.write_case(folder, _case(source, i))

    with ThreadPoolExecutor(processor.cores()) as pool:
        made = pool.map(one, chosen)
        listed = list(progress(made, "viewer", "case", len(chosen)))
    names = [""] * len(order)
    for i, shown in zip(chosen, listed, strict=True):
        names[i] = shown.name
    marks = {"Worst": order[0], "Median": order[len(order) // 2], "Best": order[-1]}
    buttons = [(f"{text}, {psnr[i]:.2f} dB", names[i]) for text, i in marks.items()]
    failures = [shown.name for shown in listed[:FAILURES]]
    title = "The cases with the lowest PSNR: predicted and true middle coronal plane"
    return Viewer(listed, buttons, failures, title), names


def spread(order: Sequence[int], most: int) -> list[int]:
    """Selects at most `most` cases: the first FAILURES, the middle, the last, others evenly."""
    if len(order) <= most:
        return list(order)
    wanted = {*range(min(FAILURES, most)), len(order) // 2, len(order) - 1}
    others = [i for i in range(len(order)) if i not in wanted]
    even = np.linspace(0, len(others) - 1, max(most - len(wanted), 0)).round().astype(int)
    return [order[i] for i in sorted([*wanted, *(others[i] for i in even)])[:most]]


def in_patient(array: np.ndarray, side: str) -> Volume:
    """An array [d, h, w] of a canonical right knee in RAS mm of a patient's knee of this side."""
    return reorient_ras(from_canonical(array, side))


def _case(source: Source, i: int) -> ViewerCase:
    found, store = source.found, source.store
    position = np.array([i])
    inside = store.mask(position)[0, ..., 0] > 0
    real, predicted = store.real(position)[0, ..., 0], store.predicted(position)[0, ..., 0]
    # A knee of unknown side is shown as stored, as a right one.
    side = "left" if found.cases["side"][i] == "left" else "right"
    acquired = in_patient(inside.astype(np.uint8), side).array > 0
    layers = [
        Layer("prediction", in_patient(predicted, side)),
        Layer("truth", in_patient(real * inside, side), acquired),
    ]
    if source.uncertainty is not None:
        half_width = source.uncertainty.voxels.half_width(predicted)
        layers.append(Layer("uncertainty", in_patient(half_width, side)))
    meshes = []
    if source.labels is not None:
        layers.append(Layer("true_labels", in_patient(source.labels(i), side)))
    if source.distances is not None:
        distances = source.distances(found.xrays[i : i + 1])
        codes = surfaces.labels(surfaces.resized(distances, predicted.shape, order=3))
        layers.append(Layer("labels", shapes.label_volume(codes, side)))
        meshes = viewer_meshes(distances, side)
    has_labels = source.labels is not None or source.distances is not None
    about = {name: found.cases[name][i] for name in ("index", "subject", "side", "kl")}
    psnr = found.values[MODEL]["psnr"][i]
    title = f"Case {about['index']}, {about['side']} knee, grade {about['kl']}, {psnr:.2f} dB"
    return ViewerCase(
        f"case-{about['index']}",
        title,
        layers,
        # As the layers: the patient's right at the left, so a left knee is mirrored back.
        found.xrays[i, :, :: -1 if side == "left" else 1, 0],
        surfaces=meshes,
        labels=structure_colours.table() if has_labels else (),
        facts=_facts(about, {name: v[i] for name, v in found.values[MODEL].items()}),
    )


def _facts(about: Mapping[str, Any], values: Mapping[str, float]) -> dict[str, str]:
    facts = {
        "subject": str(about["subject"]),
        "side": str(about["side"]),
        "grade": str(about["kl"]),
    }
    return facts | {name: f"{value:.4g}" for name, value in values.items()}


def label_case(
    name: str,
    title: str,
    predicted: np.ndarray,
    true: np.ndarray,
    facts: Mapping[str, str],
    side: str,
) -> ViewerCase:
    """A case with labels only, u8[d, h, w] on one grid over the canonical box, a right knee.

    `side`: of the patient's knee, "left" or "right"; a left knee is mirrored back.
    """
    layers = [
        Layer(kind, in_patient(array, side))
        for kind, array in (("labels", predicted), ("true_labels", true))
    ]
    return ViewerCase(name, title, layers, labels=structure_colours.table(), facts=facts)
