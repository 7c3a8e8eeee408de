"""Pictures to learn from: crops are read, pairs are placed, strange ones hold no knee."""

import numpy as np
import pytest
from PIL import Image

from xr2mri_jax.errors import InputError
from xr2mri_jax.tools.fit_knee_finder.pictures import (
    Picture,
    nowhere,
    pair_picture,
    read_crops,
    strange_picture,
)


def crop(side: int, level: int) -> Picture:
    image = np.full((60, 60), level, np.uint8)
    image[28:33] = 255
    points = nowhere()
    points[side] = [[30.0, 30.0], [30.0, 5.0], [30.0, 54.0]]
    return Picture(image, points)


def test_read_crops(tmp_path):
    for grade, name in ((0, "9000099R"), (2, "9000100L")):
        (tmp_path / str(grade)).mkdir()
        Image.fromarray(crop(0, 40 + grade).image).save(tmp_path / str(grade) / f"{name}.png")
    crops = read_crops(tmp_path)
    assert crops.names == ["9000099R", "9000100L"] and crops.sides.tolist() == [0, 1]
    assert crops.grades == ["0", "2"] and crops.only(np.array([False, True])).grades == ["2"]
    images = crops.images
    assert images.shape == (2, 60, 60) and images.dtype == np.uint8 and images[1, 0, 0] == 42
    Image.fromarray(crop(0, 3).image).save(tmp_path / "0" / "knee.png")
    with pytest.raises(InputError, match=r"knee\.png: expected a name that ends in R or L"):
        read_crops(tmp_path)
    with pytest.raises(InputError, match="found no GRADE/NAME"):
        read_crops(tmp_path / "2")


def test_pairs_keep_their_points_on_their_knees():
    rng = np.random.default_rng(0)
    for _ in range(5):
        film = pair_picture(crop(0, 60), crop(1, 120), rng)
        for points in film.points:
            row, column = (round(value) for value in points[0])
            line = film.image[row - 1 : row + 2, column].astype(float)
            beside = film.image[[row - 12, row + 12], column]
            assert line.max() > beside.max() + 40
            assert points[1, 1] < points[0, 1] < points[2, 1]
        assert film.points[0, 0, 1] < film.points[1, 0, 1]


def test_strange_pictures_hold_no_knee():
    rng = np.random.default_rng(1)
    for _ in range(20):
        picture = strange_picture([crop(0, 60)], rng)
        assert picture.image.dtype == np.uint8 and picture.image.ndim == 2
        assert picture.image.max() > picture.image.min()
        assert np.isnan(picture.points).all()
