"""The measured joint space of a knee as text, and as length markers in its pictures."""

from collections.abc import Callable

import numpy as np

from xr2mri_jax.inference.framing import FramedKnee
from xr2mri_jax.preprocess.joint_space import COMPARTMENTS
from xr2mri_jax.presentation.length_markers import LengthMarker


def space_texts(
    mm: tuple[float, float] | None, share: tuple[float, float] | None, estimated: bool = False
) -> tuple[str, str]:
    """(medial, lateral) such as "4.2 mm"; without a scale "5.5 %" of the joint line; or "".

    At an `estimated` scale "~4.2 mm".
    """
    if mm is not None:
        about = "~" if estimated else ""
        return f"{about}{mm[0]:.1f} mm", f"{about}{mm[1]:.1f} mm"
    return ("", "") if share is None else (f"{share[0]:.1%}", f"{share[1]:.1%}")


def length_markers(
    knee: FramedKnee, place: Callable[[np.ndarray], np.ndarray]
) -> list[LengthMarker]:
    """Markers of the narrowest joint space of a knee, medial and lateral.

    Args:
      knee: the knee.
      place: maps (row, col) f64[2, 2] of its source to those of the picture.

    Returns:
      The medial and the lateral marker; none if nothing was measured.
    """
    if knee.joint_space is None:
        return []
    texts = space_texts(knee.joint_space_mm, knee.joint_space_share, knee.scale_estimated)
    return [
        LengthMarker(place(getattr(knee.joint_space, name).narrowest), f"{name}\n{text}")
        for name, text in zip(COMPARTMENTS, texts, strict=True)
    ]
