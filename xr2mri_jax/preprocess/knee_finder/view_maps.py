"""The probability maps of the knee finder's network for a view of a radiograph."""

import functools

import numpy as np

from xr2mri_jax.preprocess.knee_finder.inference import probability_maps
from xr2mri_jax.preprocess.knee_finder.network import CELLS, POINTS, SIDES
from xr2mri_jax.preprocess.knee_finder.view import View, cut, normalise

_NOTHING = np.zeros((len(SIDES) * len(POINTS), CELLS * CELLS + 1), np.float32)


class ViewMaps:
    """Maps f32[6, cells + 1] of a view and of its mirror image, each computed on first use."""

    def __init__(self, image: np.ndarray, view: View) -> None:
        """Takes an image f32[h, w], finite, and a view of it, which may reach beyond it."""
        self._channels = normalise(*cut(image, view))
        self._blank = not self._channels.any()

    @functools.cached_property
    def single(self) -> np.ndarray:
        """The maps of the view."""
        return _NOTHING if self._blank else probability_maps(self._channels[None])[0]

    def mirror_averaged(self) -> np.ndarray:
        """The mean of the maps of the view and of its mirror image."""
        if self._blank:
            return _NOTHING
        return (self.single + mirrored_maps(probability_maps(self._channels[None, :, ::-1])[0])) / 2


def mirrored_maps(maps: np.ndarray) -> np.ndarray:
    """Converts the maps f32[6, cells + 1] of a mirror image to those of the image."""
    grids = maps[:, :-1].reshape(len(SIDES), len(POINTS), CELLS, CELLS)[..., ::-1]
    absent = maps[:, -1:].reshape(len(SIDES), len(POINTS), 1)
    # Right and left are swapped, and so are the ends of a line.
    grids, absent = grids[::-1][:, [0, 2, 1]], absent[::-1][:, [0, 2, 1]]
    flat = grids.reshape(len(maps), CELLS * CELLS)
    return np.concatenate([flat, absent.reshape(len(maps), 1)], axis=1)
