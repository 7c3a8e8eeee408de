"""Made knees of few voxels, whose radiograph tells much of the volume."""

import numpy as np

from xr2mri_jax.phantom.tissues import CODES

SHAPE = (8, 24, 24)


def _knee(rng):
    """Femur over tibia with cartilage between; ends, joint line, space and marrow vary freely.

    A shuffled population must not tell anything by chance, which one of few parameters does.
    """
    labels = np.zeros(SHAPE, np.uint8)
    line, space = rng.integers(8, 12), rng.integers(1, 4)
    for name, rows in (("femur", slice(0, line)), ("tibia", slice(line + space, 24))):
        for start in range(0, 8, 2):
            left, right = rng.integers(2, 8), rng.integers(16, 22)
            labels[start : start + 2, rows, left:right] = CODES[name]
    plate = labels[:, line - 1]
    plate[plate > 0] = CODES["femoral_cartilage"]
    bright = {name: rng.uniform(0.3, 0.6) for name in ("femur", "tibia", "femoral_cartilage")}
    mri = np.full(SHAPE, 0.1)
    for name, value in bright.items():
        mri[labels == CODES[name]] = value
    return labels, mri


def knees(count, seed):
    """Decoded examples with labels: each another subject, radiographs with noise."""
    rng = np.random.default_rng(seed)
    examples = []
    for i in range(count):
        labels, mri = _knee(rng)
        film = mri.mean(axis=0) + 0.02 * rng.standard_normal(SHAPE[1:])
        noisy = mri + 0.05 * rng.standard_normal(SHAPE)
        examples.append(
            {
                "xray": np.rint(film.clip(0, 1)[..., None] * 65535).astype(np.uint16),
                "mri": np.rint(noisy.clip(0, 1)[..., None] * 65535).astype(np.uint16),
                "mask": np.ones((*SHAPE, 1), np.uint8),
                "labels": labels,
                "subject": f"{seed}-{i}",
            }
        )
    return examples
