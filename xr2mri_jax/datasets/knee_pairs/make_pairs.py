"""Makes canonical pairs from one radiograph and the MRIs of its knees; runs in worker processes."""

import dataclasses
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from xr2mri_jax.datasets.knee_pairs.clock import Clock
from xr2mri_jax.datasets.knee_pairs.film_knees import FilmTask, find_film_knees
from xr2mri_jax.datasets.knee_pairs.rejection import Rejected, rejecting
from xr2mri_jax.datasets.outcomes import Outcome, this_worker
from xr2mri_jax.datasets.pairing_report import Pair, Reason
from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import BOX_MM, SIDES
from xr2mri_jax.io import read_volume
from xr2mri_jax.io.oai.extract import opened
from xr2mri_jax.preprocess.joint_centre.find import find_joint_centre
from xr2mri_jax.preprocess.knee_request import FoundKnee
from xr2mri_jax.preprocess.radiograph import StandardRadiograph, standardise_radiograph
from xr2mri_jax.preprocess.volume import StandardVolume, standardise_volume

# The acquired field must cover this share of a cube of CORE_MM around the joint's centre: half a
# knee, as in a truncated series, is rejected. Complete series of the protocol cover all of it.
CORE_MM, SMALLEST_FIELD = 80.0, 0.75


@dataclasses.dataclass(frozen=True)
class Settings:
    """How pairs are made: see `PairOptions`; `scratch` is a folder for extracted archives."""

    volume_shape: tuple[int, int, int]
    contrast: Mapping[str, Any]
    spacing: float | None = None
    scratch: str | None = None
    echo: int | None = None


def make_pairs(settings: Settings, task: FilmTask) -> list[Outcome]:
    """The outcomes of a task's pairs: examples, or reasons for rejection.

    Every error in a file becomes a reason: a preparation reads thousands of files, and one of them
    must not end it. Reasons from errors other than `InputError` name the error's class.

    Returns:
      One outcome per pair, under `pair_key`. An example has xray u16[h, w, 1], mri u16[d, h, w, 1],
      mask u8[d, h, w, 1], side, kl (-1 unknown), subject, visit, spacing f32[3] and record, the
      JSON text of the processing: the radiograph's and the volume's records, places and files.
    """
    clock = Clock()
    outcomes = []
    try:
        knees = find_film_knees(task, clock, settings.spacing, settings.scratch)
        failed = None
    except Rejected as rejected:
        failed = rejected
    for pair in task.pairs:
        example, reason, detail = None, "", ""
        doubts: tuple[str, ...] = ()
        try:
            if failed is not None:
                raise failed
            example, doubts = _example(settings, pair, knees[pair.side], clock)
        except Rejected as rejected:
            reason, detail = rejected.args
            # Another image of the visit may show the knee: the note names it.
            detail = "; ".join(filter(None, (detail, pair.note)))
        outcomes.append(
            Outcome(pair_key(pair), example, reason, detail, clock.taken(), this_worker(), doubts)
        )
    return outcomes


def pair_key(pair: Pair) -> str:
    """The key of a pair in the dataset: subject, side and the MRI's visit."""
    return "_".join(filter(None, pair.knee))


def _example(
    settings: Settings, pair: Pair, knee: FoundKnee | Rejected, clock: Clock
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """A pair's example, and the doubts of its radiograph and MRI, each with its file's name."""
    if isinstance(knee, Rejected):
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


def _standard_radiograph(
    settings: Settings, pair: Pair, knee: FoundKnee, clock: Clock
) -> tuple[StandardRadiograph, dict[str, Any]]:
    path = pair.radiograph.path
    with clock("standardising"), rejecting(Reason.RADIOGRAPH_BROKEN, path):
        standard = standardise_radiograph(
            knee.radiograph, settings.volume_shape[1:], knee.place.centre_px, settings.contrast
        )
    about = {"file": str(path), "visit": pair.radiograph.visit, "knee": knee.record()}
    return standard, about | standard.record


def _standard_volume(
    settings: Settings, pair: Pair, clock: Clock
) -> tuple[StandardVolume, dict[str, Any]]:
    source = pair.series.path
    scratch = settings.scratch or tempfile.gettempdir()
    with (
        clock("decoding"),
        rejecting(Reason.MRI_BROKEN, source),
        opened(pair.series, scratch) as path,
    ):
        volume = read_volume(path, settings.echo, pair.side)
        if volume.side not in (None, pair.side):
            raise InputError(
                f"{source}: its header says {volume.side}, expected {pair.side} as in the "
                "collection's table"
            )
    said = "".join(f"; {doubt}" for doubt in volume.doubts)
    with clock("localising"), rejecting(Reason.JOINT_NOT_FOUND, source, said):
        joint = find_joint_centre(volume, pair.side)
    with clock("standardising"), rejecting(Reason.MRI_BROKEN, source):
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
        raise Rejected(
            Reason.MRI_FIELD,
            f"{source}: the MRI shows {share:.0%} of the {CORE_MM:g} mm around the joint's centre, "
            f"expected at least {SMALLEST_FIELD:.0%}: is the series truncated?{said}",
        )
