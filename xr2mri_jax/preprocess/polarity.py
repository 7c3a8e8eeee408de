"""A radiograph with dark bone to one with bright bone."""

import dataclasses

from xr2mri_jax.geometry import Radiograph


def inverted(radiograph: Radiograph) -> Radiograph:
    """The radiograph with its intensities turned round within their own range."""
    array = radiograph.array
    return dataclasses.replace(radiograph, array=array.max() + array.min() - array)
