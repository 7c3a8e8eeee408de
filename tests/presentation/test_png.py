"""Tests of the PNG writer: what Pillow reads back."""

import io

import numpy as np
import pytest
from PIL import Image

from xr2mri_jax.presentation import png


@pytest.mark.parametrize("shape", [(1, 1, 3), (7, 5, 3), (224, 1384, 3)])
def test_pillow_reads_the_same_pixels(shape):
    picture = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    read = Image.open(io.BytesIO(png.encoded(picture)))
    read.load()
    assert read.mode == "RGB"
    np.testing.assert_array_equal(read, picture)


def test_part_of_an_array():
    picture = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)[::-1, ::2]
    np.testing.assert_array_equal(Image.open(io.BytesIO(png.encoded(picture))), picture)


@pytest.mark.parametrize(
    "picture", [np.zeros((4, 4)), np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8)]
)
def test_other_arrays_are_refused(picture):
    with pytest.raises(ValueError, match="expected a picture"):
        png.encoded(picture)


def test_texts_are_read_back_and_change_no_pixel():
    picture = np.random.default_rng(0).integers(0, 256, (7, 5, 3), np.uint8)
    read = Image.open(io.BytesIO(png.encoded(picture, {"Software": "a", "Title": "größe"})))
    assert read.info == {"Software": "a", "Title": "größe"}
    np.testing.assert_array_equal(read, picture)
