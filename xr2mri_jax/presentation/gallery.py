"""A picture with one row per case: radiograph, coronal and sagittal planes with outlines."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from xr2mri_jax.presentation.picture import KEY_INCHES, Panel, draw_key, draw_panel, panels

_SHOWN = ("radiograph", "coronal", "sagittal, medial compartment", "sagittal, lateral compartment")
_DPI = 80
_TITLE_INCHES = 0.3  # above the first row


class Case(NamedTuple):
    """One row.

    Attributes:
      title: description of the case and its source.
      radiograph: f32[h, w] in [0, 1], the patient's right at the image's left (no mirroring).
      volume: f32[d, h, w] in [0, 1] over the canonical box, same frame (no mirroring).
      labels: u8[d, h, w] in the same frame, or None.
      side: "left" or "right".
      scale: mm in the patient per mm of the box.
    """

    title: str
    radiograph: np.ndarray
    volume: np.ndarray
    labels: np.ndarray | None
    side: str = "right"
    scale: float = 1.0


def draw(cases: Sequence[Case]) -> Figure:
    """Draws one row per case, and below them the key of the structures that are outlined.

    Raises:
      ValueError: there are no cases.
    """
    if not cases:
        raise ValueError("found no cases, expected at least one")
    key = KEY_INCHES if any(case.labels is not None for case in cases) else 0.0
    figure = Figure(figsize=(12.0, 3.3 * len(cases) + key), facecolor="black", dpi=_DPI)
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(cases), len(_SHOWN), squeeze=False)
    top = 1 - _TITLE_INCHES / figure.get_figheight()
    bottom = 0.01 + key / figure.get_figheight()
    figure.subplots_adjust(left=0.01, right=0.99, top=top, bottom=bottom, wspace=0.03, hspace=0.14)
    drawn: list[Panel] = []
    for row, case in zip(grid, cases, strict=True):
        white = max(float(np.percentile(case.volume, 99.9)), 0.1)
        made = panels(case.radiograph, case.volume, case.side, case.labels, case.scale)
        by_title = {panel.title: panel for panel in made}
        for axes, name in zip(row, _SHOWN, strict=True):
            panel = by_title[name]
            if name == "radiograph":
                panel = panel._replace(title=case.title)
            draw_panel(axes, panel, 1.0 if name == "radiograph" else white)
            drawn.append(panel)
    draw_key(figure, drawn)
    return figure
