"""Radiographic signs of osteoarthritis by grade: joint spaces, osteophytes, spines, sclerosis.

The signs of grades 1 and 2 follow what the shipped grader, which was trained on real radiographs,
takes for signs in simulated ones: see "Phantoms alone" in docs/results.md.
"""

import dataclasses

import numpy as np

# By Kellgren-Lawrence grade 0 to 4, interpolated by a continuous severity: the remaining share of
# the narrower joint space, an osteophyte's length in mm, the height that the tibial spines gain in
# mm, and the density that the plates under the joint gain, relative to spongy bone.
_LEFT = (1.0, 0.97, 0.90, 0.52, 0.12)
_OSTEOPHYTE_MM = (0.0, 0.5, 1.5, 2.5, 4.0)
_SPINES_MM = (0.0, 0.8, 2.5, 3.0, 3.5)
_SCLEROSIS = (0.0, 0.0, 0.2, 2.0, 5.0)
_FEMORAL = 0.3  # length of an osteophyte of the femur relative to the tibia's
# Largest departure of a knee's severity from its grade, and the share of knees worn medially.
_WITHIN, _MEDIAL = 0.35, 0.75
# From this severity on, at least one osteophyte of the tibia has the usual length: grade 2.
_DEFINITE = 1.5


@dataclasses.dataclass(frozen=True, eq=False)
class Signs:
    """The changes of one knee by its grade; pairs are (medial, lateral).

    Attributes:
      left: f64[2], remaining shares of the joint spaces.
      osteophytes: by "femur" and "tibia" f64[2], lengths in mm.
      spines: height that the tibial spines gain, mm.
      sclerosis: f64[2], density that the plates under the joint gain, relative to spongy bone.
    """

    left: np.ndarray
    osteophytes: dict[str, np.ndarray]
    spines: float
    sclerosis: np.ndarray

    @classmethod
    def draw(cls, grade: int, rng: np.random.Generator) -> "Signs":
        """Draws the signs of a grade, 0 to 4."""
        severity = float(np.clip(grade + rng.uniform(-_WITHIN, _WITHIN), 0.0, 4.0))
        worn = 0 if rng.random() < _MEDIAL else 1
        left = np.empty(2)
        left[worn] = _at(severity, _LEFT) * np.exp(rng.normal(0, 0.09))
        left[1 - worn] = 1 - 0.2 * (1 - left[worn]) + rng.normal(0, 0.06)
        usual = _at(severity, _OSTEOPHYTE_MM)
        share = rng.uniform(0.0, 1.6, (2, 2)) * np.where(np.arange(2) == worn, 1.0, 0.8)
        if severity >= _DEFINITE:
            share[1, rng.integers(2)] = rng.uniform(1.0, 1.8)
        femur, tibia = usual * share
        added = _at(severity, _SCLEROSIS) * rng.uniform(0.2, 1.8)
        sclerosis = np.where(np.arange(2) == worn, added, added * rng.uniform(0.0, 0.6))
        spines = _at(severity, _SPINES_MM) * rng.uniform(0.3, 1.7)
        return cls(left, {"femur": _FEMORAL * femur, "tibia": tibia}, spines, sclerosis)


def _at(severity: float, values: tuple[float, ...]) -> float:
    return float(np.interp(severity, range(len(values)), values))
