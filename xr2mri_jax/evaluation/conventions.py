"""Measures predictions and controls by the metric conventions of other codebases."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from xr2mri_jax.errors import InputError
from xr2mri_jax.evaluation import statistics
from xr2mri_jax.evaluation.volume_store import VolumeStore
from xr2mri_jax.metrics.conventions import CONVENTIONS, LEAST_VOXELS
from xr2mri_jax.presentation.model_and_controls import MODEL
from xr2mri_jax.runtime.progress import progress

ABOUT = {
    "x2ct_gan": "X2CT-GAN's published code: PSNR with a peak of 4095 on intensities times 2500, "
    "truncated to integers, for the volume and for slices along three axes; SSIM of slices along "
    "three axes, uniform window of 7 x 7, sample covariance, data range 1",
    "no_data_range": "scikit-image without data_range: it assumes floats from -1 to 1, so the "
    "range of SSIM is 2; uniform window of 7 x 7 x 7; PSNR with peak 1",
    "monai": "MONAI's PSNRMetric, SSIMMetric and MultiScaleSSIMMetric, range 1, Gaussian window of "
    "11, only voxels with a complete window; as many scales as the volume allows",
    "further": "NMSE (fastMRI), NMI (scikit-image, 100 bins), HFEN (Laplacian of Gaussian of 15 x "
    "15, standard deviation 1.5, slices of height and width)",
}
MASK = "both volumes are set to 0 outside the acquired field; only voxels inside it are averaged"

# f64[n] by convention, source and metric.
Found = dict[str, dict[str, dict[str, np.ndarray]]]


def require(names: Sequence[str], shape: Sequence[int] = ()) -> None:
    """Checks the names and, if given, the shape (d, h, w) of the volumes.

    Raises:
      InputError: a name is unknown, or the volumes are too small for a convention.
    """
    for name in names:
        if name not in CONVENTIONS:
            raise InputError(
                f"--conventions: found {name!r}, expected some of {', '.join(CONVENTIONS)}"
            )
        if shape and min(shape) < LEAST_VOXELS[name]:
            raise InputError(
                f"--conventions: found volumes of {' x '.join(map(str, shape))} voxels, expected "
                f"at least {LEAST_VOXELS[name]} along each axis for {name}"
            )


def measure(
    names: Sequence[str],
    store: VolumeStore,
    sources: Mapping[str, Callable[[np.ndarray], np.ndarray]],
) -> Found:
    """Measures all cases by all given conventions.

    Args:
      names: keys of `CONVENTIONS`.
      store: true volumes and masks of n cases.
      sources: by name, functions from cases i[b] to predictions f32[b, d, h, w, 1].
    """
    found: Found = {name: {source: {} for source in sources} for name in names}
    cases = store.cases if names else 0
    for case in progress(range(cases), "conventions", "case", cases):
        at = np.array([case])
        true, mask = store.real(at)[0, ..., 0], store.mask(at)[0, ..., 0] > 0
        whole = None if mask.all() else mask
        for source, volumes in sources.items():
            predicted = np.asarray(volumes(at))[0, ..., 0]
            for name in names:
                for metric, value in CONVENTIONS[name](predicted, true, whole).items():
                    values = found[name][source].setdefault(metric, np.empty(store.cases))
                    values[case] = value
    return found


def summarise(found: Found, subjects: Sequence[str], seed: int) -> dict[str, Any]:
    """Summary by convention: about, mask, model and controls, each metric with its interval."""
    return {
        name: {
            "about": ABOUT[name],
            "mask": MASK,
            MODEL: statistics.estimates(sources[MODEL], subjects, seed=seed),
            "controls": {
                source: statistics.estimates(values, subjects, seed=seed)
                for source, values in sources.items()
                if source != MODEL
            },
        }
        for name, sources in found.items()
    }


def columns(found: Found) -> dict[str, list[float]]:
    """The model's metrics of every case as columns of cases.csv, for example `monai_ssim`."""
    return {
        f"{name}_{metric}": [round(float(v), 6) for v in values]
        for name, sources in found.items()
        for metric, values in sources[MODEL].items()
    }
