"""The report of real pairs: one HTML file with tables, pictures of every case and conventions."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xr2mri_jax.evaluation.real_pairs.compare import ALIGNMENTS
from xr2mri_jax.evaluation.real_pairs.joint import space_key
from xr2mri_jax.evaluation.real_pairs.knee import BONES, FULL
from xr2mri_jax.evaluation.real_pairs.measure import CONTROLS, MEAN, MEAN_SCALED, Measured
from xr2mri_jax.geometry import Volume
from xr2mri_jax.io import read_radiograph
from xr2mri_jax.metrics.joint import COMPARTMENTS
from xr2mri_jax.metrics.occupancy import resampled
from xr2mri_jax.presentation import figures, label_figures, report
from xr2mri_jax.presentation.report import Picture
from xr2mri_jax.presentation.sources import LABELS, MODEL

TITLE = "Evaluation on real pairs of radiograph and segmented MRI"
NOTICE = (
    "The radiographs were taken standing with bent knees, the MRI lying: poses differ, and a "
    "radiograph without pixel spacing tells no size. Shapes are therefore compared after rigid and "
    "similarity alignment of each bone too."
)
_SHOWN = ("dice", "assd", "hd95", "nsd")
_NAMES = {"dice": "Dice", "assd": "ASSD (mm)", "hd95": "HD95 (mm)", "hd": "HD (mm)",
          "nsd": "NSD", "dsc": "DSC"}  # fmt: skip


def page(content: Mapping[str, Any], evaluated: Mapping[str, Any], found: Measured) -> str:
    """The page as text.

    Args:
      content: of real_pairs.json.
      evaluated: what was evaluated.
      found: for the pictures.
    """
    parts = [
        report.section("What was found", report.listed(findings(content))),
        report.section("Bones", "".join(_bone_table(content, bone) for bone in BONES)),
        report.section("Model against controls", _improvements(content)),
        report.section("What the controls are", report.listed(_meanings())),
        report.section("Joint space and cartilage", _joint(content, found)),
        report.section("Retrieval", _retrieval(found)),
        report.section("As SSR-KD reports", _cut_table(content)),
        report.section("Single cases", "".join(map(report.figure, _cases(found)))),
        report.section("How it was measured", report.measured(content, evaluated)),
    ]
    notices = [f"{report.STATEMENT} {report.GUESSED}", NOTICE]
    return report.document(TITLE, notices, parts)


def findings(content: Mapping[str, Any]) -> list[str]:
    """What the numbers say, in sentences."""
    lines = [f"{content['n']} knees of {content['subjects']} subjects."]
    for bone in BONES:
        values = [f"{content[bone][a]['assd']:.2f} mm {a}" for a in ALIGNMENTS]
        lines.append(
            f"{bone.capitalize()}: ASSD {', '.join(values)}; Dice "
            f"{content[bone]['centred']['dice']:.3f} centred."
        )
        for control, alignment in ((MEAN, "similarity"), (MEAN_SCALED, "rigid")):
            gain = content["improvement"][control][bone][alignment]["assd"]
            lines.append(
                f"{bone.capitalize()}, {alignment}, against {LABELS[control]}: ASSD better by "
                f"{gain['mean']:+.2f} mm{_interval(gain['ci95'], '+.2f')}; {_verdict(gain)}."
            )
    seen = content["retrieval"]
    lines.append(
        f"The own knee is the nearest of {seen['n']} in {seen['top1']:.0%} of the cases (guessing: "
        f"{seen['chance']['top1']:.0%}); its mean rank is {seen['mean_rank']:.1f} (guessing: "
        f"{seen['chance']['mean_rank']:.1f})."
    )
    for name, space in content["joint_space"].items():
        r = "not defined" if space["r"] is None else f"{space['r']:.2f}"
        lines.append(
            f"{name.capitalize()} joint space: correlation {r}, mean error "
            f"{space['mae_mm']:.2f} mm (of the others' mean: {space['mae_of_mean_mm']:.2f} mm)."
        )
    return lines


def _verdict(gain: Mapping[str, Any]) -> str:
    if gain["ci95"] is None:
        return "one subject gives no interval, so this proves nothing"
    if gain["ci95"][0] > 0:
        return "the model is better"
    if gain["ci95"][1] < 0:
        return "the model is worse"
    return "no difference is shown: the interval holds 0"


def _interval(ends: Sequence[float] | None, form: str) -> str:
    return "" if ends is None else f" ({ends[0]:{form}} to {ends[1]:{form}})"


def _bone_table(content: Mapping[str, Any], bone: str) -> str:
    heads = '<th scope="col">shape</th>' + "".join(
        f'<th scope="col">{_NAMES[metric]}<small>{alignment}</small></th>'
        for alignment in ALIGNMENTS
        for metric in _SHOWN
    )
    rows = []
    for source in (MODEL, *CONTROLS):
        own = content if source == MODEL else content["controls"][source]
        ends = content["intervals"] if source == MODEL else content["intervals"]["controls"][source]
        cells = "".join(
            f"<td>{_number(own[bone][a][m], m)}"
            f"<small>{_interval(ends[bone][a][m], _form(m)).strip()}</small></td>"
            for a in ALIGNMENTS
            for m in _SHOWN
        )
        mark = ' class="model"' if source == MODEL else ""
        rows.append(f'<tr{mark}><th scope="row">{_text(LABELS[source])}</th>{cells}</tr>')
    caption = f"{bone.capitalize()}: mean over the pairs, below it the 95 % interval."
    return report.table(caption, heads, rows)


def _improvements(content: Mapping[str, Any]) -> str:
    heads = '<th scope="col">ASSD better by (mm)</th>' + "".join(
        f'<th scope="col">{bone}<small>{alignment}</small></th>'
        for bone in BONES
        for alignment in ALIGNMENTS
    )
    rows = []
    for control, gains in content["improvement"].items():
        cells = "".join(
            f"<td>{gains[bone][a]['assd']['mean']:+.2f}"
            f"<small>{_interval(gains[bone][a]['assd']['ci95'], '+.2f').strip()}</small></td>"
            for bone in BONES
            for a in ALIGNMENTS
        )
        rows.append(f'<tr><th scope="row">model − {_text(LABELS[control])}</th>{cells}</tr>')
    return report.table("Paired differences, positive where the model is better.", heads, rows)


def _meanings() -> list[str]:
    return [f"{LABELS[name]}: {meaning}" for name, meaning in CONTROLS.items()]


def _joint(content: Mapping[str, Any], found: Measured) -> str:
    heads = "".join(
        f'<th scope="col">{name}</th>'
        for name in ("quantity", "n", "true mean", "r", "mean error", "bias", "others' mean, error")
    )
    rows = [
        _joint_row(f"{name} joint space (mm)", space, "_mm")
        for name, space in content["joint_space"].items()
    ]
    for plate, quantities in content["cartilage"].items():
        for quantity, seen in quantities.items():
            if seen is not None:
                name, _, unit = quantity.rpartition("_")
                rows.append(_joint_row(f"{plate.replace('_', ' ')} {name} ({unit})", seen, ""))
    panels = {f"{name} joint space, mm": found.joint[space_key(name)] for name in COMPARTMENTS}
    picture = Picture(
        label_figures.agreement(panels),
        "Joint space of the prediction over that of the truth; the line is equality.",
        "Scatter plots of predicted over true joint space",
    )
    caption = "Joint space and cartilage, against the truth."
    return report.table(caption, heads, rows) + report.figure(picture)


def _joint_row(label: str, seen: Mapping[str, Any], unit: str) -> str:
    r = "not defined" if seen["r"] is None else f"{seen['r']:.2f}"
    values = [str(seen["n"]), f"{seen['true_mean']:.2f} ± {seen['true_sd']:.2f}", r]
    values += [f"{seen[f'mae{unit}']:.2f}", f"{seen[f'bias{unit}']:+.2f}"]
    other = seen[f"mae_of_mean{unit}"]
    values.append("" if other is None else f"{other:.2f}")
    small = {
        2: _interval(seen["intervals"]["r"], ".2f"),
        3: _interval(seen["intervals"]["mae"], ".2f"),
    }
    cells = "".join(
        f"<td>{value}<small>{small.get(i, '').strip()}</small></td>"
        for i, value in enumerate(values)
    )
    return f'<tr><th scope="row">{_text(label)}</th>{cells}</tr>'


def _retrieval(found: Measured) -> str:
    parts = []
    for name, distance in found.distances.items():
        rank = (distance <= np.diagonal(distance)[:, None]).sum(axis=1)
        parts.append(
            Picture(
                figures.ranks(rank.tolist()),
                f"Rank of the own knee among all true knees, {name}.",
                f"Histogram of the rank of the own knee, {name}",
            )
        )
    return "".join(map(report.figure, parts))


def _cut_table(content: Mapping[str, Any]) -> str:
    metrics = ("dsc", "hd", "assd")
    heads = '<th scope="col">shape</th><th scope="col">bone</th>' + "".join(
        f'<th scope="col">{_NAMES[metric]}<small>{alignment}</small></th>'
        for alignment in ALIGNMENTS
        for metric in metrics
    )
    rows = []
    for source, bones in content["ssr_kd"].items():
        for bone in BONES:
            cells = "".join(
                f"<td>{_number(bones[bone][a][m], m)}</td>" for a in ALIGNMENTS for m in metrics
            )
            rows.append(
                f'<tr><th scope="row">{_text(LABELS[source])}</th><td>{bone}</td>{cells}</tr>'
            )
    return report.table(content["convention"]["ssr_kd"], heads, rows)


def _cases(found: Measured) -> list[Picture]:
    pictures = []
    for i, pair in enumerate(found.pairs):
        assert pair.xray is not None
        image = read_radiograph(pair.xray).array
        image = image[:, ::-1] if pair.side == "left" else image
        png = label_figures.label_case(image, found.true[i].labels.array, _rows(found, i))
        scored = found.values[MODEL]
        told = ", ".join(
            f"{bone} {scored[bone]['centred']['assd'][i]:.2f} and "
            f"{scored[bone]['similarity']['assd'][i]:.2f} mm"
            for bone in BONES
        )
        grade = "unknown" if pair.kl is None else str(pair.kl)
        caption = (
            f"{pair.name}, Kellgren-Lawrence grade {grade}. ASSD centred and after similarity "
            f"alignment: {told}. Grey: true bone, blue: true cartilage, lines: predicted bone. "
            "Shown as a right knee, the lateral side at the left."
        )
        pictures.append(Picture(png, caption, f"Predicted contours on the true map, {pair.name}"))
    return pictures


def _rows(found: Measured, i: int) -> dict[str, dict[str, np.ndarray]]:
    true, predicted = found.true[i], found.predicted[i]
    rows: dict[str, dict[str, np.ndarray]] = {"centred": {}, "similarity": {}}
    for bone in BONES:
        occupied = predicted.bones[bone].occupied
        shares = Volume(occupied.array.astype(np.float32) / FULL, occupied.affine)
        for name, row in rows.items():
            row[bone] = resampled(shares, true.labels, found.fits[i][bone][name].matrix())
    return rows


def _number(value: float, metric: str) -> str:
    return f"{value:{_form(metric)}}"


def _form(metric: str) -> str:
    return ".3f" if metric in ("dice", "nsd", "dsc") else ".2f"


def _text(value: Any) -> str:
    return html.escape(str(value))
