"""A radiograph with dark bone to one with bright bone."""

import dataclasses

import numpy as np

from xr2mri_jax.geometry import Radiograph


def inverted(radiograph: Radiograph) -> Radiograph:
    """The radiograph with its intensities turned round within their own range.

    Its background, where it has any, gets the lowest value of the others again.
    """
    array = radiograph.array
    turned = array.max() + array.min() - array
    if radiograph.background is not None:
        turned = np.where(radiograph.background, turned[~radiograph.background].min(), turned)
    return dataclasses.replace(radiograph, array=turned)
