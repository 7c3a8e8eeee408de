"""Counts images other than upright frontal knees that are detected while 95 % of knees are kept.

An image is detected if the knee finder refuses it, or if the grader's distance to its training
radiographs is above a limit. The limit keeps 95 % of one half of the real crops.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import Radiograph
from xr2mri_jax.inference.framing import FramedKnee, frame_knees
from xr2mri_jax.inference.knee_grader.file_format import KneeGrader
from xr2mri_jax.inference.knee_grader.load import load_grader
from xr2mri_jax.inference.knee_grader.network import Network
from xr2mri_jax.io import read_radiograph
from xr2mri_jax.preprocess.knee_request import KneeRequest
from xr2mri_jax.preprocess.knees import DARK_BONE
from xr2mri_jax.runtime.progress import progress
from xr2mri_jax.tools.benchmarks.knee_finder import films
from xr2mri_jax.tools.benchmarks.strange_films import strange_films
from xr2mri_jax.tools.fit_knee_finder.hard_examples import lateral_views
from xr2mri_jax.tools.fit_knee_finder.pictures import read_crops

KEPT = 0.95
# Different from the seed of the knee finder's training.
SEED = 61_000
CHANGED = 50  # number of real crops per change


def run(real: Path | None, count: int, images: int) -> dict[str, Any]:
    """Measures all kinds.

    Args:
      real: folder with `knee_xray_kl/val` and, optionally, `dicom_xray`.
      count: phantom films and side views, 1 or more.
      images: real crops, evenly spaced among those of the folder, 4 or more.

    Returns:
      The report, JSON-able: kept, limit, calibration_crops, and real and kinds (by name) with n,
      refused, above (the limit), told (either) and inverted (neither: recognised as dark bone and
      inverted, with a warning).

    Raises:
      InputError: no folder or no crops in it.
    """
    if real is None:
        raise InputError("--real is missing: expected a folder with knee_xray_kl/val")
    crops = read_crops(real / "knee_xray_kl" / "val").images
    # Files are sorted by grade: an even spacing covers all grades.
    crops = crops[np.linspace(0, len(crops) - 1, min(images, len(crops))).astype(np.int64)]
    grader = load_grader(None)
    network = Network(grader, 8)
    first, second = (
        [
            _distance(Radiograph(image), grader, network)
            for image in progress(part, "real crops", "crop", len(part))
        ]
        for part in (crops[::2], crops[1::2])
    )
    known = [one[0] for one in first if one is not None]
    limit = float(np.quantile([*known, *[np.inf] * (len(first) - len(known))], KEPT))
    kinds = {
        name: _counts(
            [
                _distance(image, grader, network)
                for image in progress(images, name, "radiograph", len(images))
            ],
            limit,
        )
        for name, images in _kinds(crops[1::2], real, count).items()
    }
    return {
        "kept": KEPT,
        "limit": limit,
        "calibration_crops": len(first),
        "real": _counts(second, limit),
        "kinds": kinds,
    }


def table(report: Mapping[str, Any]) -> str:
    """The report in lines."""
    rows = {"real knees (should be kept)": report["real"], **report["kinds"]}
    lines = [
        f"limit {report['limit']:.3f}, which keeps {report['kept']:.0%} of "
        f"{report['calibration_crops']} other real crops"
    ]
    for name, row in rows.items():
        lines.append(
            f"{name}: {row['told']} of {row['n']} detected ({row['told'] / row['n']:.1%}): "
            f"{row['refused']} refused, {row['above']} above the limit; of the others "
            f"{row['inverted']} inverted with a warning"
        )
    return "\n".join(lines)


def _kinds(crops: np.ndarray, real: Path, count: int) -> dict[str, list[Radiograph]]:
    chosen = crops[:: max(1, len(crops) // CHANGED)][:CHANGED]
    rng = np.random.default_rng(SEED)
    kinds = {
        "wrong polarity": [Radiograph(255 - image) for image in chosen],
        "upside down": [Radiograph(image[::-1, ::-1]) for image in chosen],
        "on its side": [Radiograph(np.rot90(image)) for image in chosen],
        "side view (phantom)": [
            Radiograph(view.image) for view in lateral_views(SEED, -(-count // 3), rng)[:count]
        ],
        "frontal phantom": [radiograph for _, radiograph in films(count)],
        "no radiograph, other part (drawn)": list(strange_films().values()),
    }
    others = sorted((real / "dicom_xray").glob("*.dcm"))
    if others:
        kinds["other part (real)"] = [read_radiograph(path) for path in others]
    return kinds


def _distance(
    radiograph: Radiograph, grader: KneeGrader, network: Network
) -> tuple[float, bool] | None:
    """The least distance of the knees found, and whether one was inverted; None without knees."""
    assert grader.novelty_detector is not None  # a shipped grader has one
    try:
        answers = frame_knees(radiograph, grader.image_shape, grader.contrast, KneeRequest())
    except InputError:
        return None
    knees = [one for one in answers if isinstance(one, FramedKnee)]
    found = [grader.novelty_detector.distance(network(knee.image[None])[1])[0] for knee in knees]
    return (float(min(found)), any(DARK_BONE in knee.notes for knee in knees)) if found else None


def _counts(found: list[tuple[float, bool] | None], limit: float) -> dict[str, int]:
    refused = sum(one is None for one in found)
    above = sum(one is not None and one[0] > limit for one in found)
    inverted = sum(one is not None and one[0] <= limit and one[1] for one in found)
    counts = {"refused": refused, "above": above, "told": refused + above, "inverted": inverted}
    return {"n": len(found), **counts}
