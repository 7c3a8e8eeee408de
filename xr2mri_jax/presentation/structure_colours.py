"""The structures of the label map and the meshes, with their colours in viewers and pictures."""

from typing import Any

from xr2mri_jax.phantom.tissues import CODES

COLOURS: dict[str, tuple[int, int, int]] = {
    "femoral_cartilage": (120, 200, 255),
    "medial_tibial_cartilage": (90, 160, 240),
    "lateral_tibial_cartilage": (60, 120, 220),
    "patellar_cartilage": (110, 235, 200),
    "femur": (242, 232, 207),
    "tibia": (233, 196, 106),
    "patella": (224, 142, 88),
    "fibula": (176, 150, 110),
    "lateral_meniscus": (230, 75, 80),
    "medial_meniscus": (225, 95, 190),
}


def table() -> list[dict[str, Any]]:
    """Code, name and colour of every label, by code."""
    return [
        {"code": CODES[name], "name": name, "colour": list(colour)}
        for name, colour in sorted(COLOURS.items(), key=lambda item: CODES[item[0]])
    ]
