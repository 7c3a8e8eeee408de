"""The table of graded knees."""

import dataclasses
import math
import os
from pathlib import Path

from xr2mri_jax.inference.grade_reading import GradeReading
from xr2mri_jax.inference.knee_maps import KneeMaps
from xr2mri_jax.inference.row_file import RowFile
from xr2mri_jax.inference.volume_grade import grade_range, suggested_grades

COLUMNS = (
    "file", "side", "probability_kl2", "warning", "distance", "at_threshold", "picture",
    "joint_space_medial_mm", "joint_space_lateral_mm",
    "grade", *(f"probability_{grade}" for grade in range(5)), "expected_grade", "grade_set",
    "joint_space_medial_share", "joint_space_lateral_share",
    "volume_joint_space_medial_mm", "volume_joint_space_lateral_mm", "volume_grade",
    "joint_space_scale",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class GradedKnee:
    """A row.

    Attributes:
      file: path below the given folder.
      side: "left" or "right", or "" if nothing was graded.
      probability: of Kellgren-Lawrence grade 2 (against 0) in [0, 1]; None if not graded.
      warning: the reason for not grading, or doubtful decisions; "" for none.
      distance: novelty score, above 1 for 1 % of radiographs like those of the training; None if
        unknown.
      positive: whether the probability reaches the threshold for a sensitivity of 0.9; None if
        there is no threshold.
      picture: path of the knee's picture; None if none was drawn.
      joint_space_mm: (medial, lateral), measured in the radiograph; None if not measured.
      reading: the grade; None if not graded or if the model has two grades only.
      joint_space_share: (medial, lateral), over the length of the joint line, which needs no scale;
        None if not measured.
      volume_space_mm: (medial, lateral) between the bones of the predicted volume, or None.
      scale_estimated: whether lengths in mm are those of a knee of mean width, because no pixel
        spacing is stated.
      maps: the maps for its pictures, kept until they are drawn; None if not requested.
    """

    file: str
    side: str = ""
    probability: float | None = None
    warning: str = ""
    distance: float | None = None
    positive: bool | None = None
    picture: Path | None = None
    joint_space_mm: tuple[float, float] | None = None
    reading: GradeReading | None = None
    joint_space_share: tuple[float, float] | None = None
    volume_space_mm: tuple[float, float] | None = None
    scale_estimated: bool = False
    maps: KneeMaps | None = dataclasses.field(default=None, repr=False, compare=False)

    @property
    def volume_grade(self) -> str:
        """The grades that the predicted bones suggest, such as "0-2"; "" without a volume."""
        return (
            ""
            if self.volume_space_mm is None
            else grade_range(suggested_grades(self.volume_space_mm))
        )

    def cells(self, folder: Path) -> list[str]:
        """Text by COLUMNS; the picture's path is relative to `folder`."""
        drawn = "" if self.picture is None else os.path.relpath(self.picture, folder)
        return [
            self.file,
            self.side,
            "" if self.probability is None else f"{self.probability:.6f}",
            self.warning,
            "" if self.distance is None else f"{self.distance:.3f}",
            "" if self.positive is None else str(int(self.positive)),
            drawn.replace(os.sep, "/"),
            *("" if mm is None else f"{mm:.2f}" for mm in self.joint_space_mm or (None, None)),
            *self._grade_cells(),
            *("" if s is None else f"{s:.5f}" for s in self.joint_space_share or (None, None)),
            *("" if mm is None else f"{mm:.2f}" for mm in self.volume_space_mm or (None, None)),
            self.volume_grade,
            self._scale,
        ]

    @property
    def _scale(self) -> str:
        """The scale of `joint_space_mm`: "stated" or "estimated"; "" without."""
        if self.joint_space_mm is None:
            return ""
        return "estimated" if self.scale_estimated else "stated"

    def _grade_cells(self) -> list[str]:
        """grade, probability_0 to probability_4, expected_grade, grade_set (blanks between)."""
        found = self.reading
        if found is None:
            return [""] * 8
        known = [found.probabilities.get(grade) for grade in range(5)]
        return [
            str(found.grade),
            *("" if p is None else f"{p:.6f}" for p in known),
            f"{found.expected_grade:.4f}",
            " ".join(map(str, found.grade_set or ())),
        ]


class Table(RowFile):
    """The CSV table of graded knees."""

    def __init__(self, path: Path):
        """Describes the table, see `RowFile`."""
        super().__init__(path, COLUMNS)

    def add(self, knee: GradedKnee) -> None:
        """Writes a row.

        Raises:
          FloatingPointError: a number is not finite, or a probability outside [0, 1].
          OSError: as `RowFile.write`.
        """
        known = [value for value in (knee.probability, knee.distance) if value is not None]
        for measured in (knee.joint_space_mm, knee.joint_space_share, knee.volume_space_mm):
            known += measured or ()
        if knee.reading is not None:
            known += knee.reading.probabilities.values()
        if not all(map(math.isfinite, known)) or not 0 <= (knee.probability or 0) <= 1:
            raise FloatingPointError(
                f"{knee.file}: found the probability {knee.probability} and distance "
                f"{knee.distance}, expected finite numbers"
            )
        self.write(knee.cells(self.path.parent))
