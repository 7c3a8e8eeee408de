"""Makes canonical pairs from one radiograph and the MRIs of its knees; runs in worker processes."""

import contextlib
import dataclasses
import json
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from xr2mri_jax.datasets.outcomes import Outcome, this_worker
from xr2mri_jax.datasets.pairing_report import Pair, Reason
from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import BOX_MM, SIDES, KneePlace, Radiograph
from xr2mri_jax.io import read_radiograph, read_volume
from xr2mri_jax.io.oai.extract import opened
from xr2mri_jax.io.records import RadiographFile
from xr2mri_jax.preprocess.joint_centre.find import find_joint_centre
from xr2mri_jax.preprocess.knee_request import FoundKnee, KneeRequest
from xr2mri_jax.preprocess.knees import knees_of
from xr2mri_jax.preprocess.radiograph import StandardRadiograph, standardise_radiograph
from xr2mri_jax.preprocess.scale import HEADER
from xr2mri_jax.preprocess.volume import StandardVolume, standardise_volume

# The acquired field must cover this share of a cube of CORE_MM around the joint's centre: half a
# knee, as in a truncated series, is rejected. Complete series of the protocol cover all of it.
CORE_MM, SMALLEST_FIELD = 80.0, 0.75


@dataclasses.dataclass(frozen=True)
class FilmTask:
    """A radiograph, its pairs, and the positions of their knees if they were given."""

    radiograph: RadiographFile
    pairs: tuple[Pair, ...]
    places: Mapping[str, KneePlace]


@dataclasses.dataclass(frozen=True)
class Settings:
    """How pairs are made: see `PairOptions`; `scratch` is a folder for extracted archives."""

    volume_shape: tuple[int, int, int]
    contrast: Mapping[str, Any]
    spacing: float | None = None
    scratch: str | None = None
    echo: int | None = None


class _Rejected(Exception):
    """A knee that cannot be used: (reason, detail)."""


def make_pairs(settings: Settings, task: FilmTask) -> list[Outcome]:
    """The outcomes of a task's pairs: examples, or reasons for rejection.

    Every error in a file becomes a reason: a preparation reads thousands of files, and one of them
    must not end it. Reasons from errors other than `InputError` name the error's class.

    Returns:
      One outcome per pair, under `pair_key`. An example has xray u16[h, w, 1], mri u16[d, h, w, 1],
      mask u8[d, h, w, 1], side, kl (-1 unknown), subject, visit, spacing f32[3] and record, the
      JSON text of the processing: the radiograph's and the volume's records, places and files.
    """
    clock = _Clock()
    outcomes = []
    try:
        knees = _knees(task, *_radiograph(settings, task, clock), clock)
        failed = None
    except _Rejected as rejected:
        failed = rejected
    for pair in task.pairs:
        example, reason, detail = None, "", ""
        doubts: tuple[str, ...] = ()
        try:
            if failed is not None:
                raise failed
            example, doubts = _example(settings, pair, knees[pair.side], clock)
        except _Rejected as rejected:
            reason, detail = rejected.args
        outcomes.append(
            Outcome(pair_key(pair), example, reason, detail, clock.taken(), this_worker(), doubts)
        )
    return outcomes


def pair_key(pair: Pair) -> str:
    """The key of a pair in the dataset: subject, side and the MRI's visit."""
    return "_".join(filter(None, pair.knee))


