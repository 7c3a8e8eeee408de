"""Metrics of other codes against scikit-image, SciPy and formulas written anew, within 1e-5.

Odd sizes, masks and constant images.
"""

import jax
import numpy as np
import pytest
from scipy import ndimage, signal
from skimage import metrics as skimage_metrics

from xr2mri_jax.metrics import conventions, image, norms, similarity

SHAPES = [(13, 15, 17), (12, 14, 11)]
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


@jax.jit
def _own(prediction, target, mask):
    return {
        "map": image.ssim_map(prediction, target, mask),
        "mae": image.mae(prediction, target, mask),
        "psnr": image.psnr(prediction, target, mask),
    }


def _pair(shape, seed=0):
    rng = np.random.default_rng(seed)
    target = ndimage.gaussian_filter(rng.random(shape), 1.0)
    target = (target - target.min()) / np.ptp(target)
    prediction = np.clip(target + 0.2 * rng.standard_normal(shape), 0, 1)
    return prediction.astype(np.float32), target.astype(np.float32)


def _mask(shape):
    mask = np.ones(shape, bool)
    mask[:2], mask[..., -3:], mask[:, 1] = False, False, False
    return mask


def _flat(shape):
    return np.full(shape, 0.9, np.float32), np.full(shape, 0.3, np.float32)


CASES = [
    *[(name, *_pair(shape), mask) for shape in SHAPES for name, mask in
      (("whole", None), ("mask", _mask(shape)))],
    ("flat", *_flat((13, 15, 17)), None),
    ("flat mask", *_flat((13, 15, 17)), _mask((13, 15, 17))),
    ("equal", _pair((13, 15, 17))[1], _pair((13, 15, 17))[1], None),
]  # fmt: skip
parametrised = pytest.mark.parametrize(
    ("prediction", "target", "mask"),
    [
        pytest.param(*case[1:], id=f"{case[0]}-{'x'.join(map(str, case[1].shape))}")
        for case in CASES
    ],
)


def _filled(prediction, target, mask):
    inside = np.ones(target.shape, bool) if mask is None else mask
    p, t = (np.where(inside, x, 0).astype(np.float64) for x in (prediction, target))
    return p, t, inside


@parametrised
def test_x2ct_gan_is_its_published_code(prediction, target, mask):
    """Slices by scikit-image, one after the other, as compare_ssim with multichannel=True did."""
    found = conventions.x2ct_gan(prediction, target, mask)
    p, t, inside = _filled(prediction, target, mask)
    psnr, ssim = [], []
    a, b = (np.int32(x * 2500) for x in (p, t))
    for axis in range(3):
        errors = np.moveaxis((a - b).astype(np.float64) ** 2, axis, 0)
        chosen = np.moveaxis(inside, axis, 0)
        mse = [e[m].mean() for e, m in zip(errors, chosen, strict=True) if m.any()]
        psnr.append(np.mean([100 if e == 0 else 20 * np.log10(4095 / np.sqrt(e)) for e in mse]))
        full = skimage_metrics.structural_similarity(
            np.moveaxis(p, axis, -1), np.moveaxis(t, axis, -1), data_range=1.0, channel_axis=-1,
            full=True,
        )[1]  # fmt: skip
        ssim.append(full[3:-3, 3:-3][np.moveaxis(inside, axis, -1)[3:-3, 3:-3]].mean())
        if mask is None:
            mean = skimage_metrics.structural_similarity(
                np.moveaxis(p, axis, -1), np.moveaxis(t, axis, -1), data_range=1.0, channel_axis=-1
            )
            assert ssim[-1] == pytest.approx(mean, abs=1e-12)
    np.testing.assert_allclose(found["psnr_slices"], np.mean(psnr), **CLOSE)
    np.testing.assert_allclose(found["ssim_slices"], np.mean(ssim), **CLOSE)
    error = ((a - b)[inside].astype(np.float64) ** 2).mean()
    whole = 100 if error == 0 else 20 * np.log10(4095 / np.sqrt(error))
    np.testing.assert_allclose(found["psnr_3d"], whole, **CLOSE)


