"""Writes the knees of real pairs for the page's viewer: true and predicted labels, worst first."""

from pathlib import Path

import numpy as np

from xr2mri_jax.evaluation.real_pairs.measure import Measured
from xr2mri_jax.evaluation.real_pairs.protocol import BONES, OPEN
from xr2mri_jax.evaluation.viewer_cases import MOST_CASES, label_case, spread
from xr2mri_jax.presentation import pages
from xr2mri_jax.presentation.model_and_controls import MODEL
from xr2mri_jax.presentation.page_elements import Viewer


def write(folder: Path, found: Measured, most: int = MOST_CASES) -> Viewer:
    """Writes the data of the knees, the one with the largest open ASSD first.

    Args:
      folder: the report's folder.
      found: all measurements.
      most: maximum number of knees.
    """
    scored = found.values[OPEN][MODEL]
    assd = np.mean([scored[bone]["similarity"]["assd"] for bone in BONES], axis=0)
    order = [int(i) for i in np.argsort(-assd, kind="stable")]
    shown = {}
    for i in spread(order, most):
        pair = found.pairs[i]
        title = f"{pair.name}, {OPEN} ASSD {assd[i]:.2f} mm after similarity alignment"
        facts = {
            f"{bone} ASSD (mm), {OPEN}, {alignment}": f"{values['assd'][i]:.2f}"
            for bone in BONES
            for alignment, values in scored[bone].items()
        }
        case = label_case(
            f"case-{i}",
            title,
            found.predicted[i].labels.array,
            found.true[i].labels.array,
            facts,
            pair.side,
        )
        shown[i] = pages.write_case(folder, case)
    marks = {"Worst": order[0], "Median": order[len(order) // 2], "Best": order[-1]}
    buttons = [
        (f"{text}, {OPEN} ASSD {assd[i]:.2f} mm", shown[i].name) for text, i in marks.items()
    ]
    return Viewer(list(shown.values()), buttons)
