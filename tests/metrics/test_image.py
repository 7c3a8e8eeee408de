"""Image metrics against scikit-image, numpy and hand-computed values."""

import jax
import numpy as np
import pytest
from skimage import metrics as skimage_metrics

from xr2mri_jax.metrics import image

SSIM = {
    "gaussian_weights": True,
    "sigma": 1.5,
    "use_sample_covariance": False,
    "data_range": 1.0,
    "full": True,
}


def _pair(shape, seed=0):
    rng = np.random.default_rng(seed)
    target = rng.random(shape, dtype=np.float32)
    noise = 0.3 * rng.standard_normal(shape).astype(np.float32)
    return np.clip(target + noise, 0, 1).astype(np.float32), target


def _ssim_direct(prediction, target, mask):
    """Structural similarity at one voxel after the other, straight from the formula."""
    values = []
    for centre in zip(*np.nonzero(mask), strict=True):
        weight = np.ones_like(prediction, np.float64)
        for axis, position in enumerate(centre):
            offset = np.arange(prediction.shape[axis]) - position
            line = np.where(np.abs(offset) <= 5, np.exp(-0.5 * (offset / 1.5) ** 2), 0.0)
            weight = weight * line.reshape([-1 if a == axis else 1 for a in range(mask.ndim)])
        weight = weight * mask
        weight /= weight.sum()
        mp, mt = (weight * prediction).sum(), (weight * target).sum()
        vp = (weight * (prediction - mp) ** 2).sum()
        vt = (weight * (target - mt) ** 2).sum()
        cov = (weight * (prediction - mp) * (target - mt)).sum()
        luminance = (2 * mp * mt + 1e-4) / (mp**2 + mt**2 + 1e-4)
        values.append(luminance * (2 * cov + 9e-4) / (vp + vt + 9e-4))
    return np.mean(values)


@pytest.mark.parametrize("shape", [(20, 23), (16, 15, 18)])
def test_similarity_map_is_scikit_images_away_from_the_border(shape):
    prediction, target = _pair(shape)
    ours = image.ssim_map(prediction[None, ..., None], target[None, ..., None])[0, ..., 0]
    reference = skimage_metrics.structural_similarity(prediction, target, **SSIM)[1]
    inner = tuple(slice(5, -5) for _ in shape)
    np.testing.assert_allclose(np.asarray(ours)[inner], reference[inner], atol=2e-5)


@pytest.mark.parametrize(
    ("function", "shape"), [(image.ssim2d, (9, 14)), (image.ssim3d, (4, 7, 13))]
)
def test_similarity_with_mask_and_short_axes_equals_the_formula(function, shape):
    prediction, target = _pair(shape, seed=1)
    mask = np.zeros(shape, np.float32)
    mask[..., 1:-2, 2:] = 1.0
    ours = function(prediction[None, ..., None], target[None, ..., None], mask[None, ..., None])
    np.testing.assert_allclose(ours, [_ssim_direct(prediction, target, mask)], atol=2e-5)


def test_a_full_mask_changes_nothing():
    prediction, target = (x[None, ..., None] for x in _pair((6, 12, 13)))
    ones = np.ones_like(prediction)
    for metric in (image.mae, image.mse, image.psnr, image.ssim3d):
        np.testing.assert_allclose(
            metric(prediction, target, ones), metric(prediction, target), rtol=1e-5
        )


def test_voxels_outside_the_mask_influence_nothing():
    prediction, target = (np.stack([x, x])[..., None] for x in _pair((6, 12, 13)))
    mask = np.zeros_like(prediction)
    mask[:, :, 3:9, 2:] = 1.0
    prediction[1][mask[1] == 0] = 0.123
    target[1][mask[1] == 0] = 77.0
    for metric in (image.mae, image.mse, image.psnr, image.ssim3d):
        both = np.asarray(jax.jit(metric)(prediction, target, mask))
        np.testing.assert_allclose(both[0], both[1], rtol=1e-6)


def test_psnr_is_scikit_images():
    prediction, target = _pair((2, 5, 6, 7, 1))
    expected = [
        skimage_metrics.peak_signal_noise_ratio(t, p, data_range=1.0)
        for p, t in zip(prediction, target, strict=True)
    ]
    np.testing.assert_allclose(image.psnr(prediction, target), expected, rtol=1e-5)


def test_hand_computed_values():
    target = np.zeros((2, 2, 2, 1), np.float32)
    prediction = np.zeros_like(target)
    prediction[0, 0, 0], prediction[0, 1, 1], prediction[1] = 0.1, 1.0, 0.5
    mask = np.ones_like(target)
    mask[0, 1, 1] = 0.0
    np.testing.assert_allclose(image.mae(prediction, target, mask), [0.1 / 3, 0.5], rtol=1e-6)
    np.testing.assert_allclose(
        image.psnr(prediction, target, mask),
        [-10 * np.log10(0.01 / 3), -10 * np.log10(0.25)],
        rtol=1e-5,
    )
    np.testing.assert_allclose(image.psnr(prediction, prediction), [100.0, 100.0], rtol=1e-5)
    flat = np.full((1, 4, 4, 1), 0.5, np.float32)
    expected = (2 * 0.5 * 0.25 + 1e-4) / (0.25 + 0.0625 + 1e-4)
    np.testing.assert_allclose(image.ssim2d(flat, 0.5 * flat), [expected], rtol=1e-4)


def test_equal_images_have_similarity_one_and_an_empty_mask_is_zero():
    prediction, _ = _pair((2, 6, 12, 12, 1))
    mask = np.ones_like(prediction)
    mask[1] = 0.0
    np.testing.assert_allclose(image.ssim3d(prediction, prediction, mask), [1.0, 0.0], atol=1e-6)
    assert image.mae(prediction, prediction + 1, mask)[1] == 0.0


def test_jitted_single_and_batched_agree():
    prediction, target = _pair((3, 12, 13, 1))
    batched = jax.jit(image.ssim2d)(prediction, target)
    assert batched.shape == (3,) and batched.dtype == np.float32
    for i in range(3):
        np.testing.assert_allclose(
            image.ssim2d(prediction[i : i + 1], target[i : i + 1])[0], batched[i], rtol=1e-5
        )


def test_mismatches_raise():
    a = np.zeros((1, 4, 4, 1), np.float32)
    with pytest.raises(ValueError, match="target has shape"):
        image.psnr(a, a[:, :3])
    with pytest.raises(ValueError, match="mask has shape"):
        image.mae(a, a, a[..., 0])
    with pytest.raises(ValueError, match="expected 5 axes"):
        image.ssim3d(a, a)
    with pytest.raises(ValueError, match="expected 4 axes"):
        image.ssim2d(a[0], a[0])