@parametrised
def test_a_missing_data_range_is_that_of_scikit_image(prediction, target, mask):
    found = conventions.no_data_range(prediction, target, mask)
    p, t, inside = _filled(prediction, target, mask)
    full = skimage_metrics.structural_similarity(p, t, data_range=2.0, full=True)[1]
    inner = (slice(3, -3),) * 3
    np.testing.assert_allclose(found["ssim"], full[inner][inside[inner]].mean(), **CLOSE)
    if not np.array_equal(prediction, target):
        expected = skimage_metrics.peak_signal_noise_ratio(t[inside], p[inside])
        np.testing.assert_allclose(found["psnr"], expected, **CLOSE)


def _monai(p, t):
    """SSIM and contrast maps by whole 3D convolutions, from MONAI's formula."""
    line = np.exp(-np.square((np.arange(11) - 5) / 1.5) / 2)
    line /= line.sum()
    kernel = line[:, None, None] * line[:, None] * line

    def mean(x):
        return signal.convolve(x, kernel, mode="valid", method="direct")

    mx, my = mean(p), mean(t)
    vx, vy, cov = mean(p * p) - mx**2, mean(t * t) - my**2, mean(p * t) - mx * my
    contrast = (2 * cov + 0.03**2) / (vx + vy + 0.03**2)
    return (2 * mx * my + 0.01**2) / (mx**2 + my**2 + 0.01**2) * contrast, contrast


