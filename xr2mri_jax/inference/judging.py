"""Framed knees to the rows of the table: probability, distance, grade, what is doubtful."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from xr2mri_jax.inference.framing import FramedKnee
from xr2mri_jax.inference.grade_reading import GradeReader, GradeReading, readings
from xr2mri_jax.inference.grade_table import GradedKnee
from xr2mri_jax.inference.knee_grader.form import KneeGrader
from xr2mri_jax.inference.knee_grader.network import Network, Seen, positive_probability
from xr2mri_jax.inference.knee_maps import KneeMaps
from xr2mri_jax.inference.volume_grade import disagreement

Maps = tuple[np.ndarray, ...] | None


def judged(
    knees: Sequence[FramedKnee],
    grader: KneeGrader,
    network: Network,
    reader: GradeReader | None = None,
) -> list[GradedKnee]:
    """The rows of framed knees, without file and picture.

    Args:
      knees: as the network takes them.
      grader, network: of the probability of early osteoarthritis.
      reader: of the grade; None: as the grader itself tells it.
    """
    rows = []
    for first in range(0, len(knees), network.batch_size):
        part = knees[first : first + network.batch_size]
        images = np.stack([knee.image for knee in part])
        (logits, features, maps), read, of_grades = _seen(images, grader, network, reader)
        calibration, likeness = grader.calibration, grader.likeness
        temperature = 1.0 if calibration is None else calibration.temperature
        probability = positive_probability(logits, temperature).tolist()
        distance = [None] * len(part) if likeness is None else likeness.distance(features).tolist()
        for place, (knee, p, d, found) in enumerate(
            zip(part, probability, distance, read, strict=True)
        ):
            notes = list(knee.notes)
            if d is not None and d > 1:
                notes.append(
                    f"unlike the training radiographs (distance {d:.2f}, below 1 for 99 % of "
                    "similar radiographs)"
                )
            if knee.volume_space_mm is not None and found is not None:
                notes += filter(None, [disagreement(found.grade, knee.volume_space_mm)])
            if calibration is None:
                notes.append("the probability is not calibrated")
            positive = None if calibration is None else p >= calibration.threshold
            rows.append(
                GradedKnee(
                    "",
                    knee.side,
                    p,
                    "; ".join(notes),
                    d,
                    positive,
                    joint_space_mm=knee.joint_space_mm,
                    joint_space_share=knee.joint_space_share,
                    volume_space_mm=knee.volume_space_mm,
                    reading=found,
                    maps=_maps_of(place, maps, of_grades),
                )
            )
    return rows


def _seen(
    images: np.ndarray, grader: KneeGrader, network: Network, reader: GradeReader | None
) -> tuple[Seen, Sequence[GradeReading | None], Maps]:
    """What the grader's network sees, the readings, and the maps of the reader's network.

    The readings are those of the reader, else of the grader itself where it tells more than two
    grades. Both networks run at the same time, each of them on little more than one core, unless
    the networks keep to one core because several batches are judged at a time.
    """
    if reader is None:
        seen = network.see(images)
        alone = len(grader.grades) > 2
        return seen, readings(seen.logits, grader) if alone else [None] * len(images), None
    if network.one_core:
        read, of_grades = reader.see(images)
        return network.see(images), read, of_grades.maps
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(reader.see, images)
        seen = network.see(images)
        read, of_grades = reading.result()
    return seen, read, of_grades.maps


def _maps_of(place: int, blocks: Maps, boundaries: Maps) -> KneeMaps | None:
    """The maps of a knee of the batch; None where no network told any."""
    if not blocks and not boundaries:
        return None
    told = (tuple(one[place] for one in maps) if maps else None for maps in (blocks, boundaries))
    return KneeMaps(*told)
