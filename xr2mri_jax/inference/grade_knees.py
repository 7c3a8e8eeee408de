"""Grades framed knees: probability, novelty score, grade and notes, one table row per knee."""

from collections.abc import Sequence

import numpy as np

from xr2mri_jax.inference import novelty
from xr2mri_jax.inference.framing import FramedKnee
from xr2mri_jax.inference.grade_reading import readings
from xr2mri_jax.inference.grade_table import GradedKnee
from xr2mri_jax.inference.knee_grader.file_format import KneeGrader
from xr2mri_jax.inference.knee_grader.network import Network, early_probability
from xr2mri_jax.inference.knee_maps import KneeMaps
from xr2mri_jax.inference.volume_grade import disagreement
from xr2mri_jax.metrics.calibration import AS_IS
from xr2mri_jax.models.siamese_gap_inference import BLOCKS, BOUNDARIES

Maps = dict[str, tuple[np.ndarray, ...]] | None


def grade_knees(
    knees: Sequence[FramedKnee],
    grader: KneeGrader,
    network: Network,
) -> list[GradedKnee]:
    """Grades framed knees; the rows have no file and picture yet.

    Args:
      knees: as the network takes them.
      grader: one of two grades gives only the probability of early osteoarthritis.
      network: of the grader.
    """
    calibration, novelty_detector = grader.calibration, grader.novelty_detector
    scaling = AS_IS if calibration is None else calibration.scaling
    rows = []
    for first in range(0, len(knees), network.batch_size):
        part = knees[first : first + network.batch_size]
        images = np.stack([knee.image for knee in part])
        logits, features, maps = network.predict(images)
        probability = early_probability(logits, grader.grades, scaling).tolist()
        read = readings(logits, grader) if len(grader.grades) > 2 else [None] * len(part)
        distance = (
            [None] * len(part)
            if novelty_detector is None
            else novelty_detector.distance(features).tolist()
        )
        for place, (knee, p, d, found) in enumerate(
            zip(part, probability, distance, read, strict=True)
        ):
            notes = [*knee.notes, *novelty.doubts(d)]
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
                    scale_estimated=knee.scale_estimated,
                    reading=found,
                    maps=_maps_of(place, maps),
                )
            )
    return rows


def _maps_of(place: int, maps: Maps) -> KneeMaps | None:
    """The maps of a knee of the batch; None if the network computed none."""
    if not maps:
        return None
    kinds = (
        tuple(one[place] for one in maps[name]) if name in maps else None
        for name in (BLOCKS, BOUNDARIES)
    )
    return KneeMaps(*kinds)
