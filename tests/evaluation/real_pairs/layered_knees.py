"""Hand-made right knees: two condyles under a shaft, a plateau on a shaft, a patella, cartilage."""

import numpy as np

from xr2mri_jax.geometry import Volume, canonical_affine
from xr2mri_jax.phantom.tissues import CODES

SHAPE = (96, 96, 96)
VOXEL_MM = 4 / 3
LAYER_MM = 2 * VOXEL_MM  # of cartilage on the plateau


def made_knee(
    width: float = 72.0, medial: float = 5.0, lateral: float = 6.0, lean: float = 0.0
) -> Volume:
    """Labels u8 in `tissues` codes; lateral at positive x, the plateau at z = -LAYER_MM.

    Args:
      width: of the tibial plateau, mm; everything else scales with it.
      medial, lateral: gap between bone and bone, mm.
      lean: how far the femur's shaft leans outwards, mm at its upper end.
    """
    affine = canonical_affine(SHAPE)
    d, h, w = np.ogrid[tuple(slice(0, n) for n in SHAPE)]
    x, y, z = (step * axis + start for step, axis, start in zip(
        (affine[0, 2], affine[1, 0], affine[2, 1]), (w, d, h), affine[:3, 3], strict=True
    ))  # fmt: skip
    s = width / 72.0
    labels = np.zeros(SHAPE, np.uint8)
    side = x > 0
    gap = np.where(side, lateral, medial)
    top = -LAYER_MM
    radius = 18.0 * s
    away = np.sqrt((np.abs(x) - 18 * s) ** 2 + (y / 1.3) ** 2 + (z - (radius + gap + top)) ** 2)
    outside = lean * np.clip(z, 0, None) / 64
    shaft = ((x - outside) / (24 * s)) ** 2 + (y / (17 * s)) ** 2 < 1
    femur = (away < radius) | (shaft & (z > radius))
    coat = (away < radius + 2) & (z < radius)
    # The tibia narrows below its plateau.
    narrow = np.clip(1 - (top - z - 12) / 60, 0.5, 1)
    tibia = (z < top) & ((x / (36 * s * narrow)) ** 2 + (y / (24 * s * narrow)) ** 2 < 1)
    layer = (z >= top) & (z < top + LAYER_MM) & ((x / (34 * s)) ** 2 + (y / (22 * s)) ** 2 < 1)
    patella = (x / 16) ** 2 + ((y - 38 * s) / 8) ** 2 + ((z - 30) / 16) ** 2 < 1
    labels[layer & side] = CODES["lateral_tibial_cartilage"]
    labels[layer & ~side] = CODES["medial_tibial_cartilage"]
    labels[coat] = CODES["femoral_cartilage"]
    labels[femur] = CODES["femur"]
    labels[tibia] = CODES["tibia"]
    labels[patella] = CODES["patella"]
    return Volume(labels, affine)
