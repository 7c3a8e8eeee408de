"""Compares the joint space of predicted labels with the grade of real crops."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xr2mri_jax.errors import InputError
from xr2mri_jax.evaluation import statistics
from xr2mri_jax.evaluation.real_pairs.knee import joint_space_of
from xr2mri_jax.inference.label_prediction import LabelPredictor, label_predictor
from xr2mri_jax.metrics.classification import auc
from xr2mri_jax.metrics.joint import COMPARTMENTS
from xr2mri_jax.runtime.progress import progress

HEALTHY, NARROWED = (0,), (3, 4)
_NAME = re.compile(r"(?P<subject>.+)(?P<side>[LR])\.png")
_SIDES = {"L": "left", "R": "right"}
SEED = 0


def run(real: Path | None, predictor: LabelPredictor | None = None) -> dict[str, Any]:
    """Measures the least joint space in the labels predicted by a generator.

    Args:
      real: folder with GRADE/NAME.png of the grades in HEALTHY and NARROWED, crops of one knee
        each; NAME is the patient followed by L or R.
      predictor: None: the shipped generator.

    Returns:
      The report, JSON-able: model, knees, refused (a reason by file), and by compartment and for
      the narrower one of both ("least"): by grade n, mean and sd in mm, and the AUC of grades 3 and
      4 against 0 with its interval (patients resampled).

    Raises:
      InputError: no folder, a name without a side, or knees of one group only.
    """
    if real is None:
        raise InputError("--real is missing: expected a folder with GRADE/NAME.png")
    files = crops(real)
    predictor = predictor or label_predictor(None)
    spaces, kept, refused = [], [], {}
    for grade, path in progress(files, "joint space", "knee", len(files)):
        found = _match(path)
        try:
            labels = predictor.predict(path, _SIDES[found["side"]]).volume()
            spaces.append(joint_space_of(labels, "right"))
            kept.append((grade, found["subject"]))
        except InputError as error:
            refused[path.name] = str(error)
    grades = np.array([grade for grade, _ in kept])
    subjects = [subject for _, subject in kept]
    values = {name: np.array([space[name] for space in spaces]) for name in COMPARTMENTS}
    values["least"] = np.min(list(values.values()), axis=0) if spaces else np.zeros(0)
    return {
        "model": predictor.about,
        "knees": len(kept),
        "subjects": len(set(subjects)),
        "refused": refused,
        **{name: measured(value, grades, subjects) for name, value in values.items()},
    }


def crops(real: Path) -> list[tuple[int, Path]]:
    """The files of a folder with their grades, in order.

    Raises:
      InputError: a group of grades has no file, or a file's name has no side.
    """
    files = [
        (grade, path)
        for grade in (*HEALTHY, *NARROWED)
        for path in sorted((real / str(grade)).glob("*.png"))
    ]
    for group in (HEALTHY, NARROWED):
        if not any(grade in group for grade, _ in files):
            names = " or ".join(f"{grade}/NAME.png" for grade in group)
            raise InputError(f"--real={real}: found no {names}, expected crops of those grades")
    for _, path in files:
        _match(path)
    return files


def _match(path: Path) -> re.Match[str]:
    found = _NAME.fullmatch(path.name)
    if found is None:
        raise InputError(f"{path}: found a name without a side, expected IDL.png or IDR.png")
    return found


def measured(space: np.ndarray, grades: np.ndarray, subjects: Sequence[str]) -> dict[str, Any]:
    """Joint space by grade, and how well it separates NARROWED from HEALTHY.

    Args:
      space: f64[n], mm.
      grades: i64[n].
      subjects: n names.

    Raises:
      InputError: knees of one group only.
    """
    narrowed = np.isin(grades, NARROWED)
    if narrowed.all() or not narrowed.any():
        raise InputError(f"found {len(grades)} usable knees of one group, expected both")

    def auc_of(chosen: np.ndarray) -> dict[str, float] | None:
        label = narrowed[chosen].astype(int)
        return {"auc": auc(-space[chosen], label)} if 0 < label.mean() < 1 else None

    by_grade = {
        str(grade): {
            "n": int((grades == grade).sum()),
            "mean_mm": float(space[grades == grade].mean()),
            "sd_mm": float(space[grades == grade].std()),
        }
        for grade in np.unique(grades).tolist()
    }
    return {"by_grade": by_grade, **statistics.estimates_of_whole(auc_of, subjects, SEED)}


def table(report: Mapping[str, Any]) -> str:
    """The report in lines."""
    lines = [
        f"{report['knees']} knees of {report['subjects']} patients, {len(report['refused'])} not "
        "usable; AUC of grades 3 and 4 against 0 by the least predicted joint space:"
    ]
    for name in (*COMPARTMENTS, "least"):
        row = report[name]
        low, high = row["auc"]["ci95"] or (float("nan"),) * 2
        means = ", ".join(
            f"grade {grade} {one['mean_mm']:.2f} ± {one['sd_mm']:.2f} mm (n = {one['n']})"
            for grade, one in row["by_grade"].items()
        )
        lines.append(f"  {name}: {row['auc']['mean']:.3f} ({low:.3f} to {high:.3f}); {means}")
    return "\n".join(lines)
