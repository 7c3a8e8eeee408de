"""Whether a radiograph shows bone dark, and the radiograph with bone bright.

Files other than DICOM do not say their polarity, and in DICOM files the statement can be wrong.
"""

import dataclasses
from collections.abc import Mapping

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import KneePlace, Radiograph
from xr2mri_jax.preprocess.knee_finder.find import find_knees


def inverted(radiograph: Radiograph) -> Radiograph:
    """The radiograph with its intensities turned round within their own range."""
    array = radiograph.array
    return dataclasses.replace(radiograph, array=array.max() + array.min() - array)


def shows_dark_bone(places: Mapping[str, KneePlace]) -> bool:
    """Whether the knees that `find_knees` found are seen with dark bone."""
    return any(place.dark_bone for place in places.values())


def bone_bright(radiograph: Radiograph) -> tuple[Radiograph, bool]:
    """A crop with bone bright, and whether it was inverted for that.

    It is inverted where a knee is seen in its inverted image alone. A crop in which no knee is seen
    either way is trusted and returned as it is.
    """
    try:
        dark = shows_dark_bone(find_knees(radiograph))
    except InputError:
        dark = False
    return (inverted(radiograph), True) if dark else (radiograph, False)
