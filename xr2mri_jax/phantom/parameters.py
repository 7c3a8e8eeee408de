"""The seeded parameters of one phantom knee and how they vary over subjects and knees."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

# f32 scalars by name, of numpy or traced.
Parameters = Mapping[str, Any]


class Spread(NamedTuple):
    """How one parameter varies: normal, clipped at two standard deviations.

    Attributes:
      mean: centre of the distribution.
      deviation: standard deviation over all knees.
      knee: share of the variance that differs between the two knees of one subject.
    """

    mean: float
    deviation: float
    knee: float


# Lengths in mm before the overall size, angles in degrees. Bone sizes follow anthropometry of the
# adult knee (epicondylar width about 80 mm, plateau 74 x 50 mm, patella 42 x 40 x 21 mm).
SPREADS: dict[str, Spread] = {
    "size": Spread(1.0, 0.06, 0.01),
    "condyle_spacing": Spread(23.5, 1.1, 0.1),
    "condyle_width": Spread(13.2, 0.7, 0.1),
    "medial_condyle": Spread(20.0, 0.9, 0.1),
    "lateral_condyle": Spread(19.6, 0.9, 0.1),
    "condyle_length": Spread(21.5, 1.0, 0.1),
    "notch_width": Spread(9.5, 1.3, 0.1),
    "notch_height": Spread(21.0, 1.6, 0.1),
    "groove_depth": Spread(4.2, 1.2, 0.1),
    "femur_shaft": Spread(14.5, 1.2, 0.05),
    "femur_flare": Spread(34.0, 1.4, 0.05),
    "tibia_width": Spread(20.0, 0.8, 0.05),
    "tibia_depth": Spread(24.0, 1.0, 0.05),
    "tibia_shaft": Spread(10.5, 0.9, 0.05),
    "plateau_slope": Spread(7.0, 2.0, 0.2),
    "dish_depth": Spread(2.6, 0.5, 0.1),
    "spine_height": Spread(10.0, 1.4, 0.2),
    "patella_width": Spread(21.0, 1.4, 0.05),
    "patella_height": Spread(20.0, 1.4, 0.05),
    "patella_thickness": Spread(10.5, 0.8, 0.05),
    "patella_level": Spread(-33.0, 3.5, 0.3),
    "patella_offset": Spread(-2.0, 1.8, 0.5),
    "patella_tilt": Spread(4.0, 4.0, 0.5),
    "fibula_lateral": Spread(-33.0, 1.6, 0.1),
    "fibula_posterior": Spread(20.0, 1.8, 0.1),
    "fibula_level": Spread(25.0, 2.2, 0.1),
    "fibula_radius": Spread(6.0, 0.6, 0.1),
    "varus": Spread(0.0, 2.5, 0.2),
    "flexion": Spread(17.0, 3.5, 0.3),
    "beam_error": Spread(0.0, 2.0, 1.0),
    "rotation_axial": Spread(0.0, 4.0, 1.0),
    "rotation_frontal": Spread(0.0, 2.0, 1.0),
    "shift_x": Spread(0.0, 4.0, 1.0),
    # The radiograph carries no information along the beam; the box is centred on the joint.
    "shift_y": Spread(4.0, 0.4, 1.0),
    "shift_z": Spread(0.0, 4.0, 1.0),
    "girth": Spread(1.0, 0.05, 0.05),
    "fat": Spread(7.0, 2.4, 0.03),
    "bulk": Spread(1.14, 0.08, 0.05),
    "fat_in_muscle": Spread(0.5, 0.22, 0.05),
    "femoral_cartilage": Spread(2.2, 0.25, 0.1),
    "medial_cartilage": Spread(2.0, 0.25, 0.1),
    "lateral_cartilage": Spread(2.4, 0.3, 0.1),
    "patellar_cartilage": Spread(2.9, 0.4, 0.2),
    "cortex": Spread(1.0, 0.14, 0.02),
    "density": Spread(1.0, 0.13, 0.02),
    "effusion": Spread(1.0, 0.5, 0.7),
}

# Shares of Kellgren-Lawrence grades 0 to 4.
KL_SHARES = (0.34, 0.16, 0.24, 0.16, 0.10)


def sample(subject_key: jax.Array, knee_key: jax.Array) -> Parameters:
    """Draws the parameters of one knee, on the host: only the normal numbers come from JAX.

    Args:
      subject_key: typed key shared by the subject's two knees.
      knee_key: typed key of this knee.

    Returns:
      f32 scalars: every name of SPREADS, and those of osteoarthritis (see `_osteoarthritis`); `kl`
      is an integer from 0 to 4.
    """
    shared, own = (np.asarray(_normals(key), np.float64) for key in (subject_key, knee_key))
    spread = np.array(list(SPREADS.values()))
    n = len(spread)
    mix = np.sqrt(1.0 - spread[:, 2]) * shared[:n] + np.sqrt(spread[:, 2]) * own[:n]
    values = spread[:, 0] + spread[:, 1] * np.clip(mix, -2.0, 2.0)
    parameters = dict(zip(SPREADS, values.tolist(), strict=True))
    parameters |= _osteoarthritis(parameters, shared[n:], own[n:])
    return {name: np.float32(value) for name, value in parameters.items()}


@jax.jit
def _normals(key: jax.Array) -> jax.Array:
    return jax.random.normal(key, (len(SPREADS) + 3,))


def _osteoarthritis(p: dict[str, float], shared: np.ndarray, own: np.ndarray) -> dict[str, float]:
    """The parameters that depend on the grade.

    The latent severity is a uniform number shared mostly by both knees; its quantile gives the
    grade. Returns `kl`, `severity` (0 to 4, continuous), `medial_space` and `lateral_space` (bone
    to bone, mm before size), `medial_left` and `lateral_left` (remaining share of cartilage),
    `osteophyte` (mm), `sclerosis` (0 to 1) and `varus`, `effusion`, corrected for the grade.
    """
    uniform = 0.5 * (1.0 + math.erf((0.85 * shared[0] + 0.527 * own[0]) / math.sqrt(2.0)))
    edges = np.concatenate([[0.0], np.cumsum(KL_SHARES)])
    kl = int(np.clip(np.searchsorted(edges, uniform, side="right") - 1, 0, 4))
    within = (uniform - edges[kl]) / KL_SHARES[kl]
    severity = min(max(kl + 0.8 * (within - 0.5), 0.0), 4.2)

    def by_grade(*values: float) -> float:
        return float(np.interp(severity, range(5), values))

    left = by_grade(1.0, 0.93, 0.74, 0.42, 0.10) * (1.0 + 0.06 * float(np.clip(own[1], -2, 2)))
    left = min(max(left, 0.06), 1.05)
    other = by_grade(1.0, 0.98, 0.95, 0.88, 0.78)
    lateral = own[2] > 1.2
    medial_left, lateral_left = (other, left) if lateral else (left, other)
    return {
        "kl": kl,
        "severity": severity,
        "medial_left": medial_left,
        "lateral_left": lateral_left,
        "medial_space": medial_left * (p["femoral_cartilage"] + p["medial_cartilage"]) + 0.4,
        "lateral_space": lateral_left * (p["femoral_cartilage"] + p["lateral_cartilage"]) + 0.4,
        "osteophyte": by_grade(0.0, 0.9, 2.0, 3.2, 4.6),
        "sclerosis": by_grade(0.0, 0.05, 0.2, 0.5, 0.9),
        "varus": p["varus"] + (-0.6 if lateral else 0.8) * severity,
        "effusion": p["effusion"] + 0.35 * severity,
    }
