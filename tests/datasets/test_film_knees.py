"""The side that a film's header or the table states."""

from pathlib import Path

import pydicom
import pytest
from made_knees import FILM_SHAPE, FILM_SPACING, SEED

from xr2mri_jax.datasets.knee_pairs.clock import Clock
from xr2mri_jax.datasets.knee_pairs.film_knees import TABLE, FilmTask, find_film_knees
from xr2mri_jax.datasets.knee_pairs.rejection import Rejected
from xr2mri_jax.datasets.pairing_report import Pair
from xr2mri_jax.geometry import SIDES
from xr2mri_jax.io.records import MriSeries, RadiographFile
from xr2mri_jax.phantom.bilateral import BilateralRadiograph, simulate_bilateral
from xr2mri_jax.tools.benchmarks.phantom_files import write_film


@pytest.fixture(scope="module")
def simulated() -> BilateralRadiograph:
    return simulate_bilateral(SEED, 0, FILM_SHAPE, FILM_SPACING)


def knees(path: Path, image, stated: str, places=None, side=None):
    """(side's origin, doubts) by side, or the rejection's detail, of a film.

    `stated` is in the header, `side` in the table.
    """
    write_film(path, image, FILM_SPACING)
    dataset = pydicom.dcmread(path)
    dataset.ImageLaterality = stated
    dataset.save_as(path)
    film = RadiographFile("p", "V00", path, side)
    series = {side: MriSeries("p", "V00", side, Path("gone.nii")) for side in SIDES}
    pairs = tuple(Pair("p", side, "V00", film, series[side], None, 0) for side in SIDES)
    found = find_film_knees(FilmTask(film, pairs, places or {}), Clock())
    return {
        side: knee.args[1] if isinstance(knee, Rejected) else (knee.side_source, knee.doubts)
        for side, knee in found.items()
    }


def test_a_film_of_two_knees_whose_header_states_one_side_is_doubted(simulated, tmp_path):
    found = knees(tmp_path / "film", simulated.image, "L")
    said = "the file says left knee, but the image shows two knees"
    assert {side: found[side][1] for side in SIDES} == {"left": (said,), "right": (said,)}


def test_a_single_knee_has_the_side_in_its_header(simulated, tmp_path):
    row, column = map(round, simulated.places["right"].centre_px)
    crop = simulated.image[row - 200 : row + 200, column - 160 : column + 160]
    found = knees(tmp_path / "film", crop, "R")
    assert found["right"] == ("the file", ())
    assert found["left"].endswith("no left knee was found in it")


def test_a_knee_that_clearly_looks_like_the_other_side_is_not_the_one_in_the_header(
    simulated, tmp_path
):
    row, column = map(round, simulated.places["right"].centre_px)
    crop = simulated.image[row - 200 : row + 200, column - 160 : column + 160]
    half = simulated.image.copy()
    half[:, half.shape[1] // 2 :] = half.min()
    for image in (crop, half):
        found = knees(tmp_path / "film", image, "L")
        assert found["right"] == ("the image", ("the file says left knee, taken as right",))
        assert found["left"].endswith("no left knee was found in it")


def test_a_place_prevails_over_the_header_with_a_doubt(simulated, tmp_path):
    found = knees(tmp_path / "film", simulated.image, "L", simulated.places)
    assert found["left"] == ("--places", ())
    assert found["right"] == ("--places", ("the file says left knee, taken as right",))


def test_a_side_that_only_the_table_states_is_the_tables(simulated, tmp_path):
    row, column = map(round, simulated.places["right"].centre_px)
    crop = simulated.image[row - 200 : row + 200, column - 160 : column + 160]
    assert knees(tmp_path / "film", crop, "", side="right")["right"] == (TABLE, ())
    assert knees(tmp_path / "film", crop, "R", side="right")["right"] == ("the file", ())
    both = knees(tmp_path / "film", simulated.image, "", side="right")["right"]
    assert both[1] == (f"{TABLE} says right knee, but the image shows two knees",)


def test_a_table_that_contradicts_the_image_is_named(simulated, tmp_path):
    row, column = map(round, simulated.places["right"].centre_px)
    crop = simulated.image[row - 200 : row + 200, column - 160 : column + 160]
    source, (doubt,) = knees(tmp_path / "film", crop, "", side="left")["left"]
    assert source == TABLE
    assert doubt.startswith(f"{TABLE} says left, but the image looks like the other side (right")
