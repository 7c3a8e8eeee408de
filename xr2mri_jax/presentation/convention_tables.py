"""Tables of the metrics of other conventions, for the report of an evaluation."""

import html
from collections.abc import Mapping
from typing import Any

from xr2mri_jax.presentation.sources import LABELS, MODEL


def tables(conventions: Mapping[str, Any]) -> str:
    """One table a convention: HTML from the part `conventions` of metrics.json."""
    return "".join(_table(name, found) for name, found in conventions.items())


def _table(name: str, found: Mapping[str, Any]) -> str:
    metrics = list(found[MODEL])
    heads = "".join(f'<th scope="col">{html.escape(m)}</th>' for m in ("prediction", *metrics))
    rows = "".join(
        f'<tr><th scope="row">{html.escape(LABELS[source])}</th>'
        + "".join(_cell(values[metric]) for metric in metrics)
        + "</tr>"
        for source, values in {MODEL: found[MODEL], **found["controls"]}.items()
    )
    caption = html.escape(f"{name}: {found['about']}; {found['mask']}.")
    return (
        f'<div class="wide" tabindex="0"><table><caption>{caption}</caption>'
        f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _cell(one: Mapping[str, Any]) -> str:
    digits = 2 if abs(one["mean"]) >= 2 else 4
    ends = "" if one["ci95"] is None else " to ".join(f"{v:.{digits}f}" for v in one["ci95"])
    return f"<td>{one['mean']:.{digits}f}<small>{ends}</small></td>"
