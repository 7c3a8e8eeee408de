"""Framed knees to the rows of the table: probability, distance, grade, what is doubtful."""

from collections.abc import Sequence

import numpy as np

from xr2mri_jax.inference.framing import FramedKnee
from xr2mri_jax.inference.grade_reading import GradeReader, GradeReading, readings
from xr2mri_jax.inference.grade_table import GradedKnee
from xr2mri_jax.inference.knee_grader.form import KneeGrader
from xr2mri_jax.inference.knee_grader.network import Network, positive_probability
from xr2mri_jax.inference.volume_grade import disagreement


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
        logits, features = network(images)
        read = _readings(images, logits, grader, reader)
        calibration, likeness = grader.calibration, grader.likeness
        temperature = 1.0 if calibration is None else calibration.temperature
        probability = positive_probability(logits, temperature).tolist()
        distance = [None] * len(part) if likeness is None else likeness.distance(features).tolist()
        for knee, p, d, found in zip(part, probability, distance, read, strict=True):
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
                )
            )
    return rows


def _readings(
    images: np.ndarray, logits: np.ndarray, grader: KneeGrader, reader: GradeReader | None
) -> Sequence[GradeReading | None]:
    """The grades by the reader, else by the grader itself where it tells more than two."""
    if reader is not None:
        return reader(images)
    return readings(logits, grader) if len(grader.grades) > 2 else [None] * len(images)
