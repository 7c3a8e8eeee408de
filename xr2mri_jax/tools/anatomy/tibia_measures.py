"""Lengths and angles of the proximal tibia and of the patella, in their frames."""

import numpy as np

from xr2mri_jax.tools.anatomy import shape

# Sections below the plateau: level and middle (x, y), in plateau widths.
OUTLINE = {
    0.05: (0.0, 0.0),
    0.1: (0.0, 0.0),
    0.2: (0.0, -0.02),
    0.3: (0.0, -0.06),
    0.4: (0.0, -0.08),
}
# Points on both plateaus, outwards and backwards, in plateau widths.
PLATEAU_X, PLATEAU_Y = (0.16, 0.27, 0.38), (-0.19, 0.0, 0.19)
COMPARTMENT = 0.27  # lateral offset of the compartments' middles, over the width


def plateau_width(points: np.ndarray) -> float:
    """Largest width of the tibia within 20 mm below the plateau, mm."""
    near = points[(points[:, 2] > 0.0) & (points[:, 2] < 20.0)]
    return shape.extent(near[:, 0])


def measure_tibia(points: np.ndarray) -> dict[str, float]:
    """Measures a proximal tibia; mm and degrees.

    Args:
      points: f64[n, 3] of the surface in the tibia's frame, z = 0 at the plateau.
    """
    width = plateau_width(points)
    found = {"tibia_plateau_width": width}
    for level, (x, y) in OUTLINE.items():
        cut = shape.section(points, level * width)
        for towards, value in shape.outline(cut, (x * width, y * width)).items():
            found[f"tibia_{round(100 * level)}_{towards}"] = value
    for side, sign in (("medial", 1.0), ("lateral", -1.0)):
        found |= {
            f"tibia_{side}_{name}": value for name, value in _plateau(points, sign, width).items()
        }
    heights = found["tibia_medial_height"], found["tibia_lateral_height"]
    found["tibia_frontal_tilt"] = float(
        np.degrees(np.arctan2(heights[0] - heights[1], 2 * COMPARTMENT * width))
    )
    cut = shape.section(points[np.abs(points[:, 0]) < 0.05 * width], 0.12 * width)
    found["tibia_notch_posterior"] = shape.top(cut[:, 1])
    return found


def _plateau(points: np.ndarray, sign: float, width: float) -> dict[str, float]:
    """Depth, height, slope, sag of one compartment, and the spine on its side."""
    middle = sign * COMPARTMENT * width
    strip = points[np.abs(points[:, 0] - middle) < 0.05 * width]
    deep = strip[(strip[:, 2] > 0.03 * width) & (strip[:, 2] < 0.18 * width)]
    front, back = -shape.top(-deep[:, 1]), shape.top(deep[:, 1])
    upper = strip[strip[:, 2] < 0.2 * width]
    y, z = shape.profile(upper[:, 1], upper[:, 2], 0.24 * width)
    bend, slope, height = np.polyfit(y, z, 2)
    inner = sign * points[:, 0]
    spine = points[(inner > 0.0) & (inner < 0.16 * width) & (np.abs(points[:, 1]) < 0.25 * width)]
    tip = shape.mean_of_last(spine * [1, 1, -1], 2)
    places = {
        f"{round(100 * across)}_{name}": _height(points, sign * across * width, along * width)
        for across in PLATEAU_X
        for name, along in zip(("front", "middle", "back"), PLATEAU_Y, strict=True)
    }
    return places | {
        "front": -front,
        "back": back,
        "height": height,
        "slope": float(np.degrees(np.arctan(slope))),
        "sag": bend * (0.24 * width) ** 2,
        "spine_height": tip[2],
        "spine_x": sign * tip[0],
    }


def _height(points: np.ndarray, x: float, y: float) -> float:
    """z of the upper surface near a point, mm."""
    near = points[np.hypot(points[:, 0] - x, points[:, 1] - y) < 2.5]
    z = near[near[:, 2] < 25.0, 2]
    if len(z) < 5:
        return float("nan")
    return float(z[z < z.min() + 4.0].mean())


def measure_patella(points: np.ndarray) -> dict[str, float]:
    """Measures a patella: width, height, thickness, position of its ridge; mm and degrees.

    Args:
      points: f64[n, 3] of the surface in the patella's frame.
    """
    width = shape.extent(points[:, 0])
    near = points[np.abs(points[:, 2]) < 6.0]
    ridge = shape.mean_of_last(near, 1)
    arms = []
    for sign in (1.0, -1.0):
        away = sign * (near[:, 0] - ridge[0])
        facet = near[(away > 0.2 * width) & (away < 0.3 * width)]
        arms.append(np.arctan2(0.25 * width, ridge[1] - shape.top(facet[:, 1])))
    outlines = {}
    for name, level in (("above", -0.25), ("middle", 0.0), ("below", 0.25)):
        cut = shape.section(points, level * width)
        for towards, value in shape.outline(cut, (0.0, 0.0)).items():
            outlines[f"patella_{name}_{towards}"] = value
    return outlines | {
        "patella_width": width,
        "patella_height": shape.extent(points[:, 2]),
        "patella_thickness": shape.extent(points[:, 1]),
        "patella_ridge_x": ridge[0],
        "patella_facet_angle": float(np.degrees(sum(arms))),
    }
