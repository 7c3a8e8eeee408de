"""The suite that measures the knee finder: cropping keeps the truth, grids and bins are made."""

import numpy as np
import pytest

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import KneePlace
from xr2mri_jax.phantom.bilateral import BilateralRadiograph
from xr2mri_jax.tools.benchmarks import knee_finder, suites


def test_cropping_keeps_the_truth_on_its_pixels():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 60000, (350, 430)).astype(np.uint16)
    centres = {"right": (170.0, 100.0), "left": (180.0, 320.0)}
    places = {
        side: KneePlace(side, centre, ((centre[0], centre[1] - 35), (centre[0], centre[1] + 35)))
        for side, centre in centres.items()
    }
    for _ in range(20):
        film = knee_finder.cropped(BilateralRadiograph(image, (1.0, 1.0), places, centres), rng)
        assert film.image.shape != image.shape
        for side, (row, column) in centres.items():
            moved = film.places[side].centre_px
            assert film.image[int(moved[0]), int(moved[1])] == image[int(row), int(column)]
            assert film.box_centres[side] == moved
            distances = [*moved, *(np.array(film.image.shape) - moved)]
            assert min(distances) >= 45.0


def test_grids_and_confidence_bins(tmp_path):
    images = np.random.default_rng(1).integers(0, 255, (23, 64, 64)).astype(np.uint8)
    found = [KneePlace("left", (30.0, 31.0), ((30.0, 4.0), (31.0, 60.0)), 0.8)] * 22 + [None]
    knee_finder._grid([f"{n}L" for n in range(23)], images, found, tmp_path / "grids")
    assert sorted(p.name for p in (tmp_path / "grids").iterdir()) == ["real_0.png", "real_1.png"]
    bins = knee_finder.calibration(
        np.array([0.55, 0.95, 0.99, 0.0]), np.array([False, True, True, 0])
    )
    assert bins == {"0.5": {"n": 1, "right": 0.0}, "0.9": {"n": 2, "right": 1.0}}


def test_a_folder_without_real_files_is_named(tmp_path):
    with pytest.raises(InputError, match="found no GRADE/NAME"):
        knee_finder._real(tmp_path, None)
    with pytest.raises(InputError, match=r"found no \.dcm files"):
        knee_finder._not_knees(tmp_path)
    with pytest.raises(InputError, match="--films: found 0"):
        suites.run(
            "knee_finder",
            tmp_path / "out.json",
            repeats=1,
            batch_size=1,
            volume_shape=(8, 16, 16),
            films=0,
        )
