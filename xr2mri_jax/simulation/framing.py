"""Framing of a knee, identical for real and simulated knees.

The network's radiograph is the canonical box, scaled so that the tibial plateau is
`geometry.PLATEAU_MM` wide, around the joint's centre. Crops of real radiographs show less than the
box: outside of them the border is repeated.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from xr2mri_jax.geometry import BOX_MM, CENTRE_ROW, LINE_SHARE, PLATEAU_MM
from xr2mri_jax.simulation.poses import Pose, rotation

# Position of the frame that `preprocess` cuts relative to the knee: length of the detected joint
# line over the plateau's width (0.97 in projections of segmented knees, see `preprocess.scale`);
# offset of the frame's middle from the position by CENTRE_ROW, (h, w) in mm; rotation in degrees.
# From the films of measured knees, see "Simulated films beside real ones" in docs/results.md.
_LINE, _ASIDE_MM, _TURN_DEG = 0.94, (-2.9, 1.8), 2.3
# Standard deviations of the frame's width (relative), of the joint's row (share of the height), and
# of its column.
_WIDTH, _ROW, COLUMN_MM = 0.04, 0.03, 1.5
_WHOLE = 0.1  # share of films that show the whole box


@dataclasses.dataclass(frozen=True)
class Jitter:
    """Error of the frame relative to the knee.

    Attributes:
      shift_mm: (d, h, w) of the joint's centre from the box's.
      turn: in the frontal plane, radians.
      scale: above 1 the knee appears too large.
    """

    shift_mm: tuple[float, float, float]
    turn: float
    scale: float

    @classmethod
    def draw(cls, rng: np.random.Generator, strange: float = 1.0) -> "Jitter":
        """Draws errors like those of the knee finder, times `strange`, and tilted knees."""
        depth, down, right = strange * rng.normal(0, (1.0, 1.8, 1.8))
        turn = np.deg2rad(strange * rng.normal(0, 3.0))
        return cls((depth, down, right), turn, float(np.exp(strange * rng.normal(0, 0.03))))

    def backward(self, zoom: float) -> Pose:
        """Matrix and offset from mm of the box to mm of a knee whose plateau is `zoom` as wide."""
        matrix = zoom / self.scale * rotation(0, self.turn)
        return matrix, -matrix @ np.array(self.shift_mm)


@dataclasses.dataclass(frozen=True)
class Frame:
    """The section of a knee that a square radiograph shows.

    Attributes:
      wide_mm: width and height, mm of a knee whose plateau is PLATEAU_MM wide.
      middle_mm: (h, w) of the frame's middle from the joint's centre.
      turn: in the frontal plane, radians.
    """

    wide_mm: float
    middle_mm: tuple[float, float]
    turn: float = 0.0

    def backward(self, zoom: float = 1.0) -> Pose:
        """Matrix and offset from mm of the frame to mm of a knee, `zoom` times as wide."""
        matrix = zoom * rotation(0, self.turn)
        return matrix, matrix @ np.array([0.0, *self.middle_mm])

    @classmethod
    def mean(cls) -> "Frame":
        """The frame that `preprocess` cuts: by the joint line, the joint's centre at CENTRE_ROW."""
        wide = PLATEAU_MM * _LINE / LINE_SHARE
        middle = (-wide * (CENTRE_ROW - 0.5) + _ASIDE_MM[0], _ASIDE_MM[1])
        return cls(wide, middle, float(np.deg2rad(_TURN_DEG)))

    @classmethod
    def draw(cls, jitter: Jitter, rng: np.random.Generator) -> "Frame":
        """Draws a frame in the box with the variation of real crops, sometimes the whole box."""
        usual = cls.mean()
        if rng.random() < _WHOLE:
            return cls(BOX_MM[1], (0.0, 0.0), usual.turn)
        zoom, row = rng.normal(1.0, _WIDTH) * jitter.scale, rng.normal(0, _ROW)
        _, down, right = jitter.shift_mm
        return usual.moved(zoom, row, (down, right + rng.normal(0, COLUMN_MM)))

    def moved(
        self, zoom: float, row: float, shift_mm: tuple[float, float], turn: float = 0.0
    ) -> "Frame":
        """The frame with a crop's departures.

        Args:
          zoom: > 0, factor of its width; the joint stays at the same share of it.
          row: share of its height by which the joint lies lower.
          shift_mm: (h, w) of its middle.
          turn: added to its own, radians.
        """
        wide = self.wide_mm * zoom
        down, right = zoom * np.array(self.middle_mm) + shift_mm
        return Frame(wide, (down - wide * row, right), self.turn + turn)

    def box_mapping(self, shape: Sequence[int], size: int) -> tuple[np.ndarray, np.ndarray]:
        """Maps pixels of the canonical box to pixels of an image of this frame, without its turn.

        Args:
          shape: pixels (H, W) of the image.
          size: pixels of the box each way.

        Returns:
          f64[2] each, by axis: image pixels per pixel of the box, and the image pixel at the box's
          first pixel.
        """
        counts, pixel = np.array(shape), BOX_MM[1] / size
        steps = counts * pixel / self.wide_mm
        middle = (size - 1) / 2 + np.array(self.middle_mm) / pixel
        return steps, (counts - 1) / 2 - steps * middle


def canvas(image: np.ndarray, size: int, frame: Frame | None = None) -> np.ndarray:
    """A frame's image in the canonical box: the network's radiograph.

    Args:
      image: f32[H, W] in [0, 1].
      size: pixels of the box each way.
      frame: the image's position in the box, its turn not undone; None: as `preprocess` cuts it.

    Returns:
      f32[size, size]: smoothed to the box's pixels, the image's border repeated outside of it.
    """
    steps, first = (frame or Frame.mean()).box_mapping(image.shape, size)
    sigma = np.sqrt(np.maximum(steps**2 - 1.0, 0.0) / (8 * np.log(2)))
    smooth = ndimage.gaussian_filter(np.asarray(image, np.float32), sigma, mode="nearest")
    grid = np.meshgrid(*(first[:, None] + steps[:, None] * np.arange(size)), indexing="ij")
    return ndimage.map_coordinates(smooth, grid, order=1, mode="nearest")
