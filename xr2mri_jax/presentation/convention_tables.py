"""Tables of the metrics of other conventions, for the report of an evaluation."""

from collections.abc import Mapping
from typing import Any

from xr2mri_jax.presentation.model_and_controls import LABELS, MODEL
from xr2mri_jax.presentation.page_elements import Cell, Row, Table


def tables(conventions: Mapping[str, Any]) -> list[Table]:
    """One table per convention, from the part `conventions` of metrics.json."""
    return [_table(name, found) for name, found in conventions.items()]


def _table(name: str, found: Mapping[str, Any]) -> Table:
    metrics = list(found[MODEL])
    rows = [
        Row(LABELS[source], [_cell(values[metric]) for metric in metrics])
        for source, values in {MODEL: found[MODEL], **found["controls"]}.items()
    ]
    return Table(f"{name}: {found['about']}; {found['mask']}.", ["prediction", *metrics], rows)


def _cell(one: Mapping[str, Any]) -> Cell:
    digits = 2 if abs(one["mean"]) >= 2 else 4
    ends = "" if one["ci95"] is None else " to ".join(f"{v:.{digits}f}" for v in one["ci95"])
    return Cell(f"{one['mean']:.{digits}f}", ends)
