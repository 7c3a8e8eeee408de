"""Lengths, angles and radii of the distal femur, in its frame."""

import numpy as np

from xr2mri_jax.tools.anatomy import shape

# Sections above the distal end: level and middle (x, y), in epicondylar widths.
OUTLINE = {
    0.05: (0.0, -0.36),
    0.1: (0.0, -0.36),
    0.2: (0.0, -0.38),
    0.3: (0.0, -0.38),
    0.45: (0.0, -0.42),
    0.6: (0.0, -0.48),
    0.75: (-0.04, -0.5),
}
# Below this level the intercondylar notch opens the sections to the back.
_NOTCH_LEVEL = 0.3
TROCHLEA = (0.25, 0.35, 0.45)
# Sagittal profiles about the condyles' axis: x and degrees from the back downwards.
PROFILES = {
    "medial": (0.31, (-25, 0, 25, 50, 75, 100, 125, 150)),
    "lateral": (-0.31, (-25, 0, 25, 50, 75, 100, 125, 150)),
    "groove": (-0.02, (75, 90, 105, 125, 150)),
}
_AXIS = (-0.26, -0.26)  # y and height of that axis


def measure_femur(points: np.ndarray) -> dict[str, float]:
    """Measures a distal femur; mm and degrees.

    Args:
      points: f64[n, 3] of the surface in the femur's frame.
    """
    bottom = shape.top(points[:, 2])
    low = points[points[:, 2] > bottom - 45.0]
    width = shape.extent(low[:, 0])
    found = {"femur_epicondylar_width": width}
    for level, (x, y) in OUTLINE.items():
        cut = shape.section(points, bottom - level * width)
        for towards, value in shape.outline(cut, (x * width, y * width)).items():
            if level >= _NOTCH_LEVEL or towards != "back":
                found[f"femur_{round(100 * level)}_{towards}"] = value
    found |= _profiles(points, bottom, width)
    for side, sign in (("medial", 1.0), ("lateral", -1.0)):
        found |= {
            f"femur_{side}_{name}": value
            for name, value in _condyle(points, sign, bottom, width).items()
        }
    return found | _trochlea(points, bottom, width) | _notch(points, bottom, width)


def _profiles(points: np.ndarray, bottom: float, width: float) -> dict[str, float]:
    """Distances of the condyles' and the groove's surface from the condyles' axis."""
    found = {}
    tip = np.array([_AXIS[0] * width, bottom + _AXIS[1] * width])
    for name, (x, degrees) in PROFILES.items():
        away = points[np.abs(points[:, 0] - x * width) < 2.5, 1:] - tip
        angle = np.arctan2(away[:, 1], away[:, 0])
        for turn in degrees:
            found[f"femur_{name}_at_{turn}"] = shape.reach(away, angle, np.radians(turn))
    return found


def _condyle(points: np.ndarray, sign: float, bottom: float, width: float) -> dict[str, float]:
    """Depth, width, end points and radii of one condyle."""
    half = points[(sign * points[:, 0] > 0.08 * width) & (points[:, 2] > bottom - 0.5 * width)]
    low = half[half[:, 2] > bottom - 0.35 * width]
    behind, lowest = shape.mean_of_last(low, 1), shape.mean_of_last(half, 2)
    sagittal = half[np.abs(half[:, 0] - behind[0]) < 2.5]
    arc = sagittal[sagittal[:, 1] > behind[1] - 0.09 * width]
    flat = half[(np.abs(half[:, 0] - lowest[0]) < 2.5) & (half[:, 2] > bottom - 0.12 * width)]
    flat = flat[flat[:, 2] > lowest[2] - 0.045 * width]
    level = shape.section(half, bottom - 0.15 * width)
    back = level[level[:, 1] > behind[1] - 0.25 * width]
    return {
        "condyle_depth": shape.extent(half[np.abs(half[:, 0] - behind[0]) < 4.0, 1]),
        "condyle_width": shape.extent(back[:, 0]),
        "condyle_behind_x": sign * behind[0],
        "condyle_behind_y": behind[1],
        "condyle_behind_height": bottom - behind[2],
        "condyle_lowest_x": sign * lowest[0],
        "condyle_lowest_y": lowest[1],
        "condyle_lowest_z": lowest[2],
        "posterior_radius": shape.radius(arc[:, 1:]),
        "distal_radius": shape.radius(flat[:, 1:]),
    }


def _trochlea(points: np.ndarray, bottom: float, width: float) -> dict[str, float]:
    found = {}
    for level in TROCHLEA:
        cut = shape.section(points, bottom - level * width)
        x, y = shape.profile(cut[:, 0], cut[:, 1], 0.34 * width)
        middle = np.abs(x) < 0.17 * width
        groove = int(np.flatnonzero(middle)[np.argmax(y[middle])])
        medial, lateral = (
            int(np.flatnonzero(part)[np.argmin(y[part])])
            for part in (x > x[groove] + 3.0, x < x[groove] - 3.0)
        )
        name = f"femur_trochlea_{round(100 * level)}"
        found[f"{name}_groove_y"] = -y[groove]
        found[f"{name}_medial_y"] = -y[medial]
        found[f"{name}_lateral_y"] = -y[lateral]
        if level == TROCHLEA[1]:
            arms = [np.arctan2(abs(x[i] - x[groove]), y[groove] - y[i]) for i in (medial, lateral)]
            found["femur_sulcus_angle"] = float(np.degrees(sum(arms)))
            found["femur_groove_x"] = x[groove]
    return found


def _notch(points: np.ndarray, bottom: float, width: float) -> dict[str, float]:
    """Width of the intercondylar notch at a fifth of the way up, and height of its roof."""
    behind = shape.top(points[points[:, 2] > bottom - 0.3 * width, 1])
    back = (points[:, 1] < behind - 0.12 * width) & (points[:, 1] > behind - 0.34 * width)
    part = points[back & (np.abs(points[:, 0]) < 0.27 * width)]
    cut = shape.section(part, bottom - 0.14 * width)
    walls = [shape.top(-cut[cut[:, 0] > 0, 0]), shape.top(cut[cut[:, 0] < 0, 0])]
    roof = part[np.abs(part[:, 0]) < 3.0]
    roof = roof[roof[:, 2] > bottom - 0.45 * width]
    return {
        "femur_notch_medial": -walls[0],
        "femur_notch_lateral": -walls[1],
        "femur_notch_height": bottom - shape.top(roof[:, 2]),
    }
