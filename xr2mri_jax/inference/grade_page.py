"""The report page of grading: every row with its picture, and the model's calibration."""

import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import numpy as np

from xr2mri_jax.files import write_text
from xr2mri_jax.inference import novelty
from xr2mri_jax.inference.grade_table import GradedKnee
from xr2mri_jax.inference.joint_space_markers import space_texts
from xr2mri_jax.inference.knee_grader.file_format import (
    POSITIVE_GRADE,
    SENSITIVITY,
    KneeGrader,
)
from xr2mri_jax.inference.knee_picture import BLOCKS, BY_GRADE, WHOLE
from xr2mri_jax.presentation import figures, pages, report
from xr2mri_jax.presentation.page_elements import (
    Lines,
    LinkedPicture,
    Page,
    Paragraph,
    Part,
    Picture,
    Row,
    Section,
    Table,
)
from xr2mri_jax.presentation.pluralise import pluralise

_HEADS = (
    "file", "side", "grade", "probability", "at threshold", "distance",
    "joint space, medial", "lateral", "warning",
)  # fmt: skip
MEANING = (
    "The probability compares Kellgren-Lawrence grade 2 (or more, if the model has more grades) "
    "with grade 0. It says nothing about grade 1, and is not a diagnosis."
)
GRADES = "The grade is the most likely one of 0 to 4."
SETS = (
    "In brackets the grades that cannot be told apart: such sets contained the true grade of 9 in "
    "10 held-out training knees of each grade."
)


def write(path: Path, rows: Sequence[GradedKnee], grader: KneeGrader) -> None:
    """Writes the page, atomically; the pictures stay files beside it."""
    write_text(path, pages.render(page(path.parent, rows, grader)))


def page(folder: Path, rows: Sequence[GradedKnee], grader: KneeGrader) -> Page:
    """The page.

    Args:
      folder: its folder; pictures are linked relative to it.
      rows: in the order of the table.
      grader: the grader that was used.
    """
    graded = [row for row in rows if row.probability is not None]
    files = len({row.file for row in rows})
    several = len(grader.grades) > 2
    subject = "Knee osteoarthritis" if several else "Early knee osteoarthritis"
    title = f"{subject}: {pluralise(len(graded), 'knee')} in {pluralise(files, 'file')}"
    refused = len(rows) - len(graded)
    said = [
        f"Graded: {pluralise(len(graded), 'knee')}. Not graded: {pluralise(refused, 'row')}; the "
        "warning gives the reason."
    ]
    if grader.calibration is not None:
        positive = sum(bool(row.positive) for row in graded)
        said.append(
            f"At or above the threshold for a sensitivity of {SENSITIVITY:g}, "
            f"{grader.calibration.threshold:.3f}: {pluralise(positive, 'knee')}."
        )
    unlike = sum(novelty.is_unlike(row.distance) for row in graded)
    said.append(
        "Unlike the training radiographs (novelty score, in the column distance, above 1): "
        f"{pluralise(unlike, 'knee')}."
    )
    sections = [
        Section("Summary", [Lines(said)]),
        Section("Knees", [_knees(folder, rows, several)]),
        Section("What the probabilities mean", _calibration(grader)),
        Section("The model", [_model(grader)]),
    ]
    meaning = f"{report.STATEMENT} {MEANING}"
    if several:
        meaning = f"{meaning} {GRADES}"
    if grader.calibration is not None and grader.calibration.set_limits is not None:
        meaning = f"{meaning} {SETS}"
    return Page(title, [meaning], sections)


def _knees(folder: Path, rows: Sequence[GradedKnee], several: bool) -> Table:
    evidence = "grade 2 or more against less" if several else "grade 2 against 0"
    caption = (
        "The input of the network with the measured joint space and with Grad-CAM overlays: bright "
        f"regions are evidence for {evidence}. First all blocks together, then each block from the "
        "first (fine) to the last (coarse). A second picture, where there is one, is of the grade: "
        "bright regions are evidence for each grade or more, with its probability. "
        "The patient's right is on the left. Click a picture for the overlay on the full image."
    )
    if any(row.scale_estimated for row in rows):
        caption += (
            " Lengths with ~ are those of a knee of mean width, because no pixel spacing is stated."
        )
    volumes = any(row.volume_grade for row in rows)
    heads = (*_HEADS[:-1], *(["volume's grade"] if volumes else []), _HEADS[-1])
    return Table(caption, heads, [_row(folder, row, volumes) for row in rows], wrapped=True)


