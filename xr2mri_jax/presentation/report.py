"""The report of an evaluation: one self-contained HTML file."""

import base64
import dataclasses
import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xr2mri_jax import files
from xr2mri_jax.presentation import convention_tables
from xr2mri_jax.presentation.sources import LABELS, MODEL

METRIC_NAMES = {"psnr": "PSNR (dB)", "ssim3d": "3D SSIM", "ssim": "SSIM", "mae": "MAE"}
LOWER_IS_BETTER = ("mae",)
MEANINGS = {
    "mean_volume": "The mean of all training volumes, the same for every knee. It uses no "
    "radiograph: its score shows what all knees have in common.",
    "nearest_neighbour": "The MRI of the training knee with the most similar radiograph. A model "
    "that is not better than this is no better than looking up training cases.",
    "shuffled_xray": "The same model with another subject's radiograph. The difference to the "
    "model shows what the knee's own radiograph contributes; no difference means that the model "
    "ignores its input.",
    "mean_radiograph": "The mean of all training radiographs, the same for every knee.",
    "pca": "Principal component analysis, a linear method, with the same number of hidden "
    "variables, if there are enough training radiographs.",
}
STATEMENT = "For research only, not for diagnosis."
GUESSED = (
    "A predicted volume shows what the model considers likely. It cannot show anything that the "
    "radiograph does not determine."
)
SIMULATED = (
    "These knees are simulated. The numbers show how well the method works on the simulation; "
    "they say nothing about patients."
)
STYLE = """
:root { color-scheme: light; }
body { margin: 0 auto; max-width: 62rem; padding: 1rem; font: 1rem/1.5 system-ui, sans-serif;
  color: #1c2733; background: #fff; }
h1 { font-size: 1.6rem; line-height: 1.2; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
p, li { max-width: 46rem; }
.notice { border-left: 0.3rem solid #b3541e; padding: 0.4rem 0.9rem; background: #fdf3ec; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding: 0.3rem 0; color: #465666; }
th, td { padding: 0.3rem 0.8rem 0.3rem 0; text-align: left; border-bottom: 1px solid #d5dce3;
  white-space: nowrap; vertical-align: top; }
tr.model > * { font-weight: 600; }
small { color: #465666; font-weight: 400; display: block; }
figure { margin: 1rem 0; } img { max-width: 100%; height: auto; }
figcaption { color: #465666; }
"""


@dataclasses.dataclass(frozen=True)
class Picture:
    """A figure: PNG bytes, caption, and alternative text."""

    png: bytes
    caption: str
    alternative: str


def write(
    folder: Path,
    metrics: Mapping[str, Any],
    evaluated: Mapping[str, Any],
    charts: Sequence[Picture],
    cases: Sequence[Picture],
) -> Path:
    """Writes index.html, atomically.

    Args:
      folder: the folder of the report.
      metrics: the content of metrics.json.
      evaluated: stage, step, dataset, split, ... of the evaluation.
      charts: figures over all cases.
      cases: figures of single cases.

    Returns:
      The file.
    """
    path = folder / "index.html"
    with files.atomic_path(path) as partial:
        partial.write_text(page(metrics, evaluated, charts, cases), encoding="utf-8")
    return path


def page(
    metrics: Mapping[str, Any],
    evaluated: Mapping[str, Any],
    charts: Sequence[Picture],
    cases: Sequence[Picture],
) -> str:
    """The page as text; arguments as for `write`."""
    title = f"Evaluation of {evaluated['stage']} on {evaluated['dataset']}, {evaluated['split']}"
    notices = [metrics["verdict"]["sentence"]] if "verdict" in metrics else []
    notices.append(f"{STATEMENT} {GUESSED}" if "retrieval" in metrics else STATEMENT)
    if evaluated.get("knees") == "simulated":
        notices.append(SIMULATED)
    parts = [
        section("Findings", listed(findings(metrics))),
        section("Metrics", _metric_table(metrics) + "".join(map(figure, charts))),
        section("Other conventions", convention_tables.tables(metrics["conventions"]))
        if metrics.get("conventions")
        else "",
        section("Controls", _meanings(metrics)),
        section("Single cases", "".join(map(figure, cases))) if cases else "",
        section("Groups", _group_tables(metrics)),
        section("Method", measured(metrics, evaluated)),
    ]
    return document(title, notices, parts)


def document(title: str, notices: Sequence[str], parts: Sequence[str]) -> str:
    """A complete page: heading, notices, and the HTML of its non-empty parts."""
    head = [f"<h1>{_text(title)}</h1>"]
    head += [f'<p class="notice">{_text(notice)}</p>' for notice in notices]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(part for part in (*head, *parts) if part)
        + "\n</main>\n</body>\n</html>\n"
    )


