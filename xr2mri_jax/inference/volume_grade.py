"""The grade that a predicted volume suggests by the joint space between its bones."""

from collections.abc import Callable

from xr2mri_jax.errors import InputError
from xr2mri_jax.preprocess.joint_space import COMPARTMENTS, JointSpace
from xr2mri_jax.preprocess.knee_request import FoundKnee

Space = tuple[float, float]
Measure = Callable[[FoundKnee, JointSpace | None], Space]
# Joint space separates neither grades 0 to 2 from each other, nor 3 from 4: the best group of grade
# 3 alone was 0.2 mm wide. Below the cut, the lesser joint space suggests the second group; the cut
# has the largest kappa on 40 training radiographs of each grade (benchmark "volume_grade").
GROUPS = (range(0, 3), range(3, 5))
CUT_MM = 2.3
# Least difference of the two grades that gives a warning.
APART = 2


def space_measurer() -> Measure:
    """Loads and compiles the shipped generator.

    Returns:
      A function that maps a knee and its joint space in the radiograph, or None, to (medial,
      lateral) in mm: the least distances between the bones of the volume that `predict` gives,
      after the adjustment to the joint space traced in the radiograph. Several threads may call
      it. It raises InputError for a knee without joint space.

    Raises:
      InputError: no generator is shipped, or it predicts no bones.
    """
    # Imported here: grading without volumes needs no generator.
    from xr2mri_jax.inference.predict import predict_found, require_surfaces
    from xr2mri_jax.inference.predictor import load_predictor

    predictor = load_predictor()
    require_surfaces(predictor, "--volume")
    predictor.compile()

    def measured(knee: FoundKnee, traced: JointSpace | None) -> Space:
        made = predict_found(predictor, knee, traced)
        fitted = made.record["joint_space"]
        if fitted is None:
            raise InputError("found no joint space in the predicted volume, expected both plateaus")
        medial, lateral = (fitted["after_mm"][name] for name in COMPARTMENTS)
        return medial, lateral

    return measured


def suggested_grades(space: Space) -> range:
    """The group of GROUPS suggested by (medial, lateral) in mm, by the lesser of the two."""
    return GROUPS[min(space) < CUT_MM]


def grade_range(group: range) -> str:
    """A group such as "0-2"."""
    return f"{group[0]}-{group[-1]}"


def disagreement(grade: int, space: Space) -> str:
    """A warning if the grade is APART or more from all that the bones suggest; else ""."""
    group = suggested_grades(space)
    if min(abs(grade - other) for other in group) < APART:
        return ""
    return (
        f"the predicted bones suggest grade {grade_range(group)} "
        f"(joint space {min(space):.1f} mm), the network grade {grade}"
    )
