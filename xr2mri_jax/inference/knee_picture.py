"""The pictures of a graded knee: Grad-CAM over the full radiograph, and block by block."""

import io

import jax
import numpy as np
from PIL import Image, ImageDraw

from xr2mri_jax.inference.framing import FramedKnee
from xr2mri_jax.inference.grade_reading import GradeReading
from xr2mri_jax.inference.knee_grader.form import KneeGrader
from xr2mri_jax.models.gradcam import GradCam, to_source
from xr2mri_jax.presentation import heat_picture

# Suffix of the picture in the network's pixels; the one in the source's pixels has none.
BLOCKS = "_blocks"
WHOLE = ""
# Pixels of the line of text.
_LINE = 18


class KneePictures:
    """Draws the knees graded by one grader, and by one of more grades beside it."""

    def __init__(self, grader: KneeGrader, grades: KneeGrader | None = None):
        """Raises InputError if a grader's network is not Siamese-GAP."""
        self._maps = GradCam(grader.network)
        self._params, self._state = jax.device_put((grader.params, grader.model_state))
        self._grades = grades
        if grades is not None:
            self._maps_of_grade = GradCam(grades.network)
            self._of_grade = jax.device_put((grades.params, grades.model_state))

    def draw(self, knee: FramedKnee, reading: GradeReading | None = None) -> dict[str, bytes]:
        """PNGs of a knee by the suffix of their names, not mirrored.

        Args:
          knee: the knee.
          reading: its grade; None: nothing about it is drawn.

        Returns:
          WHOLE: the radiograph in its own pixels, overlaid with the combined map of all blocks.
          BLOCKS: the network's input; the same overlaid with the combined map; and overlaid with
          the map of each block, from the first to the last. With a grader of more grades also with
          its combined map of the grade; below the panels the grade in words.
        """
        levels = self._maps(self._params, self._state, knee.image[None])[:, 0]
        heats = [heat_picture.combined(levels), *(heat_picture.scaled(level) for level in levels)]
        if self._grades is not None and reading is not None:
            (params, state), place = self._of_grade, [self._grades.grades.index(reading.grade)]
            of_grade = self._maps_of_grade(params, state, knee.image[None], place)
            heats.append(heat_picture.combined(of_grade[:, 0]))
        turned = -1 if knee.side == "left" else 1
        panels = [
            heat_picture.overlaid(knee.displayed, heat[:, ::turned])
            for heat in (np.zeros_like(heats[0]), *heats)
        ]
        grey = knee.source.astype(np.float32) / 255
        return {
            WHOLE: _png(heat_picture.overlaid(grey, to_source(knee.record, heats[0]))),
            BLOCKS: _png(_with_grade(heat_picture.strip(panels), reading)),
        }


def _with_grade(picture: np.ndarray, reading: GradeReading | None) -> np.ndarray:
    """The picture u8[h, w, 3] with a line of text below it, where there is a reading."""
    if reading is None:
        return picture
    line = np.zeros((_LINE, picture.shape[1], 3), np.uint8)
    image = Image.fromarray(line)
    text = f"grade {reading.said}, expected {reading.expected_grade:.1f}"
    ImageDraw.Draw(image).text((4, 3), text, fill=(255, 255, 255))
    return np.concatenate([picture, np.asarray(image)])


def _png(picture: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, format="PNG")
    return stream.getvalue()
