"""Inverts radiographs with dark bone."""

import dataclasses

import numpy as np

from xr2mri_jax.geometry import Radiograph


def inverted(radiograph: Radiograph) -> Radiograph:
    """The radiograph with its intensities inverted within their range.

    Background pixels, if any, are set to the lowest value of the other pixels.
    """
    array = radiograph.array
    turned = array.max() + array.min() - array
    if radiograph.background is not None:
        turned = np.where(radiograph.background, turned[~radiograph.background].min(), turned)
    return dataclasses.replace(radiograph, array=turned)
