"""Volumes and radiographs with their geometry, and the canonical box around a knee.

World coordinates are RAS+ in mm, as in nibabel: x increases to the patient's right, y to the front,
z to the head. Integer voxel and pixel indices lie at the centres: an axis of n voxels covers the
indices -0.5 to n - 0.5. All code here runs in numpy on the host.
"""

from xr2mri_jax.geometry.canonical_box import (
    BOX_MM,
    canonical_affine,
    from_canonical,
    radiograph_affine,
    resample_radiograph,
    to_canonical,
)
from xr2mri_jax.geometry.comparison import require_same_geometry
from xr2mri_jax.geometry.knee_place import (
    CENTRE_ROW,
    LINE_SHARE,
    PLATEAU_DEVIATION_MM,
    PLATEAU_MM,
    KneePlace,
)
from xr2mri_jax.geometry.radiograph import Radiograph, checked_spacing, mirror_radiograph
from xr2mri_jax.geometry.resampling import resample
from xr2mri_jax.geometry.sides import SIDES, checked_side
from xr2mri_jax.geometry.volume import (
    Volume,
    checked_affine,
    mirror_volume,
    reorient_ras,
    without_gaps,
)

__all__ = [
    "BOX_MM",
    "CENTRE_ROW",
    "LINE_SHARE",
    "PLATEAU_DEVIATION_MM",
    "PLATEAU_MM",
    "SIDES",
    "KneePlace",
    "Radiograph",
    "Volume",
    "canonical_affine",
    "checked_affine",
    "checked_side",
    "checked_spacing",
    "from_canonical",
    "mirror_radiograph",
    "mirror_volume",
    "radiograph_affine",
    "reorient_ras",
    "require_same_geometry",
    "resample",
    "resample_radiograph",
    "to_canonical",
    "without_gaps",
]
