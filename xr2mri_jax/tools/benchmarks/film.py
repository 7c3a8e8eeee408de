"""Compares simulated radiographs with real ones of the same knees by the shipped grader.

The segmentation of a real knee is projected like the family's knees, and the network that grades
real radiographs is applied to it and to the real film of the same knee.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xr2mri_jax.errors import InputError
from xr2mri_jax.evaluation.real_pairs.knees import in_threads
from xr2mri_jax.evaluation.real_pairs.table import Pair
from xr2mri_jax.inference import read_ahead
from xr2mri_jax.inference.framing import FramedKnee, frame_knees
from xr2mri_jax.inference.grade_reading import readings
from xr2mri_jax.inference.knee_grader.file_format import KneeGrader
from xr2mri_jax.inference.knee_grader.load import load_grader
from xr2mri_jax.inference.knee_grader.network import Network
from xr2mri_jax.preprocess.knee_request import KneeRequest
from xr2mri_jax.runtime.progress import progress
from xr2mri_jax.simulation import atlas, family, poses, projection
from xr2mri_jax.simulation.framing import Frame
from xr2mri_jax.simulation.knee_labels import read_knee
from xr2mri_jax.tools.benchmarks.anatomy import known_maps

FLEXIONS_DEG = (-16.0, -8.0, 0.0, 8.0, 16.0, 24.0)
DRAWN, REAL = "as drawn", "real film"
_BONES = tuple(atlas.GROUPS)
_SEED, BATCH = 13, 4


def run(real: Path | None, flexions: Sequence[float] = FLEXIONS_DEG) -> dict[str, Any]:
    """Projects the segmentations of real pairs and grades them beside their films.

    Args:
      real: folder as for the suite "anatomy"; the pairs with a radiograph are used.
      flexions: flexion of the femur against its pose in the scan, degrees; in addition, it is
        flexed like the family's knees.

    Returns:
      knees, and by row (REAL, DRAWN, a flexion) the result of `compared`.

    Raises:
      InputError: no folder, or a file of it that cannot be used.
    """
    every, _, bred = known_maps(real)
    pairs = [pair for pair in every if pair.xray]
    if not pairs:
        raise InputError(f"--real={real}: found no pair with a radiograph")
    grader = load_grader()
    network = Network(grader, BATCH)
    bones = in_threads(_bones, pairs, "segmentations", "map")
    films = np.stack([_film(pair, grader) for pair in pairs])
    read = grade_images(network, grader, films)
    found = {REAL: compared(read, read)}
    bends = {DRAWN: poses.FLEXION_DEG} | {f"{angle:g}": (angle, angle) for angle in flexions}
    for name, bent in bends.items():
        bar = progress(bones, f"films, {name}", "knee", len(bones))
        made = [simulated(bred, one, bent, number) for number, one in enumerate(bar)]
        found[name] = compared(grade_images(network, grader, np.stack(made)), read)
    return {"knees": len(pairs), "rows": found}


def simulated(
    bred: atlas.Atlas,
    bones: Mapping[str, np.ndarray],
    flexion_deg: tuple[float, float],
    number: int,
) -> np.ndarray:
    """f32[FILM_PIXELS, FILM_PIXELS] in [0, 1]: a knee's film, equally random for every flexion.

    Args:
      bred: provides the soft tissue, and the fibula, which segmentations may lack.
      bones: f32[SIZE, SIZE, SIZE] by name of _BONES, mm.
      flexion_deg: range from which the femur's flexion is drawn.
      number: of the knee, seeds the random numbers.
    """
    rng = np.random.default_rng([_SEED, number])
    points = poses.plateau_points(bones["tibia"])
    space = poses.gaps(bones["femur"], points, poses.STILL)
    lying = poses.STILL
    pose = poses.draw_radiograph_pose(bones["femur"], points, lying, lying, space, rng, flexion_deg)
    whole = {**bones, "fibula": bred.distances["fibula"][0]}
    knee = projection.Standing(whole, pose, family.zoom_of(bones["tibia"]))
    frame = Frame.mean()
    soft = bred.path[int(rng.integers(len(bred.path)))]
    backward = frame.backward(knee.zoom)
    return projection.radiograph(knee, backward, frame, soft, family.FILM_PIXELS, rng)


def grade_images(
    network: Network, grader: KneeGrader, images: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Expected grade f64[n] and distance to the training radiographs f64[n] of f32[n, h, w]."""
    batches = np.split(images, range(BATCH, len(images), BATCH))
    outputs = [network(batch[..., None]) for batch in batches]
    logits, features = (np.concatenate(parts) for parts in zip(*outputs, strict=True))
    grades = np.array([one.expected_grade for one in readings(logits, grader)])
    assert grader.novelty_detector is not None
    return grades, grader.novelty_detector.distance(features)


def compared(
    found: tuple[np.ndarray, np.ndarray], real: tuple[np.ndarray, np.ndarray]
) -> dict[str, float]:
    """Compares results of `grade_images`: r and mean difference of expected grades, distance."""
    grades, distances = found
    return {
        "r": float(np.corrcoef(grades, real[0])[0, 1]),
        "difference": float((grades - real[0]).mean()),
        "distance": float(np.median(distances)),
    }


def table(report: Mapping[str, Any]) -> str:
    """The report as a table in Markdown."""
    lines = [
        f"| {report['knees']} knees | expected grade: r with the real film's | its difference | "
        "distance to the training radiographs |",
        "|---|---|---|---|",
    ]
    for name, row in report["rows"].items():
        title = name if name in (REAL, DRAWN) else f"flexed by {name}°"
        lines.append(
            f"| {title} | {row['r']:.2f} | {row['difference']:+.2f} | {row['distance']:.2f} |"
        )
    return "\n".join(lines)


def _bones(pair: Pair) -> dict[str, np.ndarray]:
    found = atlas.measured(read_knee(pair.labels, pair.side).volume, pair.side, _BONES)
    missing = set(_BONES) - set(found)
    if missing:
        raise InputError(f"{pair.labels}: lacks {', '.join(sorted(missing))}")
    return found


def _film(pair: Pair, grader: KneeGrader) -> np.ndarray:
    """The real film, f32[h, w], framed as by `grade`."""
    assert pair.xray is not None
    answers = frame_knees(
        read_ahead.decode_radiograph(pair.xray),
        grader.image_shape,
        grader.contrast,
        KneeRequest(pair.side),
    )
    framed = [answer for answer in answers if isinstance(answer, FramedKnee)]
    if len(framed) != 1:
        raise InputError(f"{pair.xray}: found {len(framed)} knees, expected 1")
    return framed[0].image[..., 0]
