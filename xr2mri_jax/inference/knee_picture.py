"""The picture of a graded knee: what the network saw, as it is displayed."""

import io

import numpy as np
from PIL import Image

from xr2mri_jax.inference.framing import FramedKnee
from xr2mri_jax.inference.knee_grader.form import KneeGrader


def knee_picture(grader: KneeGrader, knee: FramedKnee) -> bytes:
    """A PNG of a knee's frame; the patient's right is at the image's left, nothing is mirrored.

    Args:
      grader: what graded it.
      knee: the knee.
    """
    del grader
    stream = io.BytesIO()
    Image.fromarray(np.rint(knee.displayed * 255).astype(np.uint8)).save(stream, format="PNG")
    return stream.getvalue()
