"""The picture of a predicted volume: the radiograph and planes through the joint."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from xr2mri_jax.geometry import BOX_MM
from xr2mri_jax.presentation.statement import STATEMENT
from xr2mri_jax.presentation.structure_colours import table

# From the joint's centre to the middle of a compartment's tibial cartilage, along the width: mean
# over ten segmented knees, 20.7 mm (19.9 medial, 21.4 lateral).
COMPARTMENT_MM = 21.0
SCALE_BAR_MM = 20
_LINE_COLOUR = "#f2c14e"
_DPI = 110
KEY_INCHES = 0.55  # height of the key of the outlined structures
_OUTLINE = (withStroke(linewidth=2.5, foreground="black"),)


class Panel(NamedTuple):
    """One image of the picture.

    pixels: f32[rows, columns] in [0, 1]; size_mm: (height, width); letters: orientation at the
    left, right, top and bottom edge; marks_mm: columns to mark, mm from the panel's middle; labels:
    u8[rows, columns] or None; the structures of `structure_colours` are outlined; colours: the
    colour map.
    """

    title: str
    pixels: np.ndarray
    size_mm: tuple[float, float]
    letters: tuple[str, str, str, str]
    marks_mm: tuple[float, ...] = ()
    labels: np.ndarray | None = None
    colours: str = "gray"


def panels(
    radiograph: np.ndarray,
    array: np.ndarray,
    side: str,
    labels: np.ndarray | None = None,
    scale: float = 1.0,
) -> list[Panel]:
    """Radiograph, coronal, axial and three sagittal planes, displayed as radiologists expect.

    Coronal and axial planes show the patient's right at the image's left, the axial one anterior
    at the top, the sagittal ones anterior at the left.

    Args:
      radiograph: f32[h, w] in [0, 1], the patient's right at the image's left (no mirroring).
      array: f32[d, h, w] in [0, 1] over the canonical box, same frame (no mirroring).
      side: "left" or "right"; determines the lateral compartment.
      labels: u8[d, h, w] in the same frame, or None.
      scale: mm in the patient per mm of the box.
    """
    deep, high, wide = (scale * extent for extent in BOX_MM)
    lateral_mm = -COMPARTMENT_MM if side == "right" else COMPARTMENT_MM
    columns = (lateral_mm, 0.0, -lateral_mm)  # in the box
    marks = tuple(scale * column for column in columns)
    coronal_letters = ("R", "L", "S", "I")
    shown = [
        Panel("radiograph", radiograph, (high, wide), coronal_letters),
        Panel(
            "coronal", _plane(array, 0, 0.0), (high, wide), coronal_letters, marks,
            _nearest(labels, 0, 0.0),
        ),
        Panel(
            "axial", _plane(array, 1, 0.0), (deep, wide), ("R", "L", "A", "P"), (),
            _nearest(labels, 1, 0.0),
        ),
    ]  # fmt: skip
    names = ("lateral compartment", "middle", "medial compartment")
    for name, column in zip(names, columns, strict=True):
        pixels = _plane(array, 2, column).T
        outlined = _nearest(labels, 2, column)
        outlined = None if outlined is None else outlined.T
        letters = ("A", "P", "S", "I")
        shown.append(Panel(f"sagittal, {name}", pixels, (high, deep), letters, (), outlined))
    return shown


def uncertain_panels(half_width: np.ndarray, side: str, scale: float = 1.0) -> list[Panel]:
    """Coronal, axial and middle sagittal plane of half-widths f32[d, h, w], as in `panels`."""
    shown = panels(np.zeros((1, 1), np.float32), half_width, side, scale=scale)
    planes = [panel for panel in shown if panel.title in ("coronal", "axial", "sagittal, middle")]
    return [
        panel._replace(title=f"uncertainty, {panel.title}", marks_mm=(), colours="magma")
        for panel in planes
    ]


def draw(
    radiograph: np.ndarray,
    array: np.ndarray,
    side: str,
    caption: str,
    labels: np.ndarray | None = None,
    half_width: np.ndarray | None = None,
    scale: float = 1.0,
) -> Figure:
    """Draws the panels, and below them the key of the structures that are outlined.

    Args:
      radiograph, array, side, labels, scale: as in `panels`.
      caption: one or two further lines of the title.
      half_width: f32[d, h, w] in the frame of `array`, of the interval of each voxel, drawn in a
        third row with a colour bar, on the scale of the volume; None: no such row.
    """
    rows = 2 if half_width is None else 3
    key = 0.0 if labels is None else KEY_INCHES
    high = 0.8 + 4.3 * rows + key
    figure = Figure(figsize=(13.2, high), facecolor="black", dpi=_DPI)
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, 3)
    top, bottom = 1 - 0.13 * 9.4 / high, 0.02 + key / high
    right = 0.98 if half_width is None else 0.94
    figure.subplots_adjust(left=0.02, right=right, top=top, bottom=bottom, wspace=0.05, hspace=0.1)
    figure.suptitle(STATEMENT, color=_LINE_COLOUR, fontsize=15, y=1 - 0.12 * (1 - top))
    # Scaling to the maximum would make bone and muscle too dark to distinguish.
    white = max(float(np.percentile(array, 99.9)), 0.1)
    greys = f"planes: grey from 0 to {white:.2f}"
    shown = panels(radiograph, array, side, labels, scale)
    if half_width is not None:
        greys += "; bottom row: half-width of the 90 % interval"
        shown += uncertain_panels(half_width, side, scale)
    level, lines = 1 - 0.55 * (1 - top), f"{caption}\n{greys}"
    figure.text(0.5, level, lines, color="white", fontsize=11, ha="center", va="center")
    for axes, panel in zip(grid.flat, shown, strict=True):
        draw_panel(axes, panel, 1.0 if panel.title == "radiograph" else white)
    draw_key(figure, shown)
    if half_width is not None:
        _draw_colour_bar(grid[-1, -1], white)
    return figure


def draw_key(figure: Figure, shown: Iterable[Panel]) -> None:
    """Names the outlined structures of these panels in the lowest KEY_INCHES of the figure."""
    rows = {row["code"]: row for panel in shown for row in _structures(panel)}
    if rows:
        handles = [
            Line2D([], [], color=_colour(row), linewidth=2, label=row["name"].replace("_", " "))
            for _, row in sorted(rows.items())
        ]
        figure.legend(
            handles=handles, loc="lower center", ncols=5, frameon=False, labelcolor="white",
            fontsize=10,
        )  # fmt: skip


def _structures(panel: Panel) -> list[dict[str, Any]]:
    """Code, name and colour of the structures outlined in a panel."""
    if panel.labels is None:
        return []
    codes = np.unique(panel.labels)
    return [row for row in table() if row["code"] in codes]


def _colour(row: dict[str, Any]) -> str:
    return f"#{bytes(row['colour']).hex()}"


def _draw_colour_bar(axes: Axes, white: float) -> None:
    """The colours of a panel's values from 0 to `white` and above, at its right."""
    bar = axes.inset_axes((1.02, 0.0, 0.03, 1.0))
    axes.figure.colorbar(axes.images[0], cax=bar, ticks=[0, white / 2, white])
    bar.set_yticklabels(["0", f"{white / 2:.2f}", f"≥ {white:.2f}"])
    bar.tick_params(colors="white", labelsize=9)