def _example(
    settings: Settings, pair: Pair, knee: FoundKnee | _Rejected, clock: "_Clock"
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """A pair's example, and the doubts of its radiograph and MRI, each with its file's name."""
    if isinstance(knee, _Rejected):
        raise knee
    xray, film_record = _standard_radiograph(settings, pair, knee, clock)
    scan, scan_record = _standard_volume(settings, pair, clock)
    with clock("encoding"):
        record = {
            "subject": pair.subject,
            "side": pair.side,
            "radiograph": film_record,
            "mri": scan_record,
            "gap_months": pair.gap,
        }
        doubts = tuple(
            f"{Path(part['file']).name}: {doubt}"
            for part, said in (
                (film_record, film_record["knee"]["doubts"]),
                (scan_record, scan_record["doubts"]),
            )
            for doubt in said
        )
        example = {
            "xray": np.rint(xray.image * 65535).astype(np.uint16),
            "mri": np.rint(scan.array * 65535).astype(np.uint16)[..., None],
            "mask": scan.mask.astype(np.uint8)[..., None],
            "side": SIDES.index(pair.side),
            "kl": -1 if pair.kl is None else pair.kl,
            "subject": pair.subject,
            "visit": pair.visit,
            "spacing": np.divide(BOX_MM, settings.volume_shape).astype(np.float32),
            "record": json.dumps(record, sort_keys=True),
        }
        return example, doubts


def _radiograph(settings: Settings, task: FilmTask, clock: "_Clock") -> tuple[Radiograph, str]:
    """The decoded radiograph, with the table's side and the spacing, and the spacing's origin."""
    film = task.radiograph
    with clock("decoding"), _rejecting(Reason.RADIOGRAPH_BROKEN):
        with opened(film, settings.scratch or tempfile.gettempdir()) as path:
            radiograph = read_radiograph(path)
        if None not in (film.side, radiograph.side) and film.side != radiograph.side:
            raise InputError(
                f"{film.path}: its header says {radiograph.side}, expected {film.side} as in the "
                "collection's table"
            )
    stated = (
        (film.spacing, "the table's column spacing"),
        (radiograph.spacing, HEADER),
        (settings.spacing, "--spacing"),
    )
    spacing, source = next((one for one in stated if one[0] is not None), (None, ""))
    if spacing is None:
        broken = "".join(f" ({doubt})" for doubt in radiograph.doubts if "PixelSpacing" in doubt)
        raise _Rejected(
            Reason.SPACING_UNKNOWN,
            f"{film.path}: the pixel spacing is unknown: neither the file nor the table states it"
            f"{broken}, give --spacing=MM",
        )
    pixel = np.broadcast_to(spacing, 2).tolist()
    return dataclasses.replace(radiograph, spacing=(pixel[0], pixel[1]), side=film.side), source


def _knees(
    task: FilmTask, radiograph: Radiograph, spacing_source: str, clock: "_Clock"
) -> dict[str, FoundKnee | _Rejected]:
    """The knee of every pair by side, or the reason for rejecting it."""
    path = task.radiograph.path
    sideless = dataclasses.replace(radiograph, side=None)
    request = KneeRequest(spacing_source=spacing_source)
    # A place that cannot be used rejects its own knee only, and so do knees that are not found.
    searches: list[tuple[set[str], Radiograph, KneeRequest]] = [
        ({side}, sideless, _at(side, place, request)) for side, place in task.places.items()
    ]
    if missing := {pair.side for pair in task.pairs} - set(task.places):
        searches.append((missing, radiograph, request))
    found: dict[str, FoundKnee | _Rejected] = {}
    with clock("localising"):
        for sides, film, asked in searches:
            try:
                with _rejecting(Reason.KNEE_NOT_FOUND, path):
                    found.update(_located(path, film, asked, sides))
            except _Rejected as rejected:
                found.update(dict.fromkeys(sides, rejected))
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


def _located(
    path: Path, radiograph: Radiograph, request: KneeRequest, sides: Collection[str]
) -> dict[str, FoundKnee | _Rejected]:
    """The knees of these sides in the radiograph."""
    found: dict[str, FoundKnee | _Rejected] = {}
    answers = {answer.side: answer for answer in knees_of(radiograph, request)}
    for side in sides:
        answer = answers.get(side)
        if isinstance(answer, FoundKnee):
            found[side] = answer
        else:
            reason = f"no {side} knee was found in it" if answer is None else answer.reason
            found[side] = _Rejected(Reason.KNEE_NOT_FOUND, f"{path}: {reason}")
    return found


def _with_true_scale(path: Path, knee: FoundKnee | _Rejected) -> FoundKnee | _Rejected:
    """Rejects a knee whose stated spacing is impossible, because pairs need true millimetres."""
    if isinstance(knee, FoundKnee) and knee.scale is not None and knee.scale.deviation:
        return _Rejected(Reason.SPACING_IMPOSSIBLE, f"{path}: {'; '.join(knee.doubts)}")
    return knee


def _standard_radiograph(
    settings: Settings, pair: Pair, knee: FoundKnee, clock: "_Clock"
) -> tuple[StandardRadiograph, dict[str, Any]]:
    path = pair.radiograph.path
    with clock("standardising"), _rejecting(Reason.RADIOGRAPH_BROKEN, path):
        standard = standardise_radiograph(
            knee.radiograph, settings.volume_shape[1:], knee.place.centre_px, settings.contrast
        )
    about = {"file": str(path), "visit": pair.radiograph.visit, "knee": knee.record()}
    return standard, about | standard.record


def _standard_volume(
    settings: Settings, pair: Pair, clock: "_Clock"
) -> tuple[StandardVolume, dict[str, Any]]:
    source = pair.series.path
    scratch = settings.scratch or tempfile.gettempdir()
    with (
        clock("decoding"),
        _rejecting(Reason.MRI_BROKEN, source),
        opened(pair.series, scratch) as path,
    ):
        volume = read_volume(path, settings.echo)
        if volume.side not in (None, pair.side):
            raise InputError(
                f"{source}: its header says {volume.side}, expected {pair.side} as in the "
                "collection's table"
            )
    said = "".join(f"; {doubt}" for doubt in volume.doubts)
    with clock("localising"), _rejecting(Reason.JOINT_NOT_FOUND, source, said):
        joint = find_joint_centre(volume, pair.side)
    with clock("standardising"), _rejecting(Reason.MRI_BROKEN, source):
        standard = standardise_volume(
            volume,
            pair.side,
            joint.centre_mm,
            settings.volume_shape,
        )
    _require_field(standard.mask, source, said)
    about = {
        "file": str(source),
        "visit": pair.visit,
        "sequence": pair.series.sequence,
        "joint_centre": dataclasses.asdict(joint),
        "doubts": list(volume.doubts),
    }
    return standard, about | standard.record


def _require_field(mask: np.ndarray, source: Any, said: str) -> None:
    """Rejects an MRI whose field covers too little of the joint; `said` is added to the reason."""
    core = tuple(
        slice(round(n * (1 - CORE_MM / box) / 2), round(n * (1 + CORE_MM / box) / 2))
        for n, box in zip(mask.shape, BOX_MM, strict=True)
    )
    share = float(mask[core].mean())
    if share < SMALLEST_FIELD:
        raise _Rejected(
            Reason.MRI_FIELD,
            f"{source}: the MRI shows {share:.0%} of the {CORE_MM:g} mm around the joint's centre, "
            f"expected at least {SMALLEST_FIELD:.0%}: is the series truncated?{said}",
        )


@contextlib.contextmanager
def _rejecting(reason: Reason, source: Any = None, said: str = "") -> Iterator[None]:
    """Turns errors within into a rejection of one line that names the file.

    `said`, the earlier decisions, is added to it.
    """
    try:
        yield
    except _Rejected:
        raise
    except Exception as error:
        text = " ".join(str(error).split())
        if not isinstance(error, InputError):
            text = f"{type(error).__name__}: {text}"
        if source is not None and str(source) not in text:
            text = f"{source}: {text}"
        raise _Rejected(reason, text + said) from error


class _Clock:
    """Adds up seconds by kind of work: `with clock("decoding"): ...`."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def __call__(self, kind: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - start
            self._seconds[kind] = self._seconds.get(kind, 0.0) + spent

    def taken(self) -> dict[str, float]:
        """The seconds since the last call."""
        seconds, self._seconds = self._seconds, {}
        return seconds