def findings(metrics: Mapping[str, Any]) -> list[str]:
    """The results in sentences, including controls that the model does not beat."""
    model = metrics[MODEL]["psnr"]
    knees = f"{metrics['n']} knees of {metrics['subjects']} subjects"
    found = [f"On {knees} the model reaches {_estimate(model, 'psnr')} dB PSNR."]
    for name, difference in metrics["differences"].items():
        gain = difference["psnr"]
        size = f"{gain['mean']:+.2f} dB{_interval(gain, 'psnr', sign=True)}"
        if gain["ci95"] is None:
            verdict = "one subject gives no interval, so this is not evidence"
        elif gain["ci95"][0] > 0:
            verdict = "the model is better"
        elif gain["ci95"][1] < 0:
            verdict = "the model is worse"
        else:
            verdict = "no difference is shown: the interval contains 0"
        found.append(f"Against {LABELS[name]}: {size}; {verdict}.")
    if "retrieval" in metrics:
        seen = metrics["retrieval"]
        found.append(
            f"The true volume is the closest of {seen['n']} to the prediction in "
            f"{seen['top1']:.0%} of the cases (guessing: {seen['chance']['top1']:.0%}); its mean "
            f"rank is {seen['mean_rank']:.1f} (guessing: {seen['chance']['mean_rank']:.1f})."
        )
    if "hidden_variables" in metrics:
        sizes = metrics["hidden_variables"]
        found.append(
            f"Hidden variables: auto-encoder {sizes[MODEL]}, PCA {sizes['pca']} ({sizes['note']})."
        )
    return found


def _metric_table(metrics: Mapping[str, Any]) -> str:
    names = list(metrics[MODEL])
    heads = "".join(
        f'<th scope="col">{METRIC_NAMES[name]}'
        f"<small>{'lower' if name in LOWER_IS_BETTER else 'higher'} is better</small></th>"
        for name in names
    )
    rows = [_row(LABELS[MODEL], metrics[MODEL], names, 'class="model"')]
    rows += [_row(LABELS[name], found, names) for name, found in metrics["controls"].items()]
    rows += [
        _row(f"model − {LABELS[name]}", found, names, sign=True)
        for name, found in metrics["differences"].items()
    ]
    caption = "Mean over the cases, below it the 95 % interval (subjects resampled)."
    return table(caption, f'<th scope="col">prediction</th>{heads}', rows)


def _group_tables(metrics: Mapping[str, Any]) -> str:
    titles = {"kl": "Kellgren-Lawrence grade", "side": "side"}
    tables = []
    for group, found in metrics["per_group"].items():
        names = list(metrics[MODEL])
        heads = "".join(f'<th scope="col">{METRIC_NAMES[name]}</th>' for name in names)
        rows = [_row(f"{label} ({part['n']} cases)", part, names) for label, part in found.items()]
        caption = f"The model by {titles[group]}."
        tables.append(table(caption, f'<th scope="col">{titles[group]}</th>{heads}', rows))
    return "".join(tables)


def table(caption: str, heads: str, rows: Sequence[str]) -> str:
    """A table from its caption, the HTML of its heads and its rows."""
    return (
        f'<div class="wide" tabindex="0"><table><caption>{_text(caption)}</caption>'
        f"<thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _row(
    label: str,
    found: Mapping[str, Any],
    names: Sequence[str],
    attribute: str = "",
    sign: bool = False,
) -> str:
    cells = "".join(
        f"<td>{_number(found[name]['mean'], name, sign)}"
        f"<small>{_interval(found[name], name, sign).strip() or 'one subject'}</small></td>"
        for name in names
    )
    return f'<tr {attribute}><th scope="row">{_text(label)}</th>{cells}</tr>'


def _meanings(metrics: Mapping[str, Any]) -> str:
    items = "".join(
        f"<dt><strong>{_text(LABELS[name])}</strong></dt><dd>{_text(MEANINGS[name])}</dd>"
        for name in metrics["controls"]
    )
    return f"<dl>{items}</dl>"


def measured(metrics: Mapping[str, Any], evaluated: Mapping[str, Any]) -> str:
    """The evaluated run and the conventions of the metrics, as lists."""
    return listed([f"{key}: {value}" for key, value in evaluated.items()]) + listed(
        _flat(metrics["convention"])
    )


def _flat(content: Mapping[str, Any], prefix: str = "") -> list[str]:
    lines: list[str] = []
    for key, value in content.items():
        name = f"{prefix}{key}"
        lines += _flat(value, f"{name} / ") if isinstance(value, Mapping) else [f"{name}: {value}"]
    return lines


def section(title: str, content: str) -> str:
    """One section of a page: its heading and its HTML content."""
    return f"<section><h2>{_text(title)}</h2>{content}</section>"


def listed(lines: Sequence[str]) -> str:
    """Lines of text as a list."""
    return f"<ul>{''.join(f'<li>{_text(line)}</li>' for line in lines)}</ul>"


def figure(shown: Picture) -> str:
    """A picture, embedded in the page."""
    data = base64.b64encode(shown.png).decode("ascii")
    return (
        f'<figure><img src="data:image/png;base64,{data}" alt="{_text(shown.alternative)}">'
        f"<figcaption>{_text(shown.caption)}</figcaption></figure>"
    )


def _estimate(found: Mapping[str, Any], name: str) -> str:
    return _number(found["mean"], name) + _interval(found, name)


def _interval(found: Mapping[str, Any], name: str, sign: bool = False) -> str:
    if found["ci95"] is None:
        return ""
    low, high = (_number(value, name, sign) for value in found["ci95"])
    return f" ({low} to {high})"


def _number(value: float, name: str, sign: bool = False) -> str:
    digits = {"psnr": 2, "mae": 4}.get(name, 3)
    return f"{value:{'+' if sign else ''}.{digits}f}"


def _text(value: Any) -> str:
    return html.escape(str(value))
