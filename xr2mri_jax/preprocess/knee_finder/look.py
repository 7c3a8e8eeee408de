"""What the knee finder's network sees in a view of a radiograph."""

import functools

import numpy as np

from xr2mri_jax.preprocess.knee_finder.inference import look
from xr2mri_jax.preprocess.knee_finder.network import CELLS, POINTS, SIDES
from xr2mri_jax.preprocess.knee_finder.view import View, cut, normalise

_NOTHING = np.zeros((len(SIDES) * len(POINTS), CELLS * CELLS + 1), np.float32)


class Look:
    """The maps of a view, f32[6, cells + 1], and of its mirror image, each computed when needed."""

    def __init__(self, image: np.ndarray, view: View) -> None:
        """Args: image: f32[h, w], finite; view: a part of it, may reach beyond."""
        self._channels = normalise(*cut(image, view))
        self._blank = not self._channels.any()

    @functools.cached_property
    def alone(self) -> np.ndarray:
        """The maps of the view."""
        return _NOTHING if self._blank else look(self._channels[None])[0]

    def both(self) -> np.ndarray:
        """The mean of the view's maps and of its mirror image's."""
        if self._blank:
            return _NOTHING
        return (self.alone + mirrored_maps(look(self._channels[None, :, ::-1])[0])) / 2


def mirrored_maps(maps: np.ndarray) -> np.ndarray:
    """The maps f32[6, cells + 1] of a mirror image as those of the image."""
    grids = maps[:, :-1].reshape(len(SIDES), len(POINTS), CELLS, CELLS)[..., ::-1]
    absent = maps[:, -1:].reshape(len(SIDES), len(POINTS), 1)
    # Right and left change places, and so do the ends of a line.
    grids, absent = grids[::-1][:, [0, 2, 1]], absent[::-1][:, [0, 2, 1]]
    flat = grids.reshape(len(maps), CELLS * CELLS)
    return np.concatenate([flat, absent.reshape(len(maps), 1)], axis=1)
