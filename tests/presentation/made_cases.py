"""Small cases with every kind of layer, for pages and the viewer."""

import numpy as np

from xr2mri_jax.geometry import BOX_MM, Volume
from xr2mri_jax.presentation.viewer_case import Layer, Surface, ViewerCase

SHAPE = (16, 12, 16)
LABELS = (
    {"code": 1, "name": "femur", "colour": [240, 220, 180]},
    {"code": 2, "name": "tibia", "colour": [225, 200, 150]},
)


def affine():
    """RAS mm of SHAPE over the canonical box, whose axes are r, a, s here."""
    step = np.divide((BOX_MM[2], BOX_MM[0], BOX_MM[1]), SHAPE)
    made = np.diag([*step, 1.0])
    made[:3, 3] = -step * (np.array(SHAPE) - 1) / 2
    return made


def made_case(number=0, title="Case <i>"):
    """A prediction that grows upwards, the truth, labels, uncertainty, radiograph and a mesh."""
    up = np.broadcast_to(np.linspace(0, 1, SHAPE[2], dtype=np.float32), SHAPE)
    codes = np.zeros(SHAPE, np.uint8)
    codes[4:12, 3:9, 9:14], codes[4:12, 3:9, 2:7] = 1, 2
    inside = np.ones(SHAPE, bool)
    inside[:2] = False
    corners = 30.0 * np.array([[-1, -1, -1], [1, -1, -1], [0, 1, -1], [0, 0, 1]])
    faces = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]])
    return ViewerCase(
        f"case-{number}",
        f"{title} {number}",
        [
            Layer("prediction", Volume(np.ascontiguousarray(up), affine())),
            Layer("truth", Volume(np.full(SHAPE, 0.5, np.float32), affine()), inside),
            Layer("labels", Volume(codes, affine())),
            Layer("uncertainty", Volume(np.full(SHAPE, 0.2, np.float32), affine())),
        ],
        np.linspace(0, 1, 32 * 32, dtype=np.float32).reshape(32, 32),
        surfaces=[Surface("femur", (240, 220, 180), corners, faces)],
        labels=LABELS,
        facts={"subject": "a & b"},
    )
