"""Figures of predicted label maps: contours on the true map, and predicted against true values."""

import io
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from xr2mri_jax.phantom.tissues import BONE_CODES, TISSUES
from xr2mri_jax.presentation.figures import svg
from xr2mri_jax.presentation.picture import COMPARTMENT_MM

COLOURS = {"femur": "#e07b00", "tibia": "#c2185b"}
_DPI = 80
_GREYS = ListedColormap(["#000000", "#b9c2cb", "#5aa9d6"])  # nothing, bone, cartilage
_CARTILAGES = tuple(t.code for name, t in TISSUES.items() if name.endswith("cartilage"))


def label_case(
    radiograph: np.ndarray, true: np.ndarray, rows: Mapping[str, Mapping[str, np.ndarray]]
) -> bytes:
    """One knee: its radiograph, and contours of predicted bones on planes of the true map.

    Args:
      radiograph: f32[h, w], any range, displayed as a right knee.
      true: u8[d, h, w] on a grid of 1 mm with the joint's centre in the middle, codes of
        `tissues.TISSUES`.
      rows: predicted bones, f32 or bool [d, h, w] by name, by the row's title.

    Returns:
      PNG.
    """
    shown = np.zeros(true.shape, np.uint8)
    shown[np.isin(true, BONE_CODES)] = 1
    shown[np.isin(true, _CARTILAGES)] = 2
    figure = Figure(
        figsize=(12.0, 2.9 * len(rows)), facecolor="black", dpi=_DPI, layout="constrained"
    )
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(rows), 4, squeeze=False)
    for axes in grid[:, 0]:
        axes.set_axis_off()
    grid[0, 0].imshow(radiograph, cmap="gray", aspect="equal")
    grid[0, 0].set_title("radiograph", color="white", fontsize=10)
    for row, (title, bones) in enumerate(rows.items()):
        for axes, (name, axis, place) in zip(grid[row, 1:], _planes(true.shape), strict=True):
            axes.imshow(
                _plane(shown, axis, place), cmap=_GREYS, vmin=0, vmax=2, interpolation="nearest"
            )
            for bone, occupied in bones.items():
                _contour(axes, _plane(occupied, axis, place), COLOURS[bone])
            axes.set_axis_off()
            axes.set_title(f"{name}, {title}", color="white", fontsize=10)
    return _png(figure)


def _planes(shape: Sequence[int]) -> list[tuple[str, int, int]]:
    depth, width = shape[0] // 2, shape[2] // 2
    aside = round(COMPARTMENT_MM)
    return [
        ("coronal", 0, depth),
        ("sagittal, lateral", 2, width - aside),
        ("sagittal, medial", 2, width + aside),
    ]


def _plane(array: np.ndarray, axis: int, place: int) -> np.ndarray:
    plane = array.take(place, axis)
    return plane.T if axis == 2 else plane


def _contour(axes: Axes, plane: np.ndarray, colour: str) -> None:
    values = plane.astype(np.float32)
    if values.min() < 0.5 < values.max():
        axes.contour(values, levels=[0.5], colors=[colour], linewidths=1.3)


def agreement(panels: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> bytes:
    """Predicted against true values, one panel per quantity.

    Args:
      panels: true and predicted values f64[n] by title; pairs with NaN are omitted.

    Returns:
      SVG.
    """
    figure = Figure(
        figsize=(3.4 * len(panels), 3.3), facecolor="white", dpi=_DPI, layout="constrained"
    )
    FigureCanvasAgg(figure)
    row = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (title, (true, predicted)) in zip(row, panels.items(), strict=True):
        known = np.isfinite(true) & np.isfinite(predicted)
        ends = [0.0, 1.05 * max([1e-9, *true[known], *predicted[known]])]
        axes.plot(ends, ends, color="black", linestyle="--", linewidth=1)
        axes.plot(true[known], predicted[known], "o", color="#0b6e99", markersize=4)
        axes.set_xlim(ends)
        axes.set_ylim(ends)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("true")
        axes.set_ylabel("predicted")
        axes.set_aspect("equal")
        axes.spines[["top", "right"]].set_visible(False)
    return svg(figure)


def _png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", facecolor=figure.get_facecolor())
    return stream.getvalue()
