"""A picture with one row per case: radiograph, coronal and sagittal planes with outlines."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from xr2mri_jax.presentation.picture import draw_panel, panels

_SHOWN = ("radiograph", "coronal", "sagittal, medial compartment", "sagittal, lateral compartment")
_DPI = 80


class Case(NamedTuple):
    """One row.

    Attributes:
      title: description of the case and its source.
      radiograph: f32[h, w] in [0, 1], a right knee.
      volume: f32[d, h, w] in [0, 1] over the canonical box.
      labels: u8[d, h, w], or None.
      scale: mm in the patient per mm of the box.
    """

    title: str
    radiograph: np.ndarray
    volume: np.ndarray
    labels: np.ndarray | None
    scale: float = 1.0


def draw(cases: Sequence[Case]) -> Figure:
    """Draws one row per case; raises ValueError without any."""
    if not cases:
        raise ValueError("found no cases, expected at least one")
    figure = Figure(figsize=(12.0, 3.3 * len(cases)), facecolor="black", dpi=_DPI)
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(cases), len(_SHOWN), squeeze=False)
    figure.subplots_adjust(left=0.01, right=0.99, top=0.99, bottom=0.01, wspace=0.03, hspace=0.14)
    for row, case in zip(grid, cases, strict=True):
        white = max(float(np.percentile(case.volume, 99.9)), 0.1)
        made = panels(case.radiograph, case.volume, "right", case.labels, case.scale)
        by_title = {panel.title: panel for panel in made}
        for axes, name in zip(row, _SHOWN, strict=True):
            panel = by_title[name]
            if name == "radiograph":
                panel = panel._replace(title=case.title)
            draw_panel(axes, panel, 1.0 if name == "radiograph" else white)
    return figure
