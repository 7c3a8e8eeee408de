"""Metrics as other codebases define them, for comparison; each convention returns a dict."""

from collections.abc import Callable

import numpy as np

from xr2mri_jax.metrics import norms
from xr2mri_jax.metrics.similarity import Form, most_scales, ms_ssim, ssim

X2CT_PEAK, X2CT_SCALE = 4095.0, 2500.0
SLICES = Form(size=7, sigma=None, data_range=1.0, sample_covariance=True)
# Without a data range scikit-image assumes that floats span -1 to 1.
NO_RANGE = Form(size=7, sigma=None, data_range=2.0, sample_covariance=True)
GAUSSIAN = Form(size=11, sigma=1.5, data_range=1.0)

Measure = Callable[[np.ndarray, np.ndarray, np.ndarray | None], dict[str, float]]


def x2ct_gan(
    prediction: np.ndarray, target: np.ndarray, mask: np.ndarray | None = None
) -> dict[str, float]:
    """PSNR and SSIM as in the published code of X2CT-GAN (github.com/kylekma/X2CT, test.py).

    PSNR: intensities times 2500, truncated to integers, with a peak of 4095, of the volume and of
    slices; 100 dB for equal inputs. SSIM: slices with a uniform window of 7 x 7, sample covariance
    and data range 1. Slice values are averaged along each of the three axes, then over the axes.

    Args:
      prediction: f[d, h, w]; clipped to [0, 1].
      target: f[d, h, w] in [0, 1].
      mask: bool[d, h, w]; None: all voxels, as in that code. Otherwise PSNR includes only voxels
        inside the mask and skips slices without any; for SSIM see `similarity.ssim`.

    Returns:
      psnr_3d, psnr_slices, ssim_slices.

    Raises:
      ValueError: shapes differ or an axis is shorter than 7.
    """
    prediction = np.clip(prediction, 0, 1)
    p, t = ((np.asarray(x, np.float64) * X2CT_SCALE).astype(np.int32) for x in (prediction, target))
    axes = range(prediction.ndim)
    return {
        "psnr_3d": norms.psnr(p, t, mask, peak=X2CT_PEAK),
        "psnr_slices": float(np.mean([_psnr_of_slices(p, t, mask, axis) for axis in axes])),
        "ssim_slices": float(
            np.mean(
                [ssim(prediction, target, mask, SLICES, [a for a in axes if a != x]) for x in axes]
            )
        ),
    }


def _psnr_of_slices(
    prediction: np.ndarray, target: np.ndarray, mask: np.ndarray | None, axis: int
) -> float:
    inside = np.ones(target.shape, bool) if mask is None else mask
    slices = zip(*(np.moveaxis(x, axis, 0) for x in (prediction, target, inside)), strict=True)
    found = [norms.psnr(p, t, m, peak=X2CT_PEAK) for p, t, m in slices if m.any()]
    return float(np.mean(found)) if found else norms.LARGEST_PSNR


def no_data_range(
    prediction: np.ndarray, target: np.ndarray, mask: np.ndarray | None = None
) -> dict[str, float]:
    """SSIM as scikit-image computed it for floats without `data_range`: a range of 2.

    A range that is twice too large makes the constants four times as large and the SSIM higher.
    PSNR without `data_range` uses a peak of 1 if the image has no negative values. SSIM uses a
    uniform window of 7 x 7 x 7 and sample covariance. Arguments and errors: see `x2ct_gan`.

    Returns:
      ssim, psnr.
    """
    peak = 1.0 if float(np.min(target)) >= 0 else 2.0
    return {
        "ssim": ssim(prediction, target, mask, NO_RANGE),
        "psnr": norms.psnr(prediction, target, mask, peak=peak),
    }


def monai(
    prediction: np.ndarray, target: np.ndarray, mask: np.ndarray | None = None
) -> dict[str, float]:
    """PSNR, SSIM and MS-SSIM as MONAI's metrics compute them with their defaults and range 1.

    SSIM: a Gaussian window of 11 voxels and standard deviation 1.5 along three axes, population
    covariance, only voxels with a complete window. MS-SSIM: as many scales as the shape allows, at
    most five (MONAI itself rejects volumes below 160 voxels for five). Arguments: see `x2ct_gan`.

    Returns:
      psnr (100 for equal images, where MONAI gives infinity), ssim, ms_ssim, scales.

    Raises:
      ValueError: shapes differ or an axis is shorter than 11.
    """
    scales = most_scales(target.shape, GAUSSIAN)
    return {
        "psnr": norms.psnr(prediction, target, mask),
        "ssim": ssim(prediction, target, mask, GAUSSIAN),
        "ms_ssim": ms_ssim(prediction, target, mask, GAUSSIAN, scales),
        "scales": float(scales),
    }


def further(
    prediction: np.ndarray, target: np.ndarray, mask: np.ndarray | None = None
) -> dict[str, float]:
    """NMSE, NMI and HFEN (see `norms`) of prediction and target f[d, h, w], mask bool or None."""
    return {
        "nmse": norms.nmse(prediction, target, mask),
        "nmi": norms.nmi(prediction, target, mask),
        "hfen": norms.hfen(prediction, target, mask),
    }


CONVENTIONS: dict[str, Measure] = {
    "x2ct_gan": x2ct_gan,
    "no_data_range": no_data_range,
    "monai": monai,
    "further": further,
}
# The shortest axis that each convention accepts.
LEAST_VOXELS = {
    "x2ct_gan": SLICES.size,
    "no_data_range": NO_RANGE.size,
    "monai": GAUSSIAN.size,
    "further": 1,
}
