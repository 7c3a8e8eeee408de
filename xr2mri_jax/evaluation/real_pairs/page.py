"""The report of real pairs: tables, viewer, pictures of every case and conventions."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from xr2mri_jax.evaluation import retrieval as ranking
from xr2mri_jax.evaluation.real_pairs import intervals, tables
from xr2mri_jax.evaluation.real_pairs.joint import space_key
from xr2mri_jax.evaluation.real_pairs.knee import FULL
from xr2mri_jax.evaluation.real_pairs.measure import (
    CONTROLS,
    MEAN,
    MEAN_PREDICTION,
    MEAN_SCALED,
    SHUFFLED,
    Measured,
)
from xr2mri_jax.evaluation.real_pairs.protocol import ALIGNMENTS, BONES, OPEN, PROTOCOLS
from xr2mri_jax.evaluation.real_pairs.retrieval import PRIMARY
from xr2mri_jax.evaluation.verdict import FEWEST_SUBJECTS
from xr2mri_jax.metrics.joint import COMPARTMENTS
from xr2mri_jax.metrics.occupancy import resampled
from xr2mri_jax.presentation import figures, label_figures, report
from xr2mri_jax.presentation.model_and_controls import LABELS, MODEL
from xr2mri_jax.presentation.page_elements import (
    Lines,
    Page,
    Paragraph,
    Part,
    Picture,
    Section,
    Viewer,
)
from xr2mri_jax.presentation.statement import MEANING

TITLES = {
    "real": "Evaluation on real pairs of radiograph and segmented MRI",
    "simulated": "Evaluation on simulated pairs of radiograph and segmented MRI",
    "unknown": "Evaluation on pairs of radiograph and segmented MRI",
}
NOTICE = (
    "The radiographs were taken standing with bent knees, the MRI lying, so the poses differ. A "
    "radiograph without pixel spacing does not determine the size. Shapes are therefore also "
    "compared after rigid and similarity alignment of each bone."
)
_COMPARED = (
    (MEAN, "similarity"),
    (MEAN_SCALED, "rigid"),
    (MEAN_PREDICTION, "similarity"),
    (SHUFFLED, "similarity"),
)


def page(
    content: Mapping[str, Any],
    evaluated: Mapping[str, Any],
    found: Measured,
    viewer: Viewer | None = None,
) -> Page:
    """Builds the page.

    Args:
      content: the content of real_pairs.json.
      evaluated: description of the evaluation.
      found: measurements for the pictures.
      viewer: viewer of the true and predicted labels, or None.
    """
    sections = [
        Section("Findings", [Lines(findings(content))]),
        Section("Viewer", [] if viewer is None else [viewer]),
    ]
    for protocol in PROTOCOLS:
        shown: list[Part] = [Paragraph(f"{content['convention'][protocol].capitalize()}.")]
        shown += [tables.bones(content, protocol, metric) for metric in tables.SHOWN]
        shown.append(tables.improvements(content, protocol))
        sections.append(Section(f"Bones, {protocol}", shown))
    sections += [
        Section("Individual shape", [tables.individual_shape(content)]),
        Section("Controls", [Lines(_meanings())]),
        Section("Joint space and cartilage", [tables.joint(content), _spaces(found)]),
        Section("Uncertainty", intervals.parts(content.get("uncertainty"))),
        Section("Retrieval", [tables.retrieval(content), *_ranks(found)]),
        Section("Metrics as in SSR-KD", [tables.ssr_kd(content)]),
        Section("Single cases", _cases(found)),
        Section("Method", report.measured(content, evaluated)),
    ]
    judged = content["verdict"]
    notices = [f"{report.STATEMENT} {MEANING}", NOTICE, *report.doubts(evaluated)]
    return Page(TITLES[judged["origin"]], notices, sections, judged["sentence"])


def findings(content: Mapping[str, Any]) -> list[str]:
    """The main results in sentences."""
    lines = [f"{content['n']} knees of {content['subjects']} subjects."]
    if content["subjects"] < FEWEST_SUBJECTS:
        lines.append(
            f"Fewer than {FEWEST_SUBJECTS} subjects: no figure below is evidence for or against "
            "the model."
        )
    for protocol in PROTOCOLS:
        for bone in BONES:
            own = content[protocol]["values"][MODEL][bone]
            values = ", ".join(f"{own[a]['assd']:.2f} mm {a}" for a in ALIGNMENTS)
            lines.append(
                f"{bone.capitalize()}, {protocol}: ASSD {values}; Dice "
                f"{own['centred']['dice']:.3f} centred."
            )
            lines += _comparisons(content, protocol, bone)
        seen = content["retrieval"][protocol][PRIMARY]
        lines.append(
            f"Retrieval, {protocol}, {PRIMARY}: the own knee is the nearest of {seen['n']} in "
            f"{seen['top1']:.0%} of the cases (guessing: {seen['chance']['top1']:.0%}); its mean "
            f"rank is {seen['mean_rank']:.1f} (guessing: {seen['chance']['mean_rank']:.1f}), or "
            f"{seen['relative']['mean_rank']:.1f} by relative distances."
        )
    for bone, shape in content["individual_shape"].items():
        if shape["r"] is not None:
            ends = tables.interval(shape["ci95"], "+.2f")
            lines.append(
                f"{bone.capitalize()}, individual shape: predicted and true departures from the "
                f"mean bone correlate with r = {shape['r']:+.2f} {ends}; by chance r is below "
                f"{shape['chance95']:+.2f} in 95 % of the cases."
            )
    for name, space in content["joint_space"].items():
        r = "not defined" if space["r"] is None else f"{space['r']:.2f}"
        lines.append(
            f"{name.capitalize()} joint space: correlation {r}, mean error "
            f"{space['mae_mm']:.2f} mm (mean of the others: {space['mae_of_mean_mm']:.2f} mm)."
        )
    return [*lines, *intervals.findings(content.get("uncertainty"))]


def _comparisons(content: Mapping[str, Any], protocol: str, bone: str) -> list[str]:
    lines = []
    for control, alignment in _COMPARED:
        gain = content[protocol]["improvement"][control][bone][alignment]["assd"]
        ends = tables.interval(gain["ci95"], "+.2f")
        word = "better" if gain["mean"] >= 0 else "worse"
        interval = f" (interval of the gain: {ends[1:-1]} mm)" if ends else ""
        lines.append(
            f"{bone.capitalize()}, {protocol}, {alignment}, against {LABELS[control]}: ASSD {word} "
            f"by {abs(gain['mean']):.2f} mm{interval}; {_verdict(gain, content['subjects'])}."
        )
    return lines


def _verdict(gain: Mapping[str, Any], subjects: int) -> str:
    if gain["ci95"] is None:
        return "one subject gives no interval, so this is not evidence"
    if subjects < FEWEST_SUBJECTS:
        return "too few subjects for evidence"
    if gain["ci95"][0] > 0:
        return "the model is better"
    if gain["ci95"][1] < 0:
        return "the model is worse"
    return "no difference is shown: the interval contains 0"


def _meanings() -> list[str]:
    return [f"{LABELS[name]}: {meaning}" for name, meaning in CONTROLS.items()]


def _spaces(found: Measured) -> Picture:
    panels = {f"{name} joint space (mm)": found.joint[space_key(name)] for name in COMPARTMENTS}
    return Picture(
        label_figures.agreement(panels),
        "Predicted against true joint space; the line shows equality.",
        "Scatter plots of predicted against true joint space",
    )


def _ranks(found: Measured) -> list[Picture]:
    return [
        Picture(
            figures.ranks(ranking.ranks(found.distances[protocol][PRIMARY]).tolist()),
            f"Rank of the own knee among all true knees, {protocol}, {PRIMARY}.",
            f"Histogram of the rank of the own knee, {protocol}, {PRIMARY}",
        )
        for protocol in PROTOCOLS
    ]


def _cases(found: Measured) -> list[Picture]:
    pictures = []
    for i, pair in enumerate(found.pairs):
        seen = found.predicted[i].seen
        assert seen is not None  # a predicted knee
        png = label_figures.label_case(seen, found.true[i].labels.array, _rows(found, i))
        scored = found.values[OPEN][MODEL]
        distances = ", ".join(
            f"{bone} {scored[bone]['centred']['assd'][i]:.2f} and "
            f"{scored[bone]['similarity']['assd'][i]:.2f} mm"
            for bone in BONES
        )
        grade = "unknown" if pair.kl is None else str(pair.kl)
        caption = (
            f"{pair.name}, Kellgren-Lawrence grade {grade}. {OPEN.capitalize()} ASSD centred "
            f"and after similarity alignment: {distances}. Grey: true bone, blue: true cartilage, "
            f"lines: predicted bone, aligned with the truth by the {OPEN} alignments. The "
            "radiograph is the model's input. Shown as a right knee, with the lateral side at the "
            "left."
        )
        pictures.append(Picture(png, caption, f"Predicted contours on the true map, {pair.name}"))
    return pictures


def _rows(found: Measured, i: int) -> dict[str, dict[str, np.ndarray]]:
    true, predicted = found.true[i], found.predicted[i]
    rows: dict[str, dict[str, np.ndarray]] = {"centred": {}, "similarity": {}}
    for bone in BONES:
        for name, row in rows.items():
            matrix = found.fits[i][bone][OPEN][name].matrix()
            row[bone] = resampled(predicted.bones[bone].occupied, true.labels, matrix, FULL / 2)
    return rows
