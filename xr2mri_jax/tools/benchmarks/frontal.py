"""Estimates how well one perfect frontal radiograph determines a knee's bone shape."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from xr2mri_jax.evaluation.real_pairs.knee import Knee
from xr2mri_jax.evaluation.real_pairs.knees import (
    in_threads,
    predict_knees,
    read_knees,
)
from xr2mri_jax.evaluation.real_pairs.protocol import BONES, CLOSED, OPEN
from xr2mri_jax.evaluation.real_pairs.table import Pair
from xr2mri_jax.geometry import PLATEAU_MM
from xr2mri_jax.inference.label_prediction import label_predictor
from xr2mri_jax.runtime.progress import progress
from xr2mri_jax.simulation import atlas
from xr2mri_jax.simulation.family import draw_knee
from xr2mri_jax.simulation.label_tables import AUTO
from xr2mri_jax.simulation.mean_knee import MeanGenerator
from xr2mri_jax.tools.anatomy.population import Departures, measure_departures
from xr2mri_jax.tools.benchmarks.anatomy import UNWORN, found_surfaces, known_maps
from xr2mri_jax.tools.frontal import families, scores
from xr2mri_jax.tools.frontal.ceiling import BOTH, DRAWN, OTHERS, Ceiling, Features, Predicted
from xr2mri_jax.tools.frontal.deformations import deformed_samples
from xr2mri_jax.tools.frontal.samples import (
    ALIGNED,
    FILM,
    SCAN,
    Reference,
    Sample,
    drawn_knee,
    true_knee,
)

POSES = 9  # seed of the measured knees' poses in films
KNEES, DEFORMED = 120, 400  # drawn knees per family, and smooth deformations
MEAN, FAMILY = "mean of the other knees", "mean of the drawn knees"
# Drawn knees whose statistics include the predicted knee: an upper bound.
INCLUDED = "both, itself included"
# Outlines of the bones that the shipped generator predicts from the real radiographs.
READ, SHUFFLED = "outline, by the generator", "the same of another radiograph"


class Row(NamedTuple):
    """The visible features of a knee, and the knees from which its shape is mixed."""

    seen: str
    known: str
    features: Features
    retrieval: bool = False


def rows(reference: Reference) -> list[Row]:
    """All rows except the means."""

    def whole(one: Sample) -> np.ndarray:
        return np.concatenate([reference.offsets(bone, one.shapes[bone]) for bone in one.shapes])

    def view(kind: str, which: str) -> Features:
        return lambda one: getattr(one, kind)[which]

    outline, thickness = view("outlines", FILM), view("thicknesses", FILM)
    return [
        Row("own size", OTHERS, lambda one: np.array(one.size_mm)),
        Row("outline, pose of a film", OTHERS, outline),
        Row("outline, pose of a film", BOTH, outline, True),
        Row("outline, pose of the scan", BOTH, view("outlines", SCAN)),
        Row("outline, pose known", BOTH, view("outlines", ALIGNED)),
        Row("thickness, pose of a film", BOTH, thickness, True),
        Row("thickness, pose of the scan", BOTH, view("thicknesses", SCAN)),
        Row("thickness, pose known", BOTH, view("thicknesses", ALIGNED)),
        Row("the shape itself", BOTH, whole),
        Row("outline, pose of a film", INCLUDED, outline),
        Row("thickness, pose of a film", INCLUDED, thickness),
    ]


def run(real: Path | None, knees: int = KNEES) -> dict[str, Any]:
    """Predicts measured knees from perfect frontal views.

    Args:
      real: folder with PAIRS (the first map of every subject) and MAPS, the label maps of the
        family's atlas.
      knees: number of drawn knees per family, 2 or more.

    Returns:
      The report, see `report`.

    Raises:
      InputError: no folder, or a map that cannot be used.
    """
    pairs, of_atlas, bred = known_maps(real)
    true = read_knees(pairs, AUTO)
    reference = Reference(drawn_knee(draw_knee(bred, MeanGenerator())))
    departures = _departures(bred, pairs, true, of_atlas)
    drawn = []
    for fold in range(families.FOLDS + 1):  # no knee is in the last fold
        population = families.left_out(departures, len(pairs), fold)
        made = families.drawn_samples(bred, population, reference, range(knees), fold)
        bar = f"family {fold + 1} of {families.FOLDS + 1}"
        drawn.append(list(progress(made, bar, "knee", knees)))

    def sample(i: int) -> Sample:
        return reference.sample(true_knee(true[i]), np.random.default_rng([POSES, i]))

    def read(knee: Knee) -> Sample:
        return reference.sample(true_knee(knee), np.random.default_rng(families.SEED), (SCAN,))

    measured = in_threads(sample, range(len(pairs)), "views of true knees", "knee")
    shown = predict_knees([pair for pair in pairs if pair.xray], label_predictor(None))
    generated = in_threads(read, shown, "views of predicted knees", "knee")
    smooth = deformed_samples(reference, DEFORMED)
    return report(reference, measured, drawn, smooth, generated, pairs, true)


def report(
    reference: Reference,
    measured: Sequence[Sample],
    drawn: Sequence[Sequence[Sample]],
    smooth: Sequence[Sample],
    generated: Sequence[Sample],
    pairs: Sequence[Pair],
    true: Sequence[Knee],
) -> dict[str, Any]:
    """The report from samples.

    Args:
      reference: the knee to which all others are registered.
      measured: n knees.
      drawn: families.FOLDS families, and one whose statistics leave nothing out.
      smooth: deformations of the reference, which are mixed in too.
      generated: a model's predictions from the radiographs of the knees that have one.
      pairs: of the measured knees; those with a radiograph, which come first, are reported.
      true: the measured knees.

    Returns:
      JSON-able: measured, predicted (numbers of knees), drawn (per family), deformed, subjects, and
      rows: seen, known, offset_mm (by bone), open and closed (see `scores.summary`), values (ASSD
      by protocol and bone) and retrieval (None if not measured).
    """
    ceiling = Ceiling(reference, measured, drawn[:-1], families.fold_of, smooth)
    included = Ceiling(reference, measured, drawn[-1:], lambda _: 0, smooth)
    subjects = [pair.subject for pair in pairs if pair.xray is not None]
    targets = scores.targets(true[: len(subjects)])
    of_mean: scores.Distances = {}
    made: list[dict[str, Any]] = []

    def measure(seen: str, known: str, found: Predicted, looked_up: bool = False) -> None:
        distances = scores.distances(found, targets)
        of_mean.update(of_mean or distances)  # the first row is the mean
        offset = {name: float(x[: len(subjects)].mean()) for name, x in found.offset_mm.items()}
        made.append({
            "seen": seen,
            "known": known,
            "offset_mm": offset,
            **scores.summary(distances, of_mean, subjects),
            "values": {p: {b: x.tolist() for b, x in d.items()} for p, d in distances.items()},
            "retrieval": scores.retrieved(found, targets, subjects) if looked_up else None,
        })  # fmt: skip

    measure(MEAN, OTHERS, ceiling.mean())
    measure(FAMILY, DRAWN, ceiling.family_mean())
    for row in rows(reference):
        found = (
            included.seen(row.features, BOTH)
            if row.known == INCLUDED
            else ceiling.seen(row.features, row.known)
        )
        measure(row.seen, row.known, found, row.retrieval)
    for seen, turned in ((READ, 0), (SHUFFLED, len(generated) // 2)):
        outlines = np.roll([one.outlines[SCAN] for one in generated], turned, axis=0)
        by_knee = dict(enumerate(outlines))
        found = ceiling.seen(lambda one: one.outlines[SCAN], BOTH, by_knee)
        measure(seen, BOTH, found)
    return {
        "measured": len(pairs),
        "predicted": len(subjects),
        "drawn": [len(family) for family in drawn],
        "deformed": len(smooth),
        "subjects": subjects,
        "rows": made,
    }


def _departures(
    bred: atlas.Atlas, pairs: Sequence[Pair], true: Sequence[Knee], of_atlas: Pair
) -> Departures:
    """Departures of the measured knees and, last, of the atlas' first knee."""
    surfaces = in_threads(found_surfaces, [*pairs, of_atlas], "label maps", "map")
    nothing = [float("nan")] * 2
    spaces = [
        [knee.space_mm[side] * PLATEAU_MM / knee.width_mm for side in ("medial", "lateral")]
        if pair.kl in UNWORN else nothing
        for pair, knee in zip(pairs, true, strict=True)
    ]  # fmt: skip
    return measure_departures(bred, surfaces, np.array([*spaces, nothing]))


