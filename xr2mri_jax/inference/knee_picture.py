"""The pictures of a graded knee: joint space and Grad-CAM, by block and by grade."""

import functools
from collections.abc import Iterable, Sequence

import jax
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from xr2mri_jax.inference.framing import FramedKnee
from xr2mri_jax.inference.grade_reading import GradeReading
from xr2mri_jax.inference.joint_space_markers import length_markers
from xr2mri_jax.inference.knee_grader.file_format import KneeGrader
from xr2mri_jax.inference.knee_maps import KneeMaps
from xr2mri_jax.io.image import DRAWN
from xr2mri_jax.models.gradcam import GradCam, in_frame, to_source
from xr2mri_jax.preprocess.radiograph import canonical_pixels
from xr2mri_jax.presentation import heat_picture, png
from xr2mri_jax.presentation.length_markers import draw_length_markers

# Suffix of the pictures in the network's pixels; the one in the source's pixels has none.
BLOCKS, BY_GRADE = "_blocks", "_grades"
WHOLE = ""
# Height of a line of text and of its letters in pixels, and width of the white gap between panels.
LINE, _LETTERS, GAP = 24, 16, 4


class KneePictures:
    """Draws the knees that a grader graded."""

    def __init__(self, grader: KneeGrader):
        """Raises InputError if the grader's network is not Siamese-GAP."""
        self._maps = GradCam(grader.network)
        self._params, self._state = jax.device_put((grader.params, grader.model_state))
        self._grades = grader.grades

    def draw(
        self,
        knee: FramedKnee,
        reading: GradeReading | None = None,
        maps: KneeMaps | None = None,
    ) -> dict[str, bytes]:
        """PNGs of a knee by the suffix of their names, not mirrored.

        Args:
          knee: the knee.
          reading: its grade; None: the picture BY_GRADE is left out.
          maps: from the grading; missing ones are computed.

        Returns:
          WHOLE: the radiograph in its own pixels, overlaid with the combined map of all blocks and
            with the measured joint space.
          BLOCKS: the network's input with the joint space; overlaid with the combined map; and
            overlaid with the map of each block, from the first to the last. All have titles.
          BY_GRADE, with a reading only: the input with the joint space, and for each grade but the
            lowest the evidence for it or more, with its probability; below them the grade in words.
        """
        blocks, boundaries = (None, None) if maps is None else maps
        levels = self._blocks(knee) if blocks is None else _framed(knee, blocks)
        heats = [heat_picture.combined(levels), *(heat_picture.scaled(level) for level in levels)]
        plain = self._plain(knee)
        panels = [plain, *(_overlaid(knee, heat) for heat in heats)]
        titles = ["joint space", "all blocks", *(f"block {i + 1}" for i in range(len(levels)))]
        drawn = {
            WHOLE: png.encoded(_whole(knee, heats[0]), DRAWN),
            BLOCKS: png.encoded(_titled(panels, titles), DRAWN),
        }
        if reading is not None:
            found = self._boundaries(knee) if boundaries is None else _framed(knee, boundaries)
            drawn[BY_GRADE] = png.encoded(self._by_grade(knee, reading, plain, found), DRAWN)
        return drawn

    def _blocks(self, knee: FramedKnee) -> np.ndarray:
        """The maps of the blocks in the canonical frame: f32[levels, h, w]."""
        return self._maps(self._params, self._state, knee.image[None])[:, 0]

    def _boundaries(self, knee: FramedKnee) -> np.ndarray:
        """The maps of the boundaries between grades: f32[k - 1, h, w]."""
        return self._maps.of_boundaries(self._params, self._state, knee.image[None])[:, 0]

    def _plain(self, knee: FramedKnee) -> np.ndarray:
        """The network's input as displayed, with the joint space: u8[h, w, 3]."""
        width = knee.image.shape[1]

        def place(source: np.ndarray) -> np.ndarray:
            pixels = canonical_pixels(knee.record, source)
            return np.abs(pixels - (0, width - 1)) if knee.side == "left" else pixels

        nothing = np.zeros(knee.image.shape[:2], np.float32)
        return draw_length_markers(_overlaid(knee, nothing), length_markers(knee, place), width)

    def _by_grade(
        self, knee: FramedKnee, reading: GradeReading, plain: np.ndarray, maps: np.ndarray
    ) -> np.ndarray:
        """The picture BY_GRADE, u8[h, w, 3], from the maps of the boundaries."""
        heats = heat_picture.scaled(maps)  # maps of one knee are comparable
        titles = ["joint space"]
        for grade in self._grades[1:]:
            p = sum(p for other, p in reading.probabilities.items() if other >= grade)
            more = "" if grade == self._grades[-1] else " or more"
            titles.append(f"grade {grade}{more}: {p:.0%}")
        panels = [plain, *(_overlaid(knee, heat) for heat in heats)]
        picture = _titled(panels, titles)
        said = f"grade {reading.text}, expected {reading.expected_grade:.1f}"
        return np.concatenate([picture, _line(picture.shape[1], said)])


def _titled(panels: Sequence[np.ndarray], titles: Sequence[str]) -> np.ndarray:
    """Panels u8[h, w, 3] side by side with a title below each."""
    picture, width = heat_picture.strip(panels, GAP), panels[0].shape[1]
    below = np.concatenate([_title(width + GAP, title) for title in titles], axis=1)
    return np.concatenate([picture, below[:, : picture.shape[1]]])


def _framed(knee: FramedKnee, maps: Iterable[np.ndarray]) -> np.ndarray:
    """Maps f32[2, h', w'] of both patches in the canonical frame: f32[n, h, w]."""
    height, width = knee.image.shape[:2]
    return np.concatenate([in_frame(one, (height, width)) for one in maps])


def _overlaid(knee: FramedKnee, heat: np.ndarray) -> np.ndarray:
    """The knee as displayed, overlaid with a map f32[h, w] in [0, 1] of the canonical frame."""
    turned = -1 if knee.side == "left" else 1
    return heat_picture.overlaid(knee.displayed, heat[:, ::turned])


def _whole(knee: FramedKnee, heat: np.ndarray) -> np.ndarray:
    """The source u8[H, W, 3], overlaid with a map of the canonical frame and the joint space."""
    grey = knee.source.astype(np.float32) / 255
    picture = heat_picture.overlaid(grey, to_source(knee.record, heat))
    # Text and lines scale with the knee's frame; a film may be many times as large.
    frame = heat.shape[0] * abs(knee.record["canonical_to_source"][0][0])
    return draw_length_markers(picture, length_markers(knee, lambda source: source), frame)


def _line(width: int, text: str) -> np.ndarray:
    """A line u8[LINE, width, 3] of white text on black."""
    image = Image.new("RGB", (width, LINE))
    font = ImageFont.load_default(_LETTERS)
    ImageDraw.Draw(image).text((GAP, LINE // 2), text, (255, 255, 255), font, anchor="lm")
    return np.asarray(image)


# Drawing letters takes as long as encoding the picture, and most titles recur.
_title = functools.lru_cache(maxsize=512)(_line)