@parametrised
def test_monais_similarity_is_its_formula(prediction, target, mask):
    found = conventions.monai(prediction, target, mask)
    p, t, inside = _filled(prediction, target, mask)
    inner = tuple(slice(5, n - 5) for n in p.shape)
    expected = _monai(p, t)[0][inside[inner]]
    np.testing.assert_allclose(found["ssim"], expected.mean() if expected.size else 0.0, **CLOSE)
    error = np.mean((p - t)[inside] ** 2)
    np.testing.assert_allclose(found["psnr"], 100 if error == 0 else -10 * np.log10(error), **CLOSE)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    ("shape", "scales"), [((23, 25, 27), 2), ((22, 24, 45), 2), ((12, 45, 45), 1)]
)
def test_multi_scale_similarity_is_monais_formula(shape, scales, masked):
    prediction, target = _pair(shape)
    mask = np.ones(shape, bool)
    if masked:
        mask[..., :4] = False
    assert similarity.most_scales(shape, conventions.GAUSSIAN) == scales
    weights = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])
    weights = weights[:scales] * weights.sum() / weights[:scales].sum()
    p, t, inside = _filled(prediction, target, mask)
    terms = []
    for scale in range(scales):
        whole, contrast = _monai(p, t)
        chosen = inside[tuple(slice(5, n - 5) for n in inside.shape)]
        terms.append(max((whole if scale == scales - 1 else contrast)[chosen].mean(), 0))
        even = tuple(slice(0, n // 2 * 2) for n in p.shape)
        halves = [n // 2 for n in p.shape]
        blocks = [size for n in halves for size in (n, 2)]
        p, t, inside = (x[even].reshape(blocks).mean(axis=(1, 3, 5)) for x in (p, t, inside))
        inside = inside == 1
    expected = np.prod(np.array(terms) ** weights)
    found = conventions.monai(prediction, target, mask)
    np.testing.assert_allclose(found["ms_ssim"], expected, **CLOSE)
    assert found["scales"] == scales


def test_five_scales_have_the_papers_weights():
    assert sum(similarity.SCALE_WEIGHTS) == pytest.approx(1.0001)
    assert similarity.most_scales((176, 180, 200), conventions.GAUSSIAN) == 5
    assert similarity.most_scales((10, 180, 200), conventions.GAUSSIAN) == 0
    plane = conventions.GAUSSIAN
    prediction, target = _pair((176, 177))
    found = similarity.ms_ssim(prediction, target, None, plane, 5)
    assert 0 < found < similarity.ms_ssim(target, target, None, plane, 5) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="6 scales"):
        similarity.ms_ssim(prediction, target, None, plane, 6)


@parametrised
def test_nmse_nmi_and_hfen_are_independent_formulas(prediction, target, mask):
    found = conventions.further(prediction, target, mask)
    p, t, inside = _filled(prediction, target, mask)
    expected = np.linalg.norm(p - t) ** 2 / np.linalg.norm(t) ** 2
    np.testing.assert_allclose(found["nmse"], expected, **CLOSE)
    if np.ptp(t[inside]) > 0:
        expected = skimage_metrics.normalized_mutual_information(
            prediction[inside].astype(np.float64), target[inside].astype(np.float64)
        )
        np.testing.assert_allclose(found["nmi"], expected, **CLOSE)
    else:
        assert found["nmi"] == 1.0
    y, x = np.mgrid[-7:8, -7:8]
    bell = np.exp(-(x**2 + y**2) / (2 * 1.5**2))
    kernel = bell * (x**2 + y**2 - 2 * 1.5**2) / (1.5**4 * bell.sum())
    kernel -= kernel.mean()
    edges = [np.stack([ndimage.convolve(s, kernel, mode="reflect") for s in v]) for v in (p, t)]
    size = np.linalg.norm(edges[1][inside]) / np.sqrt(inside.sum())
    error = np.linalg.norm((edges[0] - edges[1])[inside]) / np.sqrt(inside.sum())
    np.testing.assert_allclose(found["hfen"], error / max(size, 1e-5), **CLOSE)


@parametrised
def test_the_projects_own_metrics_agree_with_references_too(prediction, target, mask):
    """3D SSIM from its formula at some voxels, PSNR and MAE by numpy."""
    p, t, inside = _filled(prediction, target, mask)
    batch = [np.float32(x)[None, ..., None] for x in (prediction, target, inside)]
    found = np.asarray(_own(*batch)["map"])[0, ..., 0]
    for centre in [(5, 7, 6), (2, 2, 3), (10, 5, 8)]:
        weight = inside.astype(np.float64)
        for axis, at in enumerate(centre):
            offset = np.arange(p.shape[axis]) - at
            line = np.where(np.abs(offset) <= 5, np.exp(-0.5 * (offset / 1.5) ** 2), 0.0)
            weight = weight * line.reshape([-1 if a == axis else 1 for a in range(3)])
        weight /= weight.sum()
        mp, mt = (weight * p).sum(), (weight * t).sum()
        spread = (weight * ((p - mp) ** 2 + (t - mt) ** 2)).sum()
        cov = (weight * (p - mp) * (t - mt)).sum()
        luminance = (2 * mp * mt + 1e-4) / (mp**2 + mt**2 + 1e-4)
        expected = luminance * (2 * cov + 9e-4) / (spread + 9e-4)
        np.testing.assert_allclose(found[centre], expected * inside[centre], **CLOSE)
    error = (p - t)[inside]
    np.testing.assert_allclose(_own(*batch)["mae"][0], np.abs(error).mean(), **CLOSE)
    psnr = -10 * np.log10(max((error**2).mean(), 1e-10))
    np.testing.assert_allclose(_own(*batch)["psnr"][0], psnr, **CLOSE)


def test_empty_masks_and_wrong_shapes():
    prediction, target = _pair((12, 13, 14))
    nothing = np.zeros(target.shape, bool)
    for name, measure in conventions.CONVENTIONS.items():
        assert np.isfinite(list(measure(prediction, target, nothing).values())).all(), name
        with pytest.raises(ValueError, match="shape"):
            measure(prediction, target[1:])
    with pytest.raises(ValueError, match="an axis has 6 voxels, expected at least the window's 7"):
        conventions.x2ct_gan(prediction[:6], target[:6])
    with pytest.raises(ValueError, match="mask has shape"):
        norms.psnr(prediction, target, nothing[1:])
    assert norms.nmse(np.ones((3, 3, 3)), np.zeros((3, 3, 3))) == 1e10
