"""Figures are PNGs of sane size, whatever the intervals, counts and values."""

import io

import numpy as np
import pytest
from PIL import Image

from xr2mri_jax.presentation import figures


def _pixels(png):
    with Image.open(io.BytesIO(png)) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def test_bars_are_as_long_as_their_means():
    def found(mean, interval):
        return {"psnr": {"mean": mean, "ci95": interval}, "mae": {"mean": 0.1, "ci95": None}}

    sources = {"model": found(20.0, [19.0, 21.0]), "mean_volume": found(10.0, None)}
    pixels = _pixels(figures.bars(sources))
    blue = np.all(np.abs(pixels.astype(int) - (0x0B, 0x6E, 0x99)) < 6, axis=-1)
    grey = np.all(np.abs(pixels.astype(int) - (0xA8, 0xB2, 0xBD)) < 6, axis=-1)
    left = slice(0, pixels.shape[1] // 2)
    length = [mask[:, left].any(axis=0).sum() for mask in (blue, grey)]
    assert length[0] / length[1] == pytest.approx(2.0, abs=0.15)


@pytest.mark.parametrize("ranks", [[1], [1, 2, 2], list(range(1, 200))])
def test_rank_histogram(ranks):
    assert _pixels(figures.ranks(ranks)).shape[1] > 800


def test_case_shows_real_predicted_and_difference():
    rng = np.random.default_rng(0)
    real = rng.random((6, 8, 10), dtype=np.float32)
    same = _pixels(figures.volume_case(real[0], real, real)).astype(int)
    other = _pixels(figures.volume_case(real[0], real, 1 - real)).astype(int)
    assert same.shape == other.shape
    bottom = slice(2 * same.shape[0] // 3 + 20, None)
    assert same[bottom, same.shape[1] // 3 :].max() < 30
    assert other[bottom].max() > 200


def test_radiographs_side_by_side():
    images = {"radiograph": np.zeros((5, 5)), "reconstruction": np.ones((5, 5))}
    pixels = _pixels(figures.radiograph_case(images))
    half = pixels.shape[1] // 2
    assert pixels[half // 2 :, half:].mean() > pixels[half // 2 :, :half].mean() + 100
