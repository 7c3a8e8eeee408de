"""Radiographs to grades and probabilities of early osteoarthritis: one row per knee."""

import concurrent.futures
import dataclasses
import functools
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from absl import logging

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import Radiograph
from xr2mri_jax.inference import read_ahead, table_doubts
from xr2mri_jax.inference.framing import FramedKnee, frame_knees
from xr2mri_jax.inference.grade_batches import Answers, batches, graded_rows
from xr2mri_jax.inference.grade_knees import grade_knees
from xr2mri_jax.inference.grade_output import GradeOutput
from xr2mri_jax.inference.grade_table import GradedKnee, Table
from xr2mri_jax.inference.knee_grader.file_format import KneeGrader
from xr2mri_jax.inference.knee_grader.load import load_grader
from xr2mri_jax.inference.knee_grader.network import Network
from xr2mri_jax.inference.knee_picture import KneePictures
from xr2mri_jax.inference.listing import Listed, list_files
from xr2mri_jax.inference.volume_grade import Measure, space_measurer
from xr2mri_jax.io.formats import sniff
from xr2mri_jax.models.siamese_gap_inference import BLOCKS, BOUNDARIES
from xr2mri_jax.preprocess.contrast import contrast_with_clahe
from xr2mri_jax.preprocess.knee_request import KneeRequest, RefusedKnee, named_side
from xr2mri_jax.presentation.pluralise import pluralise
from xr2mri_jax.runtime import lock
from xr2mri_jax.runtime.progress import progress

# scikit-image's default settings for adaptive equalisation: clip limit; tiles of an eighth (mm).
CLAHE = (0.01, 16.0)

# From this number of files on, the network runs in the form for many radiographs.
_MANY = 16


@dataclasses.dataclass(frozen=True)
class GradeOptions:
    """How radiographs are read and graded.

    Attributes:
      side: side of the knee to grade in every file; None: all knees.
      spacing: mm per pixel in every file; None: as the file says.
      batch_size: knees per batch.
      clahe: equalise the contrast adaptively (CLAHE) even if the model's settings do not.
      force: grade the middle of an image in which no knee is found.
      volume: also predict each knee's volume with the shipped generator, and report the joint space
        between its bones and the grade that it suggests.

    Raises:
      InputError: a number that cannot be used.
    """

    side: str | None = None
    spacing: float | None = None
    batch_size: int = 8
    clahe: bool = False
    force: bool = False
    volume: bool = False

    def __post_init__(self) -> None:
        if self.spacing is not None and not 0 < self.spacing < math.inf:
            raise InputError(
                f"--spacing: found {self.spacing:g}, expected a positive number, mm per pixel"
            )
        if self.batch_size < 1:
            raise InputError(f"--batch_size: found {self.batch_size}, expected at least 1")


def grade(
    xray: str | os.PathLike[str],
    output: GradeOutput,
    model: str | os.PathLike[str] | None = None,
    options: GradeOptions | None = None,
) -> list[GradedKnee]:
    """Grades a radiograph, or all files of a folder and its subfolders; writes table and page.

    Args:
      xray: a file, or a folder. Hidden files and the outputs themselves are skipped.
      output: the files to write.
      model: see `load_grader`.
      options: None: the defaults.

    Returns:
      The rows of the table in the order of the files, the right knee of a file first. A file that
      cannot be graded has one row with the reason.

    Raises:
      InputError: the model, a path or an option cannot be used; another process is writing the
        table; or no knee at all could be graded, in which case the table is still written, with
        the reasons.
    """
    options = options or GradeOptions()
    listed = list_files(Path(xray), output.holds)
    output.require_apart(listed[0].path if Path(xray).is_file() else None)
    if Path(xray).suffix.lower() in (".csv", ".tsv"):
        raise InputError(
            f"--xray: found the table {xray}, expected a radiograph or a folder of radiographs: "
            "only predict takes a table"
        )
    grader = _grader(model, options)
    with lock.hold_beside(output.table, "a grading"):
        rows = []
        with Table(output.table) as table:
            for row in graded(listed, grader, options, output):
                table.add(row)
                rows.append(row)
        if output.page is not None:
            # Imported here, because the imports for the page's figure take a second.
            from xr2mri_jax.inference import grade_page

            grade_page.write(output.page, rows, grader)
    done = [row for row in rows if row.probability is not None]
    if not done:
        raise InputError(
            f"--xray={xray}: none of {len(listed)} files could be graded, expected a frontal knee "
            f"radiograph: {rows[0].file}: {rows[0].warning} (all reasons: {output.table})"
        )
    _log_estimated(rows)
    knees = [(f"{row.file}, {row.side} knee", row.warning, row.distance) for row in done]
    table_doubts.log(knees, output.table, "warning")
    return rows


def _log_estimated(rows: Sequence[GradedKnee]) -> None:
    """One warning for all knees whose lengths in mm are at an estimated scale."""
    knees = sum(row.scale_estimated and row.joint_space_mm is not None for row in rows)
    if knees:
        logging.warning(
            "%s without a stated pixel spacing: the joint space in mm is that of a knee of mean "
            "width (joint_space_scale in the table); --spacing states the spacing",
            pluralise(knees, "knee"),
        )


