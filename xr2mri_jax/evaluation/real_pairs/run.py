"""Evaluates real pairs: reads the table, measures, writes the report as one folder."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import xr2mri_jax
from xr2mri_jax import files, output_paths
from xr2mri_jax.errors import InputError
from xr2mri_jax.evaluation import model_card
from xr2mri_jax.evaluation.real_pairs import card, cases, intervals, page
from xr2mri_jax.evaluation.real_pairs.measure import Measured, measure
from xr2mri_jax.evaluation.real_pairs.pair_errors import judge_pairs
from xr2mri_jax.evaluation.real_pairs.summary import columns, summarise
from xr2mri_jax.evaluation.real_pairs.table import read_pairs
from xr2mri_jax.inference.label_prediction import LabelPredictor, label_predictor, with_cache
from xr2mri_jax.inference.output_places import OutputPlace, require_separate
from xr2mri_jax.inference.predictor import SHIPPED_MODEL
from xr2mri_jax.io.tables import write_table
from xr2mri_jax.presentation import pages
from xr2mri_jax.runtime import lock
from xr2mri_jax.simulation.label_tables import find_table

SEED = 0
RESULT = "real_pairs.json"


def evaluate_pairs(
    pairs: str | os.PathLike[str],
    output: str | os.PathLike[str],
    workdir: str | os.PathLike[str] | None = None,
    table: str = "auto",
    predictions: str | os.PathLike[str] | None = None,
    step: int | None = None,
    exclude_subjects: Sequence[str] = (),
    single: str | os.PathLike[str] | None = None,
) -> Path:
    """Evaluates a model's predicted labels against segmented MRI of the same knees.

    Args:
      pairs: CSV, see `table.read_pairs`.
      output: new or empty folder for real_pairs.json, cases.csv and index.html; it appears only
        when it is complete.
      workdir: run of a model that predicts labels; None: the shipped model.
      table: label table of the true maps, see `label_tables.find_table`.
      predictions: folder that caches predicted labels for the next call; None: WORKDIR/labels, or
        no cache for the shipped model.
      step: checkpoint of the run; None: the newest.
      exclude_subjects: names of subjects to leave out, also from the controls.
      single: path for a single-file report of at most `pages.LARGEST_SINGLE` bytes, ending in .html
        and outside `output`; None: none.

    Returns:
      The path of the report, index.html.

    Raises:
      InputError: the table, a file, the model or the folder cannot be used, or another evaluation
        into the folder is running.
    """
    output = Path(output)
    require_new(output)
    if single is not None:
        place = OutputPlace("--page", Path(single))
        pages.require_single(place.path, place.flag)
        require_separate([OutputPlace("--output", output), place])
    find_table(table)  # refused here, before anything is measured
    listed = read_pairs(pairs, exclude_subjects)
    if single is not None:
        read = [path for pair in listed for path in (pair.xray, pair.labels) if path]
        output_paths.require_apart(single, [pairs, *read], "--page")
    with lock.hold_beside(output, "an evaluation"):
        require_new(output)  # again: another evaluation may have ended since
        predictor = label_predictor(workdir, step)
        folder = predictions or (None if workdir is None else Path(workdir) / "labels")
        if folder is not None:
            predictor = with_cache(predictor, Path(folder))
        found = measure(listed, predictor, table)
        about = _about(pairs, predictor, table, exclude_subjects) | {"doubts": doubts(found)}
        return write(found, output, about, predictor, None if single is None else Path(single))


def require_new(output: Path) -> None:
    """Raises InputError unless the folder can be created or exists, empty and writable."""
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise InputError(f"--output={output}: it exists, expected a new or empty folder")
    output_paths.require_writable(output, "--output")


def doubts(found: Measured) -> list[str]:
    """The doubts about the predictions, each with the name of its pair."""
    return [
        f"{pair.name}: {doubt}"
        for pair, knee in zip(found.pairs, found.predicted, strict=True)
        for doubt in knee.doubts
    ]


def write(
    found: Measured,
    output: Path,
    evaluated: Mapping[str, Any],
    predictor: LabelPredictor,
    single: Path | None = None,
) -> Path:
    """Writes real_pairs.json, cases.csv, index.html and the card as one folder; returns the page.

    Args:
      found: all measurements.
      output: new or empty folder.
      evaluated: description of the evaluation, JSON-able.
      predictor: the model, whose intervals are tested if it has any.
      single: path for a single-file report, or None.
    """
    shipped = predictor.about["workdir"] == SHIPPED_MODEL
    content = {
        "verdict": judge_pairs(found, SEED),
        **summarise(found, SEED),
        "uncertainty": intervals.summary(found, predictor.uncertainty, SEED, shipped),
        "evaluated": dict(evaluated),
    }
    table = columns(found)
    with files.atomic_folder(output) as partial:
        files.write_json(partial / RESULT, content)
        files.write_text(
            partial / model_card.NAME, card.text(content, evaluated, predictor.identity)
        )
        write_table(partial / "cases.csv", tuple(table), zip(*table.values(), strict=True))
        made = page.page(content, evaluated, found, cases.write(partial, found))
        pages.write_folder(partial, made)
        if single is not None:
            pages.write_single(single, made, partial)
    for line in (content["verdict"]["sentence"], *page.findings(content)):
        print(line)
    return output / pages.INDEX


def _about(
    pairs: str | os.PathLike[str],
    predictor: LabelPredictor,
    table: str,
    exclude_subjects: Sequence[str],
) -> dict[str, Any]:
    return {
        "pairs": os.fspath(pairs),
        "without": list(exclude_subjects),
        "model": predictor.about,
        "table": table,
        "seed": SEED,
        "xr2mri_jax": xr2mri_jax.__version__,
    }
