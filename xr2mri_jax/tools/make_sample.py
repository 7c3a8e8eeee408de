"""Makes the shipped sample radiograph: python -m xr2mri_jax.tools.make_sample"""

import numpy as np
from PIL import Image

from xr2mri_jax import files, samples
from xr2mri_jax.phantom.case import simulate_case

# A knee of grade 2 of a population that no recipe trains on.
SEED, INDEX, SHAPE = 424242, 6, (64, 256, 256)


def make() -> None:
    """Simulates the knee and replaces `samples.KNEE`, 256 x 256 pixels of 0.5 mm, 8 bits."""
    case = simulate_case(SEED, INDEX, SHAPE)
    pixels = np.rint(case["xray"][..., 0] / 257.0).astype(np.uint8)
    with files.atomic_path(samples.KNEE) as partial:
        Image.fromarray(pixels).save(partial, format="PNG", optimize=True)
    print(f"{samples.KNEE}: {SHAPE[1]} x {SHAPE[2]} pixels, grade {case['kl']}")


if __name__ == "__main__":
    make()