def grade_radiograph(
    radiograph: Radiograph,
    model: str | os.PathLike[str] | None = None,
    options: GradeOptions | None = None,
    path: Path | None = None,
) -> list[GradedKnee]:
    """Grades every knee of one radiograph.

    Args:
      radiograph: as read.
      model, options: as for `grade`.
      path: its file; None: not from a file.

    Returns:
      The rows of the knees that can be graded, without file and picture.

    Raises:
      InputError: the model cannot be used, or no knee can be graded.
    """
    options = options or GradeOptions()
    grader = _grader(model, options)
    volume = space_measurer() if options.volume else None
    answers = _framed(radiograph, path, grader, options, volume)
    knees = [one for one in answers if isinstance(one, FramedKnee)]
    if not knees:
        raise InputError("; ".join(one.reason for one in answers if isinstance(one, RefusedKnee)))
    return grade_knees(knees, grader, Network(grader, len(knees), many=False))


def _grader(model: str | os.PathLike[str] | None, options: GradeOptions) -> KneeGrader:
    grader = load_grader(model)
    if options.clahe:
        grader = dataclasses.replace(grader, contrast=contrast_with_clahe(CLAHE))
    return grader


def graded(
    listed: Sequence[Listed],
    grader: KneeGrader,
    options: GradeOptions,
    output: GradeOutput,
) -> Iterator[GradedKnee]:
    """Yields the rows in the files' order, while further files are read by other threads."""
    pictures = None if output.pictures is None else KneePictures(grader)
    # One film shows two knees at most: one file needs no larger batch.
    batch_size = min(options.batch_size, 2 * len(listed))
    map_kinds = (
        () if pictures is None else (BLOCKS, BOUNDARIES) if len(grader.grades) > 2 else (BLOCKS,)
    )
    many = len(listed) >= _MANY
    network = Network(grader, batch_size, map_kinds, many, one_core=many)
    volume = space_measurer() if options.volume else None
    judge = functools.partial(grade_knees, grader=grader, network=network)
    drawn = pictures is not None
    with concurrent.futures.ThreadPoolExecutor(read_ahead.workers()) as pool:
        compiled = pool.submit(network.compile)
        framed = read_ahead.map_ahead(
            pool,
            lambda one: (one.name, framed_knees(one.path, grader, options, drawn, volume)),
            listed,
            # Whole films are kept only if they are drawn.
            (2 if drawn else 4) * batch_size,
        )
        counted = progress(framed, "graded", "file", len(listed))
        # Each batch is computed and drawn on one core; several batches run at a time.
        for rows in read_ahead.map_ahead(
            pool,
            lambda batch: graded_rows(batch, judge, pictures),
            batches(counted, batch_size, output, compiled),
            read_ahead.workers(),
        ):
            yield from rows


def framed_knees(
    path: Path,
    grader: KneeGrader,
    options: GradeOptions,
    drawn: bool,
    volume: Measure | None = None,
) -> Answers | str:
    """The knees of a file as input of the network, or the reason for none.

    Source images are kept only if they will be `drawn`, because many knees are in memory at once.
    """
    try:
        radiograph = read_ahead.decode_radiograph(path)
        answers = _framed(radiograph, path, grader, options, volume)
        if drawn:
            return answers
        nothing = np.zeros((0, 0), np.uint8)
        return [
            answer
            if isinstance(answer, RefusedKnee)
            else dataclasses.replace(answer, source=nothing)
            for answer in answers
        ]
    except Exception as error:  # one bad file of thousands must not end the run
        return read_ahead.error_reason(path, error)


def _framed(
    radiograph: Radiograph,
    path: Path | None,
    grader: KneeGrader,
    options: GradeOptions,
    volume: Measure | None,
) -> Answers:
    """The knees of a radiograph, which may be from a file, as input of the network."""
    named = None if path is None else named_side(path)
    request = KneeRequest(options.side, options.spacing, named=named, force=options.force)
    answers = frame_knees(radiograph, grader.image_shape, grader.contrast, request, volume)
    notes = _contrast_notes(path, radiograph, grader)
    return [
        answer
        if isinstance(answer, RefusedKnee)
        else dataclasses.replace(answer, notes=(*answer.notes, *notes))
        for answer in answers
    ]


def _contrast_notes(path: Path | None, radiograph: Radiograph, grader: KneeGrader) -> list[str]:
    """A note if a radiograph is probably not equalised but the training radiographs were.

    DICOM files and files of more than 8 bits come from a detector, not from a prepared dataset.
    """
    if not grader.training.get("equalised") or grader.contrast["clahe"] is not None:
        return []
    if radiograph.array.max() <= 255 and (path is None or sniff(path) != "dicom"):
        return []
    return ["the training radiographs were equalised, this file perhaps not: compare --clahe"]
