"""Makes an example of knee_xray from one radiograph file; runs in worker processes."""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xr2mri_jax.datasets.knee_xray.layout import Knee
from xr2mri_jax.datasets.outcomes import Outcome, checked_share, this_worker
from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import SIDES
from xr2mri_jax.io import read_radiograph
from xr2mri_jax.preprocess.contrast import contrast_with_clahe
from xr2mri_jax.preprocess.framing import frame_radiograph
from xr2mri_jax.preprocess.knee_request import KneeRequest
from xr2mri_jax.preprocess.knees import NAME, one_knee
from xr2mri_jax.simulation import framing

# Pixels of a frame before it is placed in the canonical box.
_FRAME = (224, 224)


@dataclasses.dataclass(frozen=True)
class XrayOptions:
    """The options, recorded with the dataset; InputError for an invalid one.

    Attributes:
      clahe: (clip limit, size of the tiles in mm) of adaptive histogram equalisation, or None.
      max_broken: maximum fraction of the files that may be unusable.
    """

    clahe: tuple[float, float] | None = None
    max_broken: float = 0.01

    def __post_init__(self) -> None:
        contrast_with_clahe(self.clahe)
        checked_share(self.max_broken)

    @property
    def contrast(self) -> dict[str, Any]:
        """The contrast settings for `standardise_radiograph`."""
        return contrast_with_clahe(self.clahe)


@dataclasses.dataclass(frozen=True)
class ListedFile:
    """A file of the source: the knee that it shows, or None with the reason."""

    path: Path
    knee: Knee | None
    problem: str = ""


def make_radiograph(
    shape: Sequence[int], contrast: Mapping[str, Any], listed: ListedFile, boxed: bool = False
) -> list[Outcome]:
    """The outcome of one file, under the key NAME_SIDE (of an unusable file: its path)."""
    start = time.perf_counter()
    knee = listed.knee
    if knee is None:
        return [Outcome(str(listed.path), None, "file_name", listed.problem)]
    try:
        # Files of this layout are crops of one knee: if none is found, the whole crop is used, with
        # a doubt.
        request = KneeRequest(knee.side, side_source=NAME, force=True, upright=True)
        found = one_knee(read_radiograph(knee.path), request)
        size = _FRAME if boxed else shape
        image = frame_radiograph(found.radiograph, found.place, size, contrast).image
        if boxed:
            image = framing.canvas(image[..., 0], shape[0])[..., None]
    except Exception as error:  # one bad file of thousands must not end the run
        text = " ".join(str(error).split())
        if not isinstance(error, InputError):
            text = f"{type(error).__name__}: {text}"
        return [Outcome(str(knee.path), None, "radiograph_broken", text)]
    example = {
        "xray": np.rint(image * 65535).astype(np.uint16),
        "side": SIDES.index(found.side),
        "kl": knee.kl,
        "subject": knee.subject,
        "spacing": np.zeros(2, np.float32),
        "inverted": int(found.inverted),
    }
    cost = {"radiograph": time.perf_counter() - start}
    key = f"{knee.name}_{knee.side}"
    return [Outcome(key, example, cost=cost, worker=this_worker(), doubts=found.doubts)]
