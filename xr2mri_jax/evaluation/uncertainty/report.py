"""The coverage of a generator's intervals for the report: tables, figures and sentences."""

from collections.abc import Mapping
from typing import Any

from xr2mri_jax.metrics.intervals import LEVEL
from xr2mri_jax.presentation import figures
from xr2mri_jax.presentation.page_elements import (
    Paragraph,
    Part,
    Picture,
    Row,
    Table,
    Terms,
    share,
)

_KINDS = {
    "intensity": ("Intensities", "mean half-width (0 to 1)"),
    "surface": ("Positions of surfaces", "mean half-width (mm)"),
    "quantity": ("Cartilage thickness and joint space", "half-width (mm)"),
}


def parts(found: Mapping[str, Any] | None) -> list[Part]:
    """Tables of the coverage and reliability diagrams of the labels' probabilities; [] for None.

    Args:
      found: from `measure.Coverage.summary`.
    """
    if found is None:
        return []
    made: list[Part] = [Paragraph(_knees(found))]
    for kind, (title, unit) in _KINDS.items():
        rows = [
            Row(name.replace("_", " "), [share(one["coverage"], 1), f"{one['half_width']:.3f}"])
            for name, one in found[kind].items()
        ]
        if rows:
            caption = f"{title}: coverage of the true values by the {LEVEL:.0%} intervals."
            made.append(Table(caption, ["", "coverage", unit], rows))
    for name, one in found["labels"].items():
        error = one["calibration_error"]
        text = f"{name}: predicted probability and observed frequency"
        below = f"{text}; expected calibration error {error:.3f}."
        picture = figures.reliability(one["bins"], "observed frequency")
        made.append(Picture(picture, f"{below[0].upper()}{below[1:]}", f"Reliability of {text}"))
    terms = [
        (str(name), f"{text:.0%}" if name == "level" else str(text))
        for name, text in found["convention"].items()
        if name == "level" or found[name]
    ]
    return [*made, Terms(terms)]


def findings(found: Mapping[str, Any] | None) -> list[str]:
    """The coverage in sentences; [] for None."""
    if found is None:
        return []
    lines = []
    for kind, word in (("intensity", "intensities"), ("surface", "surfaces")):
        shares = ", ".join(
            f"{name.replace('_', ' ')} {one['coverage']['mean']:.0%}"
            for name, one in found[kind].items()
        )
        if shares:
            lines.append(f"Coverage of the {LEVEL:.0%} intervals of {word}: {shares}.")
    return [*lines, _knees(found)] if lines else []


def _knees(found: Mapping[str, Any]) -> str:
    """On which knees the intervals were fitted, and on which their coverage was measured."""
    fitted = found["fitted_split"]
    where = "an unknown split" if fitted is None else "{dataset}, split {split}".format(**fitted)
    return (
        f"The intervals were fitted on {found['fitted_on']} knees of {where}; their coverage was "
        f"measured on {found['knees']} of {found['knees_of_split']} knees of the evaluated split."
    )
