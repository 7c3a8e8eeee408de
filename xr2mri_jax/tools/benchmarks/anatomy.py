"""Compares the sizes of the knees of `knee_family` with measured ones: means and spreads."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xr2mri_jax.datasets.knee_family.make_knee import map_files, prepared_atlas
from xr2mri_jax.errors import InputError
from xr2mri_jax.evaluation.real_pairs.knee import joint_space_of, knee_of
from xr2mri_jax.evaluation.real_pairs.knees import first_maps, in_threads
from xr2mri_jax.evaluation.real_pairs.table import Pair, read_pairs
from xr2mri_jax.geometry import PLATEAU_MM, Volume, canonical_affine
from xr2mri_jax.metrics.occupancy import GRID
from xr2mri_jax.phantom.landmarks import PLATEAU_WIDTH_MM, find_landmarks
from xr2mri_jax.phantom.surfaces import labels as labels_inside
from xr2mri_jax.phantom.surfaces import resized
from xr2mri_jax.runtime.progress import progress
from xr2mri_jax.simulation import atlas
from xr2mri_jax.simulation.family import Knee, draw_knee, scan_distances
from xr2mri_jax.simulation.framing import Jitter
from xr2mri_jax.simulation.knee_labels import read_knee
from xr2mri_jax.tools.anatomy.measures import WIDTH, measure_knee
from xr2mri_jax.tools.anatomy.population import measure_population
from xr2mri_jax.tools.anatomy.quantities import QUANTITIES, area_name, is_angle, is_area
from xr2mri_jax.tools.anatomy.simulated_bones import drawn_surfaces, reference_bones
from xr2mri_jax.tools.anatomy.surfaces import Surface, find_surfaces

PAIRS, MAPS = "knee_real_pairs/pairs.csv", "knee_labels"
KNEES = 48  # drawn
SEED = 5
UNWORN = (0, 1)  # grades whose joint spaces are compared
# Maximum difference of the means in measured deviations, and range of the ratio of the spreads.
OFF, SPREADS = 0.5, (0.7, 1.4)


def run(real: Path | None, knees: int = KNEES) -> dict[str, Any]:
    """Measures segmented and drawn knees.

    Args:
      real: folder with PAIRS (the first map of every subject is measured) and MAPS, the label maps
        of the family's atlas, of which the first is measured too.
      knees: number of drawn knees.

    Returns:
      The report, JSON-able: measured, drawn (numbers of knees), quantities (by name: unit, measured
      and family as {mean, sd}, off, ratio, agrees), agree (number of agreeing quantities), and
      population, the content of `simulation/population.json`.

    Raises:
      InputError: no folder, or a map that cannot be used.
    """
    pairs, of_atlas, bred = known_maps(real)
    sources = [*pairs, of_atlas]
    surfaces = in_threads(found_surfaces, sources, "label maps", "map")
    references = reference_bones(bred)
    areas = in_threads(_areas_of_map, sources, "cartilage", "map")
    measured = [
        measure_knee(one, references) | own for one, own in zip(surfaces, areas, strict=True)
    ]
    spaces = np.array(in_threads(_space, sources, "joint spaces", "map"))
    grades = [pair.kl for pair in sources]
    family, drawn_grades = [], []
    for index in progress(range(knees), "drawn knees", "knee", knees):
        knee = draw_knee(bred, np.random.default_rng([SEED, index]))
        own = areas_of(_labels_of(knee), "right")
        family.append(measure_knee(drawn_surfaces(knee), references) | own)
        drawn_grades.append(knee.grade)
    compared = compare(measured, grades, family, drawn_grades)
    return {
        "measured": len(measured),
        "drawn": knees,
        "quantities": compared,
        "agree": sum(row["agrees"] for row in compared.values()),
        "population": measure_population(bred, surfaces, spaces),
    }


def compare(
    measured: Sequence[Mapping[str, float]],
    grades: Sequence[int | None],
    family: Sequence[Mapping[str, float]],
    family_grades: Sequence[int | None],
) -> dict[str, dict[str, Any]]:
    """The table by quantity, at a plateau of PLATEAU_MM; joint spaces of the grades in UNWORN."""
    rows = {}
    for name in QUANTITIES:
        true, drawn = (
            np.array([scaled(knee, name) for knee, grade in zip(knees, kinds, strict=True)
                      if not name.startswith("joint_space") or grade in UNWORN])
            for knees, kinds in ((measured, grades), (family, family_grades))
        )  # fmt: skip
        (mean, sd), (other, spread) = ((np.nanmean(x), np.nanstd(x, ddof=1)) for x in (true, drawn))
        off, ratio = (other - mean) / sd, spread / sd
        rows[name] = {
            "unit": "degrees" if is_angle(name) else "cm2" if is_area(name) else "mm",
            "measured": {"mean": float(mean), "sd": float(sd)},
            "family": {"mean": float(other), "sd": float(spread)},
            "off": float(off),
            "ratio": float(ratio),
            "agrees": bool(abs(off) <= OFF and SPREADS[0] <= ratio <= SPREADS[1]),
        }
    return rows


def scaled(knee: Mapping[str, float], name: str) -> float:
    """A quantity of a knee, NaN if missing; lengths and areas at a plateau of PLATEAU_MM."""
    value = knee.get(name, float("nan"))
    power = 0 if is_angle(name) else 2 if is_area(name) else 1
    return value * (PLATEAU_MM / knee[WIDTH]) ** power


def table(report: Mapping[str, Any]) -> str:
    """The report in Markdown."""
    lines = [
        f"| quantity | {report['measured']} measured knees | {report['drawn']} drawn knees | mean "
        "off, SD | ratio of SD | |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in report["quantities"].items():
        one, other = (f"{row[k]['mean']:.1f} ± {row[k]['sd']:.1f}" for k in ("measured", "family"))
        unit = {"degrees": "°", "cm2": " cm²"}.get(row["unit"], " mm")
        lines.append(
            f"| {QUANTITIES[name]} | {one}{unit} | {other}{unit} | {row['off']:+.2f} | "
            f"{row['ratio']:.2f} | {'' if row['agrees'] else 'differs'} |"
        )
    count = len(report["quantities"])
    lines.append(f"\n{report['agree']} of {count} quantities agree.")
    return "\n".join(lines)


def known_maps(real: Path | None) -> tuple[list[Pair], Pair, atlas.Atlas]:
    """The first map of every subject, the atlas' first map, and the atlas, from --real's folder.

    Raises:
      InputError: no folder, or a file of it that cannot be used.
    """
    if real is None:
        raise InputError(f"--real is missing: expected a folder with {PAIRS} and {MAPS}/")
    pairs = first_maps(read_pairs(real / PAIRS))
    files = map_files(real / MAPS)
    with tempfile.TemporaryDirectory() as folder:
        bred = atlas.load(prepared_atlas(files, Path(folder)))
    return pairs, Pair("atlas", "right", "", None, files[0], None), bred


def found_surfaces(pair: Pair) -> dict[str, Surface]:
    """The surfaces of a map; the error names its file."""
    try:
        return find_surfaces(read_knee(pair.labels, pair.side).volume, pair.side)
    except InputError as error:
        said = str(error).removeprefix(f"{pair.labels}: ")
        raise InputError(f"{pair.labels}: {said}") from error


def areas_of(labels: Volume, side: str) -> dict[str, float]:
    """Bone area covered by each cartilage plate, cm2, by the table's names."""
    return {area_name(plate): one.area_cm2 for plate, one in knee_of(labels, side).plates.items()}


def _areas_of_map(pair: Pair) -> dict[str, float]:
    return areas_of(read_knee(pair.labels, pair.side).volume, pair.side)


def _labels_of(knee: Knee) -> Volume:
    """The label map of a drawn knee in the pose of its scan."""
    found = resized(scan_distances(knee, Jitter((0.0, 0.0, 0.0), 0.0, 1.0)), GRID)
    return Volume(labels_inside(found), canonical_affine(GRID))


def _space(pair: Pair) -> tuple[float, float]:
    """Medial and lateral joint space at the usual width; NaN for a worn knee or unknown grade."""
    if pair.kl not in UNWORN:
        return float("nan"), float("nan")
    labels = read_knee(pair.labels, pair.side).volume
    space = joint_space_of(labels, pair.side)
    zoom = PLATEAU_MM / (find_landmarks(labels, pair.side).size * PLATEAU_WIDTH_MM)
    return space["medial"] * zoom, space["lateral"] * zoom