def _row(folder: Path, row: GradedKnee, volumes: bool) -> Row:
    positive = {None: "", True: "positive", False: "negative"}[row.positive]
    cells = (
        row.side,
        "" if row.reading is None else row.reading.text,
        "not graded" if row.probability is None else f"{row.probability:.3f}",
        positive,
        "" if row.distance is None else f"{row.distance:.2f}",
        *space_texts(row.joint_space_mm, row.joint_space_share, row.scale_estimated),
        *([row.volume_grade] if volumes else []),
        row.warning,
    )
    if row.picture is None:
        return Row(row.file, cells)
    picture = row.picture

    def url(ending: str) -> str:
        path = picture.with_stem(picture.stem + ending)
        return quote(os.path.relpath(path, folder).replace(os.sep, "/"))

    knee = f"{row.side} knee of {row.file}"
    shown = [(BLOCKS, f"{knee}, without and with its Grad-CAM maps")]
    if row.reading is not None:
        shown.append((BY_GRADE, f"{knee}, with the Grad-CAM map of each grade"))
    # In separate rows: beside the text the pictures would be narrow.
    pictures = [LinkedPicture(url(ending), url(WHOLE), about) for ending, about in shown]
    return Row(row.file, cells, pictures=pictures)


def _calibration(grader: KneeGrader) -> list[Part]:
    found = grader.calibration
    if found is None:
        said = (
            "This model comes directly from a training run: its probabilities are not calibrated."
        )
        return [Paragraph(said)]
    diagram = Picture(
        figures.reliability(found.reliability),
        "Observed fraction of grade 2 in held-out training patients (vertical) against predicted "
        "probability (horizontal); the dashed line is perfect calibration. Numbers: knees per bin.",
        "Reliability diagram",
    )
    heads = ("wanted sensitivity", "probability from", "sensitivity", "specificity")
    keys = ("probability", "sensitivity", "specificity")
    rows = [
        Row(f"{row['sensitivity_wanted']:g}", [f"{row[key]:.3f}" for key in keys])
        for row in found.thresholds
    ]
    usable = round(sum(found.reliability["count"]))
    held_out = f"held out of {found.subjects} training patients"
    if usable < found.knees:
        held_out = f"part of the {found.knees} knees of all grades {held_out}"
    caption = (
        f"Thresholds, chosen and evaluated on the same {usable} knees of grade 0 or 2, {held_out}."
    )
    return [diagram, Table(caption, heads, rows), *_population(grader)]


def _population(grader: KneeGrader) -> list[Part]:
    """The population for which the probabilities hold, if the model states it."""
    if grader.calibration is None or grader.calibration.prevalence is None:
        return []
    shares = dict(zip(grader.grades, grader.calibration.prevalence, strict=True))
    by_grade = ", ".join(f"grade {grade} {100 * share:.0f} %" for grade, share in shares.items())
    bins = grader.calibration.reliability
    count, frequency = np.array(bins["count"]), np.array(bins["frequency"])
    seen = float((count * frequency).sum() / max(count.sum(), 1.0))
    lowest, positive = shares[grader.grades[0]], shares[POSITIVE_GRADE]
    assumed = positive / (lowest + positive)
    said = f"The probabilities assume that the knees have these grades: {by_grade}."
    return [
        Paragraph(
            f"{said} Of knees of grade {grader.grades[0]} or 2 they assume that "
            f"{100 * assumed:.0f} % have grade 2; of those in the diagram {100 * seen:.0f} % have "
            "it. A larger share than assumed lifts the points above the dashed line, a smaller "
            "one lowers them."
        )
    ]


def _model(grader: KneeGrader) -> Lines:
    network, clahe = grader.network, grader.contrast["clahe"]
    equalised = "no further equalisation" if clahe is None else f"equalised adaptively by {clahe}"
    lines = [
        f"network: {network['kind']}, radiographs of {' x '.join(map(str, grader.image_shape))}",
        f"grades: {', '.join(map(str, grader.grades))}",
        f"contrast: percentiles {list(grader.contrast['percentiles'])}, {equalised}",
    ]
    return Lines([*lines, *(f"{key}: {v}" for key, v in grader.training.items())])
