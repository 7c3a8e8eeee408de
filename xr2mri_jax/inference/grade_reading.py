"""The grade of a knee by a grader of more than two grades: probabilities, grade, set of grades."""

import dataclasses

import numpy as np
from scipy import special

from xr2mri_jax.inference.knee_grader.form import KneeGrader
from xr2mri_jax.inference.knee_grader.network import Network, Seen
from xr2mri_jax.metrics import conformal
from xr2mri_jax.models.siamese_gap_inference import NOTHING


@dataclasses.dataclass(frozen=True)
class GradeReading:
    """The Kellgren-Lawrence grade of a knee.

    Attributes:
      grade: the most likely one.
      probabilities: by grade, sum 1.
      expected_grade: the mean of the grades, weighted by their probabilities.
      grade_set: neighbouring grades that contain the true one in 9 of 10 knees; None if the grader
        is not calibrated.
    """

    grade: int
    probabilities: dict[int, float]
    expected_grade: float
    grade_set: tuple[int, ...] | None = None

    @property
    def said(self) -> str:
        """The grade and its set in words, such as "2 (1 or 2)"."""
        if self.grade_set is None:
            return str(self.grade)
        *first, last = map(str, self.grade_set)
        return f"{self.grade} ({', '.join(first)} or {last})" if first else f"{self.grade}"


@dataclasses.dataclass(frozen=True)
class GradeReader:
    """A grader of more than two grades beside one of two, compiled for the same batches."""

    grader: KneeGrader
    network: Network

    @classmethod
    def beside(
        cls,
        grader: KneeGrader,
        other: KneeGrader,
        batch_size: int,
        told: str = NOTHING,
        many: bool = True,
        one_core: bool = False,
    ) -> "GradeReader":
        """The reader of `other`; ValueError unless it sees radiographs as `grader` does.

        Args:
          grader: beside which it reads.
          other: of more than two grades.
          batch_size, told, many, one_core: of its network.
        """
        if grader.image_shape != other.image_shape:
            raise ValueError(f"radiographs of {grader.image_shape} and of {other.image_shape}")
        return cls(other, Network(other, batch_size, told, many, one_core))

    def __call__(self, xray: np.ndarray) -> list[GradeReading]:
        """The readings of radiographs f32[b, h, w, 1] in [0, 1], at most the batch size."""
        return self.see(xray)[0]

    def see(self, xray: np.ndarray) -> tuple[list[GradeReading], Seen]:
        """The readings, and what the network told."""
        seen = self.network.see(xray)
        return readings(seen.logits, self.grader), seen


def readings(logits: np.ndarray, grader: KneeGrader) -> list[GradeReading]:
    """The readings of the logits f64[b, k] of a grader."""
    calibration = grader.calibration
    temperature = 1.0 if calibration is None else calibration.temperature
    probability = special.softmax(logits / temperature, axis=1)
    grades = np.asarray(grader.grades)
    limit = None if calibration is None else calibration.set_limit
    included = None if limit is None else conformal.sets(probability, limit)
    return [
        GradeReading(
            int(grades[row.argmax()]),
            dict(zip(grades.tolist(), row.tolist(), strict=True)),
            float(row @ grades),
            None if included is None else tuple(grades[included[place]].tolist()),
        )
        for place, row in enumerate(probability)
    ]
