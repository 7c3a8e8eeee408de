"""Compares the grade suggested by predicted volumes with the network's and the readers' grades."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from xr2mri_jax.errors import InputError
from xr2mri_jax.inference.grade import GradeOptions, grade
from xr2mri_jax.inference.grade_output import GradeOutput
from xr2mri_jax.inference.volume_grade import APART, CUT_MM, GROUPS, disagreement
from xr2mri_jax.metrics import grading

# Tested cuts, mm.
_TRIED_MM = np.round(np.arange(0.2, 6.0, 0.1), 1)


def run(real: Path | None) -> dict[str, Any]:
    """Grades radiographs with `--volume` and compares the grades.

    Args:
      real: folder with GRADE/NAME.png, grades 0 to 4, crops of one knee each.

    Returns:
      The report, JSON-able: the result of `compared`, and refused (a reason by file).

    Raises:
      InputError: no folder, or no file in a folder named by a grade.
    """
    if real is None:
        raise InputError("--real is missing: expected a folder with GRADE/NAME.png")
    with tempfile.TemporaryDirectory(prefix="volume_grade-") as scratch:
        output = GradeOutput.of(Path(scratch) / "grades.csv")
        rows = grade(real, output, options=GradeOptions(volume=True))
    known = [row for row in rows if row.file.split("/")[0] in {"0", "1", "2", "3", "4"}]
    used = [row for row in known if row.volume_space_mm is not None and row.reading is not None]
    if not used:
        raise InputError(f"--real={real}: found no usable GRADE/NAME.png, expected grades 0 to 4")
    return {
        **compared(
            np.array([int(row.file.split("/")[0]) for row in used]),
            np.array([row.reading.grade for row in used if row.reading is not None]),
            np.array([row.volume_space_mm for row in used]),
        ),
        "refused": {row.file: row.warning for row in known if row not in used},
    }


def compared(label: np.ndarray, called: np.ndarray, spaces: np.ndarray) -> dict[str, Any]:
    """Agreement of groups of grades.

    Args:
      label, called: i64[n], the reader's grade and the network's.
      spaces: f64[n, 2], (medial, lateral) mm between the predicted bones.

    Returns:
      knees; cut_mm, the shipped one; fitted_mm, the best one for these knees; lesser_mm (mean and
      sd by the reader's grade); against the "network" and the "reader" the confusion (their groups
      in rows) with its kappa; warned, the number of warnings of `disagreement`.
    """
    lesser = spaces.min(axis=1)
    return {
        "knees": len(label),
        "cut_mm": CUT_MM,
        "fitted_mm": fitted(lesser, label),
        "lesser_mm": {
            str(one): [float(lesser[label == one].mean()), float(lesser[label == one].std())]
            for one in np.unique(label)
        },
        **{
            name: agreement(lesser < CUT_MM, groups_of(grades))
            for name, grades in (("network", called), ("reader", label))
        },
        "apart": APART,
        "warned": sum(
            bool(disagreement(int(one), (float(m), float(n))))
            for one, (m, n) in zip(called, spaces, strict=True)
        ),
    }


def fitted(lesser: np.ndarray, label: np.ndarray) -> float:
    """The cut in mm with the largest kappa of the groups.

    Args:
      lesser: f64[n], mm.
      label: i64[n], the readers' grades, in equal numbers if each is to have the same weight.
    """
    wanted = groups_of(label)
    kappas = [agreement(lesser < cut, wanted)["kappa"] for cut in _TRIED_MM]
    return float(_TRIED_MM[int(np.argmax(kappas))])


def groups_of(grades: np.ndarray) -> np.ndarray:
    """Group numbers in GROUPS i64[n] of grades i64[n]."""
    return np.array([next(i for i, group in enumerate(GROUPS) if one in group) for one in grades])


def agreement(suggested: np.ndarray, wanted: np.ndarray) -> dict[str, Any]:
    """confusion (wanted in rows) and kappa of groups i64[n] each.

    With two groups Cohen's kappa is the same without weights and with linear or quadratic ones.
    """
    counts = grading.confusion(suggested, wanted, len(GROUPS))
    kappa = grading.from_confusion(counts)["quadratic_kappa"]
    return {"confusion": counts.tolist(), "kappa": kappa}


def table(report: Mapping[str, Any]) -> str:
    """The report in lines."""
    spaces = ", ".join(f"{k}: {m:.2f} ± {s:.2f}" for k, (m, s) in report["lesser_mm"].items())
    lines = [
        f"{report['knees']} knees, {len(report['refused'])} not usable; lesser joint space between "
        f"the predicted bones, mm by grade: {spaces}",
        f"  cut {report['cut_mm']} mm, best on these knees {report['fitted_mm']}; "
        f"{report['warned']} warnings",
    ]
    for name in ("network", "reader"):
        row = report[name]
        lines.append(
            f"  against the {name}: kappa {row['kappa']:.3f}; its groups 0-2 and 3-4 in "
            f"rows: {row['confusion']}"
        )
    return "\n".join(lines)
