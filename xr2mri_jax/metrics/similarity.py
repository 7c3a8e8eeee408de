"""Structural similarity in float64 on the host, with configurable window, range and covariance.

`metrics.image` has the project's own definition; this module computes other codebases' variants.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from scipy import ndimage

K1, K2 = 0.01, 0.03
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


@dataclasses.dataclass(frozen=True)
class Form:
    """A variant of SSIM whose map covers only voxels with a complete window.

    Attributes:
      size: voxels of the window along each axis, odd.
      sigma: standard deviation of a Gaussian window; None: uniform window.
      data_range: range of the intensities.
      sample_covariance: divides variances and covariance by n - 1 instead of n.
    """

    size: int
    sigma: float | None
    data_range: float
    sample_covariance: bool = False


def maps(
    prediction: np.ndarray, target: np.ndarray, form: Form, axes: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """SSIM and its contrast-structure term at every voxel with a complete window.

    Args:
      prediction, target: f[...], the same shape.
      form: the SSIM variant.
      axes: axes along which the window extends; slices along the other axes are independent.

    Returns:
      Two f64 arrays, `form.size` - 1 shorter along `axes`.

    Raises:
      ValueError: shapes differ, or an axis is shorter than the window.
    """
    if prediction.shape != target.shape:
        raise ValueError(f"target has shape {target.shape}, the prediction {prediction.shape}")
    short = [prediction.shape[axis] for axis in axes if prediction.shape[axis] < form.size]
    if short:
        raise ValueError(
            f"an axis has {min(short)} voxels, expected at least the window's {form.size}"
        )
    # Centre the intensities to keep the variances of bright, flat images exact.
    p, t = np.asarray(prediction, np.float64), np.asarray(target, np.float64)
    shift_p, shift_t = p.mean(), t.mean()
    p, t = p - shift_p, t - shift_t
    mp, mt, pp, tt, pt = (_window(x, form, axes) for x in (p, t, p * p, t * t, p * t))
    count = form.size ** len(axes)
    scale = count / (count - 1) if form.sample_covariance else 1.0
    variance, covariance = scale * (pp - mp * mp + tt - mt * mt), scale * (pt - mp * mt)
    mp, mt = mp + shift_p, mt + shift_t
    c1, c2 = (K1 * form.data_range) ** 2, (K2 * form.data_range) ** 2
    contrast = (2 * covariance + c2) / (variance + c2)
    return (2 * mp * mt + c1) / (mp * mp + mt * mt + c1) * contrast, contrast


def ssim(
    prediction: np.ndarray,
    target: np.ndarray,
    mask: np.ndarray | None,
    form: Form,
    axes: Sequence[int] | None = None,
) -> float:
    """Mean of the map over the voxels inside the mask that have a complete window.

    Args:
      prediction, target: f[...], the same shape; both are set to 0 outside the mask.
      mask: bool of the same shape; None: all.
      form: the SSIM variant.
      axes: as for `maps`; None: all.

    Returns:
      A value in [-1, 1]; 0 if no voxel is included.

    Raises:
      ValueError: as for `maps`.
    """
    axes = tuple(range(prediction.ndim)) if axes is None else tuple(axes)
    if mask is None:
        return float(maps(prediction, target, form, axes)[0].mean())
    prediction, target = np.where(mask, prediction, 0), np.where(mask, target, 0)
    found = maps(prediction, target, form, axes)[0]
    counted = mask[_inner(mask.shape, form.size, axes)]
    return float(found[counted].mean()) if counted.any() else 0.0


def ms_ssim(
    prediction: np.ndarray, target: np.ndarray, mask: np.ndarray | None, form: Form, scales: int
) -> float:
    """Multi-scale SSIM: contrast terms of the finer scales, SSIM of the coarsest, weighted.

    Wang, Simoncelli and Bovik 2003 (doi 10.1109/ACSSC.2003.1292216), as MONAI computes it: each
    coarser scale averages 2 x 2 x 2 voxels and drops an odd last voxel; negative terms count as 0.
    The weights are the first `scales` of the paper's five, rescaled to the sum of all five.

    Args:
      prediction, target, mask, form: as for `ssim`; a coarser voxel is in the mask if all of its
        finer voxels are.
      scales: 1 to 5.

    Returns:
      A value in [0, 1].

    Raises:
      ValueError: as for `maps` at any scale, or `scales` is out of range.
    """
    if not 1 <= scales <= len(SCALE_WEIGHTS):
        raise ValueError(f"{scales} scales, expected 1 to {len(SCALE_WEIGHTS)}")
    axes = tuple(range(prediction.ndim))
    inside = np.ones(prediction.shape, bool) if mask is None else mask
    p, t = (np.where(inside, x, 0).astype(np.float64) for x in (prediction, target))
    weights = np.array(SCALE_WEIGHTS[:scales]) * sum(SCALE_WEIGHTS) / sum(SCALE_WEIGHTS[:scales])
    result = 1.0
    for scale, weight in enumerate(weights):
        whole, contrast = maps(p, t, form, axes)
        counted = inside[_inner(inside.shape, form.size, axes)]
        term = whole if scale == scales - 1 else contrast
        result *= max(float(term[counted].mean()) if counted.any() else 0.0, 0.0) ** weight
        p, t = _halved(p), _halved(t)
        inside = _halved(inside.astype(np.float64)) == 1
    return result


def most_scales(shape: Sequence[int], form: Form) -> int:
    """The number of scales of `ms_ssim` that a shape allows, 0 to 5."""
    most = int(math.log2(max(min(shape) / form.size, 0.5))) + 1
    return min(most, len(SCALE_WEIGHTS)) if min(shape) >= form.size else 0


def _window(image: np.ndarray, form: Form, axes: Sequence[int]) -> np.ndarray:
    offsets = np.arange(form.size) - form.size // 2
    weights = np.ones(form.size)
    if form.sigma is not None:
        weights = np.exp(-0.5 * (offsets / form.sigma) ** 2)
    weights /= weights.sum()
    for axis in axes:
        image = ndimage.correlate1d(image, weights, axis=axis, mode="constant")
    return image[_inner(image.shape, form.size, axes)]


def _inner(shape: Sequence[int], size: int, axes: Sequence[int]) -> tuple[slice, ...]:
    edge = size // 2
    return tuple(slice(edge, n - edge) if a in axes else slice(None) for a, n in enumerate(shape))


def _halved(image: np.ndarray) -> np.ndarray:
    for axis, n in enumerate(image.shape):
        even = np.moveaxis(image, axis, 0)[: n // 2 * 2]
        image = np.moveaxis(0.5 * (even[::2] + even[1::2]), 0, axis)
    return image
