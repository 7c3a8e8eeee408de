"""The knees of a film are rejected one by one, and the reason names the option to change."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from xr2mri_jax.datasets.knee_pairs.film_knees import FilmTask
from xr2mri_jax.datasets.knee_pairs.make_pairs import Settings, make_pairs
from xr2mri_jax.datasets.pairing_report import Pair
from xr2mri_jax.geometry import SIDES, KneePlace
from xr2mri_jax.io.records import MriSeries, RadiographFile


@pytest.fixture
def noise(tmp_path):
    """A film of both knees in which none is found."""
    pixels = np.random.default_rng(0).integers(0, 60_000, (240, 400))
    Image.fromarray(pixels.astype(np.uint16)).save(tmp_path / "film.png")
    return tmp_path / "film.png"


def outcomes(film: Path, places, spacing=None, table_spacing=None, note=""):
    """(reason, detail) by side; a knee that is found fails at its missing MRI, `mri_broken`."""
    radiograph = RadiographFile("p", "V00", film, spacing=table_spacing)
    pairs = tuple(Pair("p", side, "V00", radiograph, series(side), None, 0, note) for side in SIDES)
    contrast = {"percentiles": (1.0, 99.0), "clahe": None}
    settings = Settings((16, 32, 32), contrast, spacing)
    found = make_pairs(settings, FilmTask(radiograph, pairs, places))
    return {outcome.key.split("_")[1]: (outcome.reason, outcome.detail) for outcome in found}


def series(side):
    return MriSeries("p", "V00", side, Path("gone.nii"))


def at(side, row, column, length=0):
    ends = (row, column - length / 2), (row, column + length / 2)
    return KneePlace(side, (row, column), ends)


def test_a_place_helps_its_own_knee(noise):
    found = outcomes(noise, {"right": at("right", 120, 100)}, spacing=0.4)
    assert found["right"][0] == "mri_broken"
    assert found["left"][0] == "knee_not_found" and "no knee was found" in found["left"][1]


def test_a_place_outside_the_film_rejects_its_own_knee(noise):
    places = {"right": at("right", 120, 100), "left": at("left", 120, 999)}
    found = outcomes(noise, places, spacing=0.4)
    assert found["right"][0] == "mri_broken" and found["left"][0] == "knee_not_found"
    assert "film.png: --places: found row 120, column 999" in found["left"][1]


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"spacing": 1.0}, "at the spacing (--spacing) of 1 mm"),
        ({"spacing": 0.4, "table_spacing": 1.0}, "at the spacing (the table's column spacing) of"),
    ],
)
def test_an_impossible_spacing_is_the_options_or_the_tables(noise, given, named):
    found = outcomes(noise, {side: at(side, 120, 200, 180) for side in SIDES}, **given)
    for reason, detail in found.values():
        assert reason == "spacing_impossible" and named in detail


def test_a_rejected_knee_names_the_other_images_of_its_visit(noise):
    note = "RadiographFile exam/001 is another, not chosen"
    for reason, detail in outcomes(noise, {}, spacing=0.4, note=note).values():
        assert reason == "knee_not_found" and detail.endswith(f"; {note}")
    assert not outcomes(noise, {}, spacing=0.4)["left"][1].endswith("; ")
