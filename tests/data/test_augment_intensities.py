"""The radiograph's intensities against NumPy, SciPy and scikit-image."""

import jax
import numpy as np
import pytest
from scipy import ndimage, stats
from skimage import data, exposure, transform

from xr2mri_jax.data import augment, augment_intensities, clahe


def _changed(image, count=1, **strength):
    """[count, h, w]: the image changed by as many keys."""
    found = augment.strengths(strength)
    keys = jax.random.split(jax.random.key(4), count)
    change = jax.jit(jax.vmap(lambda key: augment_intensities.apply(image, key, found)))
    return np.asarray(change(keys))


@pytest.fixture(scope="module")
def picture():
    """f32[72, 80] in [0, 1]: a photograph of scikit-image."""
    return transform.resize(data.camera(), (72, 80)).astype(np.float32)


@pytest.mark.parametrize("sigma", [0.0, 0.4, 1.3, 2.0])
def test_the_blur_is_scipys(sigma):
    image = np.random.default_rng(0).random((15, 21)).astype(np.float32)
    found = jax.jit(augment_intensities.blurred, static_argnums=2)(image, np.float32(sigma), 2.0)
    wanted = ndimage.gaussian_filter(image, sigma, mode="nearest") if sigma else image
    np.testing.assert_allclose(found, wanted, atol=2e-6)


def test_levels_are_drawn_up_to_their_strength(picture):
    image = 0.3 + 0.4 * picture
    offset = _changed(image, 200, brightness=0.2) - image
    assert np.ptp(offset, axis=(1, 2)).max() < 1e-6
    np.testing.assert_allclose(np.sort(offset[:, 0, 0])[[0, -1]], [-0.2, 0.2], atol=0.02)
    factor = (_changed(image, 200, contrast=0.3) - image.mean()) / (image - image.mean())
    factors = np.median(factor, axis=(1, 2))
    np.testing.assert_allclose(np.log([factors.min(), factors.max()]), [-0.3, 0.3], atol=0.02)
    powers = np.log(_changed(image, 200, gamma=0.4)) / np.log(image)
    assert np.ptp(powers, axis=(1, 2)).max() < 1e-4
    powers = powers[:, 0, 0]
    np.testing.assert_allclose(np.log([powers.min(), powers.max()]), [-0.4, 0.4], atol=0.02)


def test_noise_is_normal_with_a_drawn_deviation():
    numbers = np.asarray(
        jax.jit(augment_intensities.normal, static_argnums=1)(jax.random.key(1), (101, 100))
    )
    assert numbers.shape == (101, 100) and np.abs(numbers).max() < 4.4
    assert stats.kstest(numbers.ravel(), "norm").pvalue > 0.01
    for axis in (0, 1):
        beside = np.roll(numbers, 51, axis)  # one random word has the numbers of rows 51 apart
        assert abs(np.mean(numbers * beside)) < 0.04
    noise = _changed(np.full((40, 40), 0.5, np.float32), 50, noise=0.1) - 0.5
    deviations = noise.std(axis=(1, 2))
    assert deviations.min() < 0.01 and 0.09 < deviations.max() < 0.105


def test_half_of_the_radiographs_lose_a_rectangle(picture):
    hidden = _changed(picture, 60, erase=0.2) != picture
    sizes = hidden.mean(axis=(1, 2))
    assert 0.3 < np.mean(sizes > 0) < 0.7 and sizes.max() < 0.22
    for one in hidden[sizes > 0]:
        rows, columns = np.flatnonzero(one.any(1)), np.flatnonzero(one.any(0))
        box = one[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert box.mean() > 0.99


def _reference(image, limit, tiles, bins):
    """Zuiderveld's equalisation, pixel by pixel in NumPy."""
    height, width = image.shape
    rows, columns = -(-height // tiles), -(-width // tiles)
    padded = np.pad(image, ((0, rows * tiles - height), (0, columns * tiles - width)), "symmetric")
    maps = np.empty((tiles, tiles, bins + 1))
    for i, j in np.ndindex(tiles, tiles):
        tile = padded[i * rows : (i + 1) * rows, j * columns : (j + 1) * columns]
        share = np.histogram(tile, bins, (0, 1))[0] / tile.size
        clipped = np.minimum(share, limit / bins)
        clipped += (1 - clipped.sum()) / bins
        maps[i, j] = np.concatenate([[0], np.cumsum(clipped)])
    edges = np.linspace(0, 1, bins + 1)
    result = np.empty_like(image)
    for y, x in np.ndindex(height, width):
        top, left = ((p + 0.5) / n - 0.5 for p, n in ((y, rows), (x, columns)))
        total = 0.0
        for i, j in np.ndindex(tiles, tiles):
            down, right = (np.clip(p, 0, tiles - 1) for p in (top, left))
            weight = max(0, 1 - abs(down - i)) * max(0, 1 - abs(right - j))
            if weight:
                total += weight * np.interp(image[y, x], edges, maps[i, j])
        result[y, x] = total
    return result


@pytest.mark.parametrize("limit", [1.5, 4.0])
def test_equalisation_is_zuidervelds(picture, limit):
    image = picture[:30, :29]
    found = jax.jit(clahe.equalised, static_argnums=(2, 3))(image, limit, 4, 32)
    np.testing.assert_allclose(found, _reference(image, limit, 4, 32), atol=2e-5)


def test_equalisation_resembles_scikit_images(picture):
    limit = 20.0
    found = np.asarray(jax.jit(clahe.equalised)(picture, limit))
    wanted = exposure.equalize_adapthist(picture, (9, 10), clip_limit=limit / 256)
    # It counts in whole numbers and divides the excess in several rounds.
    assert np.corrcoef(found.ravel(), wanted.ravel())[0, 1] > 0.97
    assert np.corrcoef(picture.ravel(), wanted.ravel())[0, 1] < 0.7


def test_shares_of_the_equalisation_are_drawn(picture):
    change = np.abs(_changed(picture, 30, clahe=0.8) - picture).mean(axis=(1, 2))
    assert change.min() < 0.3 * change.max() and change.max() > 0.01
