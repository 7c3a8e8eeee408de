"""The pictures of a graded knee: Grad-CAM over the full radiograph, and block by block."""

import io

import jax
import numpy as np
from PIL import Image

from xr2mri_jax.inference.framing import FramedKnee
from xr2mri_jax.inference.knee_grader.form import KneeGrader
from xr2mri_jax.models.gradcam import GradCam, to_source
from xr2mri_jax.presentation import heat_picture

# Suffix of the picture in the network's pixels; the one in the source's pixels has none.
BLOCKS = "_blocks"
WHOLE = ""


class KneePictures:
    """Draws the knees graded by one grader."""

    def __init__(self, grader: KneeGrader):
        """Raises InputError if the grader's network is not Siamese-GAP."""
        self._maps = GradCam(grader.network)
        self._params, self._state = jax.device_put((grader.params, grader.model_state))

    def draw(self, knee: FramedKnee) -> dict[str, bytes]:
        """PNGs of a knee by the suffix of their names, not mirrored.

        Returns:
          WHOLE: the radiograph in its own pixels, overlaid with the combined map of all blocks.
          BLOCKS: the network's input; the same overlaid with the combined map; and overlaid with
          the map of each block, from the first to the last.
        """
        levels = self._maps(self._params, self._state, knee.image[None])[:, 0]
        heats = [heat_picture.combined(levels), *(heat_picture.scaled(level) for level in levels)]
        turned = -1 if knee.side == "left" else 1
        panels = [
            heat_picture.overlaid(knee.displayed, heat[:, ::turned])
            for heat in (np.zeros_like(heats[0]), *heats)
        ]
        grey = knee.source.astype(np.float32) / 255
        return {
            WHOLE: _png(heat_picture.overlaid(grey, to_source(knee.record, heats[0]))),
            BLOCKS: _png(heat_picture.strip(panels)),
        }


def _png(picture: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, format="PNG")
    return stream.getvalue()
