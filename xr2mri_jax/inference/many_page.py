"""The page of many radiographs: cases are written one by one, so that a run can be resumed."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from xr2mri_jax.errors import InputError
from xr2mri_jax.inference.prediction import Prediction
from xr2mri_jax.inference.prediction_page import (
    case_title,
    prediction_page,
    spacing_text,
    viewer_case,
)
from xr2mri_jax.presentation import pages
from xr2mri_jax.presentation.page_elements import Row, Shown


def require_folder(page: Path) -> None:
    """Raises InputError if the page is named like a file: many radiographs need a folder."""
    if pages.is_single(page):
        raise InputError(
            f"--page: found {page} with many radiographs, expected the name of a folder"
        )


def case_name(row: Mapping[str, str]) -> str:
    """The name of the case of a row with a volume, the same in every run."""
    return f"case-{hashlib.sha256(row['volume'].encode()).hexdigest()[:16]}"


def is_there(page: Path, row: Mapping[str, str]) -> bool:
    """Whether the page has the data of a row's knee; true for rows without a volume."""
    return not row["volume"] or (page / pages.CASES / f"{case_name(row)}.js").is_file()


def write_case(page: Path, row: Mapping[str, str], prediction: Prediction) -> None:
    """Writes the viewer's data for the knee of a row."""
    pages.write_case(page, viewer_case(prediction, case_name(row), _title(row)))


def write(page: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Writes the page of all rows of the table, by name, after their cases have been written."""
    rows = sorted(rows, key=lambda row: (row["file"], row["side"]))
    shown = [Shown(case_name(row), _title(row)) for row in rows if row["volume"]]
    listed = [
        Row(
            row["file"],
            (row["side"], _spacing(row), _unlike(row), row["warnings"] or row["error"]),
            case=case_name(row) if row["volume"] else "",
        )
        for row in rows
    ]
    pages.write_folder(page, prediction_page(shown, listed))


def _spacing(row: Mapping[str, str]) -> str:
    mm = row["spacing_mm"]
    return spacing_text(float(mm), row["spacing_source"]) if mm else ""


def _unlike(row: Mapping[str, str]) -> str:
    return f"{float(row['unlike']):.2f}" if row["unlike"] else ""


def _title(row: Mapping[str, str]) -> str:
    return case_title(row["file"], row["side"])
