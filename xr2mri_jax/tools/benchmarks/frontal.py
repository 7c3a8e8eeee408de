"""How much of a knee's bone shape one perfect frontal radiograph could tell, on measured knees."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from xr2mri_jax.datasets.knee_family.work import map_files, prepared_atlas
from xr2mri_jax.errors import InputError
from xr2mri_jax.evaluation.real_pairs.knee import Knee
from xr2mri_jax.evaluation.real_pairs.knees import first_maps, in_threads, read_knees
from xr2mri_jax.evaluation.real_pairs.protocol import BONES, CLOSED, OPEN
from xr2mri_jax.evaluation.real_pairs.table import Pair, read_pairs
from xr2mri_jax.geometry import PLATEAU_MM
from xr2mri_jax.simulation import atlas
from xr2mri_jax.simulation.family import draw_knee
from xr2mri_jax.simulation.label_tables import AUTO
from xr2mri_jax.simulation.usual import Means
from xr2mri_jax.tools.anatomy.population import Departures, measure_departures
from xr2mri_jax.tools.benchmarks.anatomy import MAPS, PAIRS, UNWORN, found_surfaces
from xr2mri_jax.tools.frontal import families, scores
from xr2mri_jax.tools.frontal.ceiling import BOTH, DRAWN, OTHERS, Ceiling, Features, Predicted
from xr2mri_jax.tools.frontal.samples import (
    ALIGNED,
    FILM,
    SCAN,
    Reference,
    Sample,
    drawn_knee,
    true_knee,
)

KNEES = 240  # drawn of every family
MEAN, FAMILY = "mean of the other knees", "mean of the drawn knees"


class Row(NamedTuple):
    """What is seen of a knee, and the knees from which its shape is mixed."""

    seen: str
    known: str
    features: Features
    retrieval: bool = False


def rows(reference: Reference) -> list[Row]:
    """All rows but the means."""

    def whole(one: Sample) -> np.ndarray:
        return np.concatenate([reference.offsets(bone, one.shapes[bone]) for bone in one.shapes])

    def view(kind: str, which: str) -> Features:
        return lambda one: getattr(one, kind)[which]

    outline, thickness = "outlines", "thicknesses"
    return [
        Row("own size", OTHERS, lambda one: np.array(one.size_mm)),
        Row("outline, pose of a film", OTHERS, view(outline, FILM)),
        Row("outline, pose of a film", DRAWN, view(outline, FILM)),
        Row("outline, pose of a film", BOTH, view(outline, FILM), True),
        Row("outline, pose of the scan", BOTH, view(outline, SCAN)),
        Row("outline, pose known", BOTH, view(outline, ALIGNED)),
        Row("thickness, pose of a film", OTHERS, view(thickness, FILM)),
        Row("thickness, pose of a film", BOTH, view(thickness, FILM), True),
        Row("thickness, pose of the scan", BOTH, view(thickness, SCAN)),
        Row("thickness, pose known", BOTH, view(thickness, ALIGNED)),
        Row("the shape itself", BOTH, whole, True),
    ]


def run(real: Path | None, knees: int = KNEES) -> dict[str, Any]:
    """Predicts measured knees from what perfect frontal views would tell.

    Args:
      real: folder with PAIRS (the first map of every subject) and MAPS, the label maps of the
        family's atlas.
      knees: how many are drawn of every family, 2 or more.

    Returns:
      The report, JSON-able: measured, predicted, drawn (numbers of knees), and rows, each with
      seen, known, offset_mm (mean offset by bone), open and closed (see `scores.summary`) and
      retrieval (None where it was not measured).

    Raises:
      InputError: no folder, or a map that cannot be used.
    """
    if real is None:
        raise InputError(f"--real is missing: expected a folder with {PAIRS} and {MAPS}/")
    pairs = first_maps(read_pairs(real / PAIRS))
    files = map_files(real / MAPS)
    true = read_knees(pairs, AUTO)
    with tempfile.TemporaryDirectory() as folder:
        bred = atlas.load(prepared_atlas(files, Path(folder)))
    reference = Reference(drawn_knee(draw_knee(bred, Means())))
    departures = _departures(bred, pairs, true, files[0])
    drawn = [
        list(tqdm(
            families.drawn(
                bred, families.left_out(departures, len(pairs), fold), reference, range(knees), fold
            ),
            desc=f"family {fold + 1} of {families.FOLDS}", total=knees, unit="knee", mininterval=1,
        ))
        for fold in range(families.FOLDS)
    ]  # fmt: skip

    def sample(i: int) -> Sample:
        return reference.sample(true_knee(true[i]), np.random.default_rng([families.SEED, i]))

    measured = in_threads(sample, range(len(pairs)), "views of true knees", "knee")
    return report(reference, measured, drawn, pairs, true)


def report(
    reference: Reference,
    measured: Sequence[Sample],
    drawn: Sequence[Sequence[Sample]],
    pairs: Sequence[Pair],
    true: Sequence[Knee],
) -> dict[str, Any]:
    """The report from samples; only pairs with a radiograph are predicted for it."""
    ceiling = Ceiling(reference, measured, drawn, families.fold_of)
    count = sum(pair.xray is not None for pair in pairs)  # they come first
    subjects = [pair.subject for pair in pairs[:count]]
    targets = scores.targets(true[:count])
    of_mean = None
    made = []
    sources: list[tuple[str, str, bool, Callable[[], Predicted]]] = [
        (MEAN, OTHERS, False, ceiling.mean), (FAMILY, DRAWN, False, ceiling.family_mean),
        *((row.seen, row.known, row.retrieval,
           lambda row=row: ceiling.seen(row.features, row.known)) for row in rows(reference)),
    ]  # fmt: skip
    for seen, known, looked_up, predict in sources:
        found = predict()
        distances = scores.distances(found, targets)
        of_mean = of_mean or distances
        made.append({
            "seen": seen,
            "known": known,
            "offset_mm": {bone: float(x[:count].mean()) for bone, x in found.offset_mm.items()},
            **scores.summary(distances, of_mean, subjects),
            "values": {p: {b: x.tolist() for b, x in d.items()} for p, d in distances.items()},
            "retrieval": scores.retrieved(found, targets, subjects)
            if looked_up else None,
        })  # fmt: skip
    return {
        "measured": len(pairs),
        "predicted": count,
        "drawn": [len(family) for family in drawn],
        "subjects": subjects,
        "rows": made,
    }


def _departures(
    bred: atlas.Atlas, pairs: Sequence[Pair], true: Sequence[Knee], map_of_atlas: Path
) -> Departures:
    """Of the measured knees and, last, of the atlas' first."""
    sources = [*pairs, Pair("atlas", "right", "", None, map_of_atlas, None)]
    surfaces = in_threads(found_surfaces, sources, "label maps", "map")
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
        cells += (
            ["", ""] if looked is None
            else [f"{looked['top1'] * looked['n']:.0f} of {looked['n']}", f"{looked['mean_rank']:.1f}"]
        )  # fmt: skip
        lines.append(f"| {row['seen']} | {row['known']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(one: Mapping[str, Any]) -> str:
    better = one["better"]
    ends = better["ci95"]
    interval = "" if ends is None else f", {ends[0]:+.2f} to {ends[1]:+.2f}"
    return f"{one['assd']['mean']:.2f} ({better['mean']:+.2f}{interval})"
