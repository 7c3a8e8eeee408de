"""The grade of a knee by a grader of more than two grades: probabilities, grade, set of grades."""

import dataclasses

import numpy as np

from xr2mri_jax.inference.knee_grader.file_format import KneeGrader
from xr2mri_jax.metrics import conformal
from xr2mri_jax.metrics.calibration import AS_IS


@dataclasses.dataclass(frozen=True)
class GradeReading:
    """The Kellgren-Lawrence grade of a knee.

    Attributes:
      grade: the most likely one.
      probabilities: by grade, sum 1.
      expected_grade: the mean of the grades, weighted by their probabilities.
      grade_set: neighbouring grades that contain the true one in 9 of 10 knees of each grade; None
        if the grader is not calibrated.
    """

    grade: int
    probabilities: dict[int, float]
    expected_grade: float
    grade_set: tuple[int, ...] | None = None

    @property
    def text(self) -> str:
        """The grade and its set in words, such as "2 (1 or 2)"."""
        if self.grade_set is None:
            return str(self.grade)
        *first, last = map(str, self.grade_set)
        return f"{self.grade} ({', '.join(first)} or {last})" if first else f"{self.grade}"


def readings(logits: np.ndarray, grader: KneeGrader) -> list[GradeReading]:
    """The readings of the logits f64[b, k] of a grader."""
    calibration = grader.calibration
    scaling = AS_IS if calibration is None else calibration.scaling
    probability = scaling.probabilities(logits)
    grades = np.asarray(grader.grades)
    limits = None if calibration is None else calibration.set_limits
    included = None if limits is None else conformal.sets(probability, limits)
    return [
        GradeReading(
            int(grades[row.argmax()]),
            dict(zip(grades.tolist(), row.tolist(), strict=True)),
            float(row @ grades),
            None if included is None else tuple(grades[included[place]].tolist()),
        )
        for place, row in enumerate(probability)
    ]
