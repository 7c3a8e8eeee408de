"""Whole-volume metrics in float64 on the host: PSNR with any peak, NMSE, NMI and HFEN."""

import numpy as np
from scipy import ndimage

LEAST_SQUARE = 1e-10
LARGEST_PSNR = 100.0
BINS = 100
LOG_SIZE, LOG_SIGMA = 15, 1.5


def psnr(
    prediction: np.ndarray, target: np.ndarray, mask: np.ndarray | None = None, peak: float = 1.0
) -> float:
    """Peak signal-to-noise ratio in dB; 100 for equal images, as in X2CT-GAN's code.

    Args:
      prediction, target: arrays of the same shape.
      mask: bool of the same shape; None: all.
      peak: the largest possible value.
    """
    p, t = _inside(prediction, target, mask)
    error = float(np.mean((p - t) ** 2)) if p.size else 0.0
    return LARGEST_PSNR if error == 0 else float(20 * np.log10(peak / np.sqrt(error)))


def nmse(prediction: np.ndarray, target: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Normalised mean squared error as fastMRI defines it; arguments as for `psnr`.

    The mean square of the target is at least 1e-10.
    """
    p, t = _inside(prediction, target, mask)
    if not p.size:
        return 0.0
    return float(np.mean((p - t) ** 2) / max(float(np.mean(t**2)), LEAST_SQUARE))


def nmi(prediction: np.ndarray, target: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Normalised mutual information (H(p) + H(t)) / H(p, t), 1 to 2; arguments as for `psnr`.

    Studholme, Hill and Hawkes 1999 (doi 10.1016/S0031-3203(98)00091-0), as scikit-image computes
    it: a joint histogram of 100 x 100 bins over the range of each image. 1 if both images are
    constant, where the ratio is undefined.
    """
    p, t = _inside(prediction, target, mask)
    if not p.size:
        return 1.0
    joint = np.bincount(_bins(p) * BINS + _bins(t), minlength=BINS * BINS).reshape(BINS, BINS)
    both = _entropy(joint.ravel())
    if both == 0:
        return 1.0
    return (_entropy(joint.sum(axis=0)) + _entropy(joint.sum(axis=1))) / both


def hfen(prediction: np.ndarray, target: np.ndarray, mask: np.ndarray | None = None) -> float:
    """High-frequency error norm: ||LoG(p) - LoG(t)|| / ||LoG(t)||.

    Ravishankar and Bresler 2011 (doi 10.1109/TMI.2010.2090538): a Laplacian of Gaussian of 15 x 15
    pixels, standard deviation 1.5 and sum 0 in every slice of the last two axes; slices are
    mirrored at their borders.

    Args:
      prediction, target: f[..., h, w]; outside the mask both count as 0.
      mask: bool of the same shape; None: all.

    Returns:
      0 or more; the mean square of LoG(t) is at least 1e-10.
    """
    if mask is not None:
        prediction, target = np.where(mask, prediction, 0), np.where(mask, target, 0)
    difference, edges = (
        _laplacian(np.asarray(x, np.float64))
        for x in (np.asarray(prediction, np.float64) - target, target)
    )
    if mask is not None:
        difference, edges = difference[mask], edges[mask]
    if not edges.size:
        return 0.0
    norm = max(float(np.mean(edges**2)), LEAST_SQUARE)
    return float(np.sqrt(np.mean(difference**2) / norm))


def _inside(prediction: np.ndarray, target: np.ndarray, mask: np.ndarray | None) -> tuple:
    if prediction.shape != target.shape:
        raise ValueError(f"target has shape {target.shape}, the prediction {prediction.shape}")
    if mask is None:
        mask = np.ones(target.shape, bool)
    if mask.shape != target.shape:
        raise ValueError(f"mask has shape {mask.shape}, the prediction {prediction.shape}")
    return tuple(np.asarray(x)[mask].astype(np.float64) for x in (prediction, target))


def _bins(values: np.ndarray) -> np.ndarray:
    """The bin of each value among BINS bins of equal width from minimum to maximum."""
    low, high = float(values.min()), float(values.max())
    if low == high:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, BINS + 1)
    found = np.searchsorted(edges, values, side="right") - 1
    return np.minimum(found, BINS - 1)  # the last bin includes its upper edge


def _entropy(counts: np.ndarray) -> float:
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log(share)).sum())


def _laplacian(image: np.ndarray) -> np.ndarray:
    offsets = np.arange(LOG_SIZE) - LOG_SIZE // 2
    smooth = np.exp(-0.5 * (offsets / LOG_SIGMA) ** 2)
    smooth /= smooth.sum()
    second = (offsets**2 - LOG_SIGMA**2) / LOG_SIGMA**4 * smooth
    result = np.zeros_like(image)
    for rows, columns in ((smooth, second), (second, smooth)):
        part = ndimage.correlate1d(image, rows, axis=-2, mode="reflect")
        result += ndimage.correlate1d(part, columns, axis=-1, mode="reflect")
    # Subtract the kernel's sum, so that a constant image gives 0.
    flat = ndimage.uniform_filter1d(image, LOG_SIZE, axis=-2, mode="reflect")
    flat = ndimage.uniform_filter1d(flat, LOG_SIZE, axis=-1, mode="reflect")
    return result - 2 * smooth.sum() * second.sum() * flat