def _plane(array: np.ndarray, axis: int, offset_mm: float) -> np.ndarray:
    """The plane at `offset_mm` from the box's middle, interpolated between its two neighbours."""
    size = array.shape[axis]
    position = (size - 1) / 2 + offset_mm * size / BOX_MM[axis]
    position = min(max(position, 0.0), size - 1.0)
    first = int(position)
    second = min(first + 1, size - 1)
    share = position - first
    return (1 - share) * array.take(first, axis) + share * array.take(second, axis)


def _nearest(labels: np.ndarray | None, axis: int, offset_mm: float) -> np.ndarray | None:
    """The plane of a label map nearest to `offset_mm` from the box's middle."""
    if labels is None:
        return None
    size = labels.shape[axis]
    position = round((size - 1) / 2 + offset_mm * size / BOX_MM[axis])
    return labels.take(min(max(position, 0), size - 1), axis)


def draw_panel(axes: Axes, panel: Panel, white: float) -> None:
    """Draws one panel; the value `white` is shown as white."""
    high, wide = panel.size_mm
    extent = (-wide / 2, wide / 2, high / 2, -high / 2)
    axes.imshow(
        panel.pixels, cmap=panel.colours, vmin=0, vmax=white, extent=extent, aspect="equal",
        interpolation="bilinear",
    )  # fmt: skip
    if panel.labels is not None:
        along, across = (
            size * ((np.arange(n) + 0.5) / n - 0.5)
            for n, size in zip(panel.labels.shape, panel.size_mm, strict=True)
        )
        for row in _structures(panel):
            axes.contour(
                across, along, panel.labels == row["code"], levels=[0.5],
                colors=[_colour(row)], linewidths=0.9,
            )  # fmt: skip
    axes.set_axis_off()
    # An explicit y avoids Matplotlib's search for a free position.
    axes.set_title(panel.title, color="white", fontsize=11, pad=4, y=1.0)
    left, right, top, bottom = panel.letters
    edges = (
        (left, 0.02, 0.5, "left", "center"),
        (right, 0.98, 0.5, "right", "center"),
        (top, 0.5, 0.98, "center", "top"),
        (bottom, 0.5, 0.02, "center", "bottom"),
    )
    for letter, x, y, across, along in edges:
        axes.text(
            x, y, letter, transform=axes.transAxes, ha=across, va=along,
            color=_LINE_COLOUR, fontsize=13, fontweight="bold", path_effects=_OUTLINE,
        )  # fmt: skip
    for column in panel.marks_mm:
        axes.axvline(column, color=_LINE_COLOUR, linewidth=0.6, linestyle=(0, (4, 6)), alpha=0.7)
    _draw_scale_bar(axes, high, wide)


def _draw_scale_bar(axes: Axes, high: float, wide: float) -> None:
    start, level = -wide / 2 + 0.05 * wide, high / 2 - 0.05 * high
    axes.plot(
        [start, start + SCALE_BAR_MM], [level, level], color="white", linewidth=2.5,
        solid_capstyle="butt", path_effects=_OUTLINE,
    )  # fmt: skip
    axes.text(
        start + SCALE_BAR_MM / 2, level - 0.015 * high, f"{SCALE_BAR_MM} mm", color="white",
        fontsize=8, ha="center", va="bottom", path_effects=_OUTLINE,
    )  # fmt: skip