def table(report: Mapping[str, Any]) -> str:
    """The report in Markdown."""
    columns = [(protocol, bone) for protocol in (OPEN, CLOSED) for bone in BONES]
    heads = [f"{bone}, {protocol}" for protocol, bone in columns]
    lines = [
        f"{report['predicted']} measured knees, ASSD in mm after similarity alignment; in brackets "
        "by how much it is smaller than the mean's, with its 95 % interval.\n",
        f"| what is seen | mixed from | {' | '.join(heads)} | own knee first | mean rank |",
        "|---|---|" + "---|" * (len(columns) + 2),
    ]
    for row in report["rows"]:
        cells = [_cell(row[protocol][bone]) for protocol, bone in columns]
        looked = row["retrieval"]
        if looked is None:
            cells += ["", ""]
        else:
            first = round(looked["top1"] * looked["n"])
            cells += [f"{first} of {looked['n']}", f"{looked['mean_rank']:.1f}"]
        lines.append(f"| {row['seen']} | {row['known']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(one: Mapping[str, Any]) -> str:
    better = one["better"]
    ends = better["ci95"]
    interval = "" if ends is None else f", {ends[0]:+.2f} to {ends[1]:+.2f}"
    return f"{one['assd']['mean']:.2f} ({better['mean']:+.2f}{interval})"
