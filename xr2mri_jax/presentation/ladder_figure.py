"""The figure of the information ladder in the layout of a paper: SVG and PNG."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

WIDTH, HEIGHT, DPI = 7.2, 6.2, 200
DARK, ORANGE, GREY = "#0b6e99", "#c8692b", "#6b7785"
_FONT: dict[Any, Any] = {
    "font.size": 8,
    "axes.titlesize": 9,
    "svg.fonttype": "none",
    "svg.hashsalt": "ladder",
}


def figure(content: Mapping[str, Any]) -> dict[str, bytes]:
    """The figure by file ending, "svg" and "png".

    Args:
      content: content of ladder.json: evaluated, explained, bands, curve, runs, knees, n, subjects,
        training_cases.
    """
    with matplotlib.rc_context(_FONT):
        made = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
        FigureCanvasAgg(made)
        axes = made.subplots(2, 2, width_ratios=(1, 1.15))
        _structures(axes[0, 0], content["explained"])
        _controls(axes[0, 1], content["explained"])
        _bands(axes[1, 0], content["bands"])
        _curve(axes[1, 1], content)
        for letter, one in zip("abcd", axes.ravel(), strict=True):
            one.set_title(f"{letter}  {one.get_title()}", loc="left", fontweight="bold")
            one.set_title("", loc="center")
        made.suptitle(_caption(content), fontsize=8, color=GREY)
        return {"svg": _saved(made, "svg"), "png": _saved(made, "png")}


def _caption(content: Mapping[str, Any]) -> str:
    kind = {"simulated": "simulated knees", "real": "real knees"}.get(content["knees"], "knees")
    return (
        f"{content['n']} {kind} of {content['subjects']} subjects, split "
        f"{content['evaluated']['split']}; explained share of the MRI's variance around the mean "
        "knee; bars: 95 % intervals"
    )


def _structures(axes: Axes, explained: Mapping[str, Any]) -> None:
    own, linear = explained["own radiograph"], explained["linear regression"]
    names = [name for name in own if own[name] is not None]
    axes.set_title("By structure")
    for shift, found, colour, label in (
        (-0.13, own, DARK, "generator"),
        (0.13, linear, ORANGE, "linear regression"),
    ):
        _points(axes, np.arange(len(names)) + shift, [found[n] for n in names], colour, label)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xticks(range(len(names)), [name.replace(" ", "\n") for name in names], fontsize=7)
    axes.set_ylabel("share of variance explained")
    axes.set_ylim(top=1)
    axes.legend(frameon=False, loc="upper right")
    axes.spines[["top", "right"]].set_visible(False)


def _controls(axes: Axes, explained: Mapping[str, Any]) -> None:
    rows = [name for name in explained if name != "linear regression"]
    columns = list(explained[rows[0]])
    values = np.array([[_value(explained[row][name]) for name in columns] for row in rows])
    axes.set_title("By modified radiograph, generator")
    _table(axes, values, rows, columns)


def _bands(axes: Axes, bands: Mapping[str, Any]) -> None:
    own = bands["own radiograph"]
    rows = [name for name in own if own[name]]
    columns = list(own[rows[0]])
    values = np.array([[_value(own[row][name]) for name in columns] for row in rows])
    axes.set_title("By wavelength, generator")
    _table(axes, values, rows, [_wavelengths(name) for name in columns])


def _wavelengths(band: str) -> str:
    return band.replace("> ", ">").replace("< ", "<").replace("-", "\u2013")


def _table(axes: Axes, values: np.ndarray, rows: Sequence[str], columns: Sequence[str]) -> None:
    axes.imshow(values, cmap="RdBu", vmin=-1, vmax=1, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        text = "" if np.isnan(value) else f"{value:.2f}".replace("-", "\u2212")
        axes.text(
            column, row, text, ha="center", va="center", fontsize=7,
            color="white" if abs(value) > 0.6 else "black",
        )  # fmt: skip
    names = [name.replace(" ", "\n", 1) for name in columns]
    axes.set_xticks(range(len(columns)), names, fontsize=7)
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _curve(axes: Axes, content: Mapping[str, Any]) -> None:
    axes.set_title("By training set size")
    linear = [(int(count), found) for count, found in content["curve"].items()]
    # Lists: several runs may have training splits of one size.
    own = [(content["training_cases"], content["explained"]["own radiograph"]["whole field"])]
    own += [(run["training_cases"], run["whole field"]) for run in content["runs"]]
    for found, colour, label in (
        (own, DARK, "generator"),
        (linear, ORANGE, "linear regression"),
    ):
        found.sort(key=lambda point: point[0])
        sizes, shares = zip(*found, strict=True)
        _points(axes, sizes, shares, colour, label, joined=True)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xscale("log")
    ticks = sorted({size for size, _ in (*own, *linear)})
    axes.set_xticks(ticks, [str(size) for size in ticks])
    axes.minorticks_off()
    axes.set_xlabel("training knees")
    axes.set_ylabel("share explained, whole field")
    axes.legend(frameon=False, loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)


def _points(
    axes: Axes, across: Any, found: Sequence[Any], colour: str, label: str, joined: bool = False
) -> None:
    means = np.array([_value(one) for one in found])
    ends = np.array([_ends(one) for one in found]).T
    axes.errorbar(
        across, means, yerr=np.abs(ends - means), color=colour, label=label, marker="o",
        markersize=4, linestyle="-" if joined else "", linewidth=1, capsize=2,
    )  # fmt: skip


def _value(one: Mapping[str, Any] | None) -> float:
    return float("nan") if one is None else float(one["explained"])


def _ends(one: Mapping[str, Any] | None) -> list[float]:
    if one is None or one["ci95"] is None:
        return [_value(one)] * 2
    return list(one["ci95"])


def _saved(made: Figure, form: str) -> bytes:
    stream = io.BytesIO()
    metadata = {"Date": None} if form == "svg" else {"Software": None}
    made.savefig(stream, format=form, dpi=DPI, facecolor="white", metadata=metadata)
    return stream.getvalue()
