"""The report's figures: charts as SVG, images of single cases as PNG."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from xr2mri_jax.presentation import picture
from xr2mri_jax.presentation.model_and_controls import LABELS, MODEL

UNITS = {
    "psnr": "PSNR in dB (higher is better)",
    "ssim3d": "3D SSIM (higher is better)",
    "ssim": "SSIM (higher is better)",
    "mae": "mean absolute error (lower is better)",
}
COLOURS = {MODEL: "#0b6e99"}
OTHER_COLOUR = "#a8b2bd"
DIFFERENCE_RANGE = 0.3
BRIGHT_PERCENTILE = 99.5
# Planes of a case, by their place in `picture.panels`: coronal, axial, both compartments.
_PLANES = (1, 2, 3, 5)
_DPI = 110


def bars(sources: Mapping[str, Mapping[str, Any]]) -> bytes:
    """One panel per metric, with one bar per source and its 95 % interval.

    Args:
      sources: estimates by source ("model" and the controls) and metric.
    """
    names = list(sources)
    metrics = list(sources[MODEL])
    figure = _figure((10.5, 0.6 + 0.42 * len(names)))
    for axes, metric in zip(figure.subplots(1, len(metrics), sharey=True), metrics, strict=True):
        for row, name in enumerate(names):
            _bar(axes, row, sources[name][metric], COLOURS.get(name, OTHER_COLOUR))
        axes.set_yticks(range(len(names)), [LABELS[name] for name in names])
        axes.set_xlabel(UNITS[metric])
        axes.margins(x=0.3)
        axes.set_xlim(left=0)
        axes.spines[["top", "right"]].set_visible(False)
    # The panels share the axis, so inverting it once puts the model on top in all.
    figure.axes[0].invert_yaxis()
    return svg(figure)


def ranks(rank: Sequence[int]) -> bytes:
    """Histogram of the rank of the own knee, with the expectation for random guessing."""
    count = len(rank)
    figure = _figure((10.5, 2.6))
    axes = figure.subplots()
    width = -(-count // 40)
    edges = np.minimum(np.arange(0.5, count + 0.5 + width, width), count + 0.5)
    axes.hist(rank, bins=edges.tolist(), color=COLOURS[MODEL], label="the model")
    # Random guessing gives every rank once, on average.
    axes.stairs(np.diff(edges), edges, color="black", linestyle="--", label="random guessing")
    axes.set_xlabel("rank of the own knee among all (1 is best)")
    axes.set_ylabel("cases")
    axes.set_xlim(0.5, count + 0.5)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=2)  # above the bars
    axes.spines[["top", "right"]].set_visible(False)
    return svg(figure)


def reliability(
    bins: Mapping[str, Sequence[float]], observed: str = "observed fraction of positives"
) -> bytes:
    """Observed frequency of the positive class against predicted probability, per bin.

    Args:
      bins: count, probability and frequency from `metrics.calibration.reliability`.
      observed: label of the frequency axis.
    """
    figure = _figure((4.8, 4.4))
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="black", linestyle="--", linewidth=1)
    used = [i for i, count in enumerate(bins["count"]) if count]
    across, up = ([bins[name][i] for i in used] for name in ("probability", "frequency"))
    axes.plot(across, up, color=COLOURS[MODEL], marker="o")
    for i, x, y in zip(used, across, up, strict=True):
        axes.annotate(
            f"{bins['count'][i]:.0f}", (x, y), (4, -10), textcoords="offset points", fontsize=8
        )
    axes.set_xlabel("predicted probability")
    axes.set_ylabel(observed)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.spines[["top", "right"]].set_visible(False)
    return svg(figure)


def volume_case(
    xray: np.ndarray, true: np.ndarray, predicted: np.ndarray, word: str = "true"
) -> bytes:
    """One case: radiograph, then true planes, predicted planes, absolute difference.

    Args:
      xray: f32[h, w] in [0, 1].
      true: f32[d, h, w] in [0, 1], 0 outside the acquired field.
      predicted: f32[d, h, w] in [0, 1].
      word: adjective of the true volume: real, simulated or true.
    """
    rows = {word: true, "predicted": predicted, "difference": np.abs(predicted - true)}
    bright = max(float(np.percentile(true, BRIGHT_PERCENTILE)), 0.1)
    figure = _figure((11.0, 6.9), facecolor="black")
    grid = figure.subplots(3, len(_PLANES) + 1)
    for axes in grid[:, 0]:
        axes.set_axis_off()
    _show(grid[0, 0], picture.panels(xray, true, "right")[0], "radiograph", 1.0)
    for row, (name, volume) in enumerate(rows.items()):
        panels = picture.panels(xray, volume, "right")
        for axes, plane in zip(grid[row, 1:], _PLANES, strict=True):
            title = panels[plane].title.replace("sagittal, ", "") if row == 0 else ""
            if name == "difference":
                _show(axes, panels[plane], title, DIFFERENCE_RANGE, "magma")
            else:
                _show(axes, panels[plane], title, bright)
        grid[row, 1].text(
            -0.06, 0.5, name, transform=grid[row, 1].transAxes, color="white", rotation=90,
            ha="center", va="center", fontsize=11,
        )  # fmt: skip
    return _png(figure)


def radiograph_case(images: Mapping[str, np.ndarray]) -> bytes:
    """One radiograph and its reconstructions.

    Args:
      images: f32[h, w] in [0, 1] by title.
    """
    figure = _figure((2.7 * len(images), 3.0), facecolor="black")
    for axes, (title, pixels) in zip(figure.subplots(1, len(images)), images.items(), strict=True):
        axes.imshow(pixels, cmap="gray", vmin=0, vmax=1, aspect="equal")
        axes.set_axis_off()
        axes.set_title(title, color="white", fontsize=11)
    return _png(figure)


def _figure(size: tuple[float, float], facecolor: str = "white") -> Figure:
    figure = Figure(figsize=size, facecolor=facecolor, dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _bar(axes: Axes, row: int, found: Mapping[str, Any], colour: str) -> None:
    mean = found["mean"]
    axes.barh(row, mean, color=colour, height=0.7)
    end = mean
    if found["ci95"] is not None:
        low, high = found["ci95"]
        axes.plot([low, high], [row, row], color="black", linewidth=1.6)
        axes.plot([low, high], [row, row], color="black", marker="|", linestyle="", markersize=7)
        end = max(mean, high)
    text = f"{mean:.2f}" if abs(mean) >= 1 else f"{mean:.3f}"
    # The distance is an offset: SVG viewers drop a leading space.
    axes.annotate(text, (end, row), (6, 0), textcoords="offset points", va="center", fontsize=9)


def _show(axes: Axes, panel: picture.Panel, title: str, top: float, colours: str = "gray") -> None:
    high, wide = panel.size_mm
    axes.imshow(
        panel.pixels, cmap=colours, vmin=0, vmax=top,
        extent=(0, wide, high, 0), aspect="equal", interpolation="bilinear",
    )  # fmt: skip
    axes.set_axis_off()
    axes.set_title(title, color="white", fontsize=11)


def _png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", facecolor=figure.get_facecolor())
    return stream.getvalue()


def svg(figure: Figure) -> bytes:
    """A chart as SVG with text elements; the same figure always gives the same bytes."""
    stream = io.BytesIO()
    with rc_context(
        {"svg.fonttype": "none", "svg.hashsalt": "xr2mri", "font.family": "sans-serif"}
    ):
        figure.savefig(
            stream, format="svg", facecolor=figure.get_facecolor(), metadata={"Date": None}
        )
    return stream.getvalue()
