"""Groups the knees of many files into batches for grading and drawing."""

import concurrent.futures
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from xr2mri_jax.files import atomic_path
from xr2mri_jax.inference.framing import FramedKnee
from xr2mri_jax.inference.grade_output import GradeOutput
from xr2mri_jax.inference.grade_table import GradedKnee
from xr2mri_jax.inference.knee_picture import KneePictures
from xr2mri_jax.inference.listing import output_name
from xr2mri_jax.preprocess.knee_request import RefusedKnee

Answers = list[FramedKnee | RefusedKnee]


class Waiting(NamedTuple):
    """What was found in a file: a knee to grade, or the reason for none.

    Attributes:
      name: of the file.
      found: the knee, a refused one, or the reason for none.
      picture: path of the knee's picture; None if none is drawn.
    """

    name: str
    found: FramedKnee | RefusedKnee | str
    picture: Path | None


def batches(
    framed: Iterable[tuple[str, Answers | str]],
    batch_size: int,
    output: GradeOutput,
    compiled: concurrent.futures.Future[None],
) -> Iterator[list[Waiting]]:
    """Groups the findings of the files into batches of knees, once the network is `compiled`."""
    waiting: list[Waiting] = []
    names: set[str] = set()
    for name, found in framed:
        for one in found if isinstance(found, list) else [found]:
            picture = None
            if output.pictures is not None and isinstance(one, FramedKnee):
                picture = output.pictures / f"{output_name(name, one.side, names)}.png"
            waiting.append(Waiting(name, one, picture))
        if sum(isinstance(one.found, FramedKnee) for one in waiting) >= batch_size:
            compiled.result()
            yield waiting
            waiting = []
    compiled.result()
    yield waiting


def graded_rows(
    batch: Sequence[Waiting],
    judge: Callable[[Sequence[FramedKnee]], list[GradedKnee]],
    pictures: KneePictures | None,
) -> list[GradedKnee]:
    """Grades and draws framed knees: all rows in the given order, refused knees included."""
    judged_rows = iter(judge([one.found for one in batch if isinstance(one.found, FramedKnee)]))
    rows = []
    for name, found, picture in batch:
        if isinstance(found, str):
            rows.append(GradedKnee(name, warning=found))
        elif isinstance(found, RefusedKnee):
            rows.append(GradedKnee(name, found.side, warning=found.reason))
        else:
            row = dataclasses.replace(next(judged_rows), file=name, picture=picture)
            if pictures is not None:
                _draw(pictures, found, row)
            rows.append(dataclasses.replace(row, maps=None))
    return rows


def _draw(pictures: KneePictures, knee: FramedKnee, row: GradedKnee) -> None:
    """Writes the pictures of a knee."""
    assert row.picture is not None
    for ending, png in pictures.draw(knee, row.reading, row.maps).items():
        with atomic_path(row.picture.with_stem(row.picture.stem + ending)) as partial:
            partial.write_bytes(png)
