"""Finds the knees of pairs in their radiograph, or the reason why one cannot be used."""

import dataclasses
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np

from xr2mri_jax.datasets.knee_pairs.clock import Clock
from xr2mri_jax.datasets.knee_pairs.rejection import Rejected, rejecting
from xr2mri_jax.datasets.pairing_report import Pair, Reason
from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import KneePlace, Radiograph
from xr2mri_jax.io import read_radiograph
from xr2mri_jax.io.oai.extract import opened
from xr2mri_jax.io.records import RadiographFile
from xr2mri_jax.preprocess.knee_request import FoundKnee, KneeRequest
from xr2mri_jax.preprocess.knees import IMAGE, SURE_OF_SIDE, knees_of, overruled
from xr2mri_jax.preprocess.scale import HEADER

TABLE = "the collection's table"


@dataclasses.dataclass(frozen=True)
class FilmTask:
    """A radiograph, its pairs, and the positions of their knees if they were given."""

    radiograph: RadiographFile
    pairs: tuple[Pair, ...]
    places: Mapping[str, KneePlace]


def find_film_knees(
    task: FilmTask, clock: Clock, spacing: float | None = None, scratch: str | None = None
) -> dict[str, FoundKnee | Rejected]:
    """The knee of every pair of a film by side, or the reason for rejecting it.

    Args:
      task: the film, its pairs and given places.
      clock: adds the time of decoding and localising.
      spacing: mm per pixel if neither the table nor the file states it.
      scratch: folder for extracted archives; None: the machine's.

    Raises:
      Rejected: the film cannot be read, contradicts its table, or has no spacing.
    """
    radiograph, request = _radiograph(task.radiograph, clock, spacing, scratch)
    return _knees(task, radiograph, request, clock)


def _radiograph(
    film: RadiographFile, clock: Clock, given_spacing: float | None, scratch: str | None
) -> tuple[Radiograph, KneeRequest]:
    """The decoded radiograph, with stated side and spacing, and a request with their origins."""
    with clock("decoding"), rejecting(Reason.RADIOGRAPH_BROKEN):
        with opened(film, scratch or tempfile.gettempdir()) as path:
            radiograph = read_radiograph(path)
        if None not in (film.side, radiograph.side) and film.side != radiograph.side:
            raise InputError(
                f"{film.path}: its header says {radiograph.side}, expected {film.side} as in "
                f"{TABLE}"
            )
    stated = (
        (film.spacing, "the table's column spacing"),
        (radiograph.spacing, HEADER),
        (given_spacing, "--spacing"),
    )
    spacing, source = next((one for one in stated if one[0] is not None), (None, ""))
    if spacing is None:
        broken = "".join(f" ({doubt})" for doubt in radiograph.doubts if "PixelSpacing" in doubt)
        raise Rejected(
            Reason.SPACING_UNKNOWN,
            f"{film.path}: the pixel spacing is unknown: neither the file nor the table states it"
            f"{broken}, give --spacing=MM",
        )
    pixel = np.broadcast_to(spacing, 2).tolist()
    request = KneeRequest(
        radiograph_side_source=TABLE if radiograph.side is None else HEADER, spacing_source=source
    )
    side = film.side or radiograph.side
    return dataclasses.replace(radiograph, spacing=(pixel[0], pixel[1]), side=side), request


def _knees(
    task: FilmTask, radiograph: Radiograph, request: KneeRequest, clock: Clock
) -> dict[str, FoundKnee | Rejected]:
    """The knee of every pair by side, or the reason for rejecting it."""
    path = task.radiograph.path
    sideless = dataclasses.replace(radiograph, side=None)
    # A place that cannot be used rejects its own knee only, and so do knees that are not found.
    searches: list[tuple[set[str], Radiograph, KneeRequest]] = [
        ({side}, sideless, _at(side, place, request)) for side, place in task.places.items()
    ]
    if missing := {pair.side for pair in task.pairs} - set(task.places):
        searches.append((missing, radiograph, request))
    found: dict[str, FoundKnee | Rejected] = {}
    over_header: set[str] = set()
    with clock("localising"):
        for sides, film, asked in searches:
            try:
                with rejecting(Reason.KNEE_NOT_FOUND, path):
                    if film.side is not None and task.radiograph.side is None:
                        film, asked = _as_it_looks(film, asked)
                    found.update(_located(path, film, asked, sides))
            except Rejected as rejected:
                found.update(dict.fromkeys(sides, rejected))
            if film.side is None:
                over_header |= sides
    for side in over_header:
        found[side] = _with_doubt(found[side], request.radiograph_side_source, radiograph.side)
    return {side: _with_true_scale(path, knee) for side, knee in found.items()}


def _at(side: str, place: KneePlace, request: KneeRequest) -> KneeRequest:
    """The request for the knee at a given place."""
    line = place.joint_line if place.joint_line[0] != place.joint_line[1] else None
    return dataclasses.replace(
        request,
        side=side,
        centre=place.centre_px,
        joint_line=line,
        side_source="--places",
        centre_source="--places",
    )


def _as_it_looks(film: Radiograph, request: KneeRequest) -> tuple[Radiograph, KneeRequest]:
    """Film and request for the knee that the film clearly shows alone, whatever its header says."""
    sideless = dataclasses.replace(film, side=None)
    found = [answer for answer in knees_of(sideless, request) if isinstance(answer, FoundKnee)]
    clear = len(found) == 1 and found[0].place.side_confidence >= SURE_OF_SIDE
    if not clear or found[0].side == film.side:
        return film, request
    return sideless, dataclasses.replace(request, side=found[0].side, side_source=IMAGE)


def _located(
    path: Path, radiograph: Radiograph, request: KneeRequest, sides: Collection[str]
) -> dict[str, FoundKnee | Rejected]:
    """The knees of these sides in the radiograph."""
    found: dict[str, FoundKnee | Rejected] = {}
    answers = {answer.side: answer for answer in knees_of(radiograph, request)}
    for side in sides:
        answer = answers.get(side)
        if isinstance(answer, FoundKnee):
            found[side] = answer
        else:
            reason = f"no {side} knee was found in it" if answer is None else answer.reason
            found[side] = Rejected(Reason.KNEE_NOT_FOUND, f"{path}: {reason}")
    return found


def _with_doubt(
    knee: FoundKnee | Rejected, source: str, stated: str | None
) -> FoundKnee | Rejected:
    """Adds a doubt if a source states the other side than the place or the image."""
    if isinstance(knee, Rejected) or stated in (None, knee.side):
        return knee
    doubts = *knee.doubts, overruled(source, stated, knee.side)
    return dataclasses.replace(knee, doubts=doubts)


def _with_true_scale(path: Path, knee: FoundKnee | Rejected) -> FoundKnee | Rejected:
    """Rejects a knee whose stated spacing is impossible, because pairs need true millimetres."""
    if isinstance(knee, FoundKnee) and knee.scale is not None and knee.scale.deviation:
        return Rejected(Reason.SPACING_IMPOSSIBLE, f"{path}: {'; '.join(knee.doubts)}")
    return knee
