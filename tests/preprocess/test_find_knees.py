"""Knees found in radiographs: unseen phantom films, real crops, and what must be refused."""

import numpy as np
import pytest
from PIL import Image

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import Radiograph, resample_radiograph
from xr2mri_jax.io import read_radiograph
from xr2mri_jax.preprocess.knee_finder.find import find_knees
from xr2mri_jax.tools.benchmarks.knee_finder import films
from xr2mri_jax.tools.benchmarks.strange_films import strange_films

FILMS = 4


@pytest.fixture(scope="module")
def seen():
    return list(films(FILMS, 64))


def distance_mm(place, truth, spacing) -> float:
    return float(np.hypot(*(np.subtract(place.centre_px, truth.centre_px) * spacing)))


def test_unseen_films_of_many_kinds(seen):
    for film, radiograph in seen:
        places = find_knees(radiograph)
        assert set(places) == {"left", "right"}
        for side, place in places.items():
            truth = film.places[side]
            assert place.side == side and 0.5 <= place.confidence <= 1
            assert distance_mm(place, truth, film.spacing) < 5.0
            for end, true_end in zip(place.joint_line, truth.joint_line, strict=True):
                assert np.hypot(*(np.subtract(end, true_end) * film.spacing)) < 10.0


def test_one_knee_of_a_film_with_and_without_its_side(seen):
    film, _ = seen[0]
    truth = film.places["left"]
    whole = Radiograph(film.image, film.spacing, "right")  # "right": nothing is mirrored
    crop, _ = resample_radiograph(whole, truth.centre_px, (256, 256))
    places = find_knees(Radiograph(crop))
    assert list(places) == ["left"]
    spacing = (0.5, 0.5)
    assert np.hypot(*(np.subtract(places["left"].centre_px, 127.5) * spacing)) < 5.0
    trusted = find_knees(Radiograph(crop, spacing, "right"))
    assert list(trusted) == ["right"]
    assert trusted["right"].centre_px == pytest.approx(places["left"].centre_px, abs=1.0)


def test_pixels_need_not_be_square(seen):
    film, _ = seen[1]
    flat = Radiograph(film.image[::2], (2 * film.spacing[0], film.spacing[1]))
    for side, place in find_knees(flat).items():
        row, column = film.places[side].centre_px
        found = np.subtract(place.centre_px, ((row - 0.5) / 2, column)) * flat.spacing
        assert np.hypot(*found) < 5.0


def test_same_answer_for_any_gain(seen):
    _, radiograph = seen[0]
    brighter = Radiograph(radiograph.array * 0.01 + 3, radiograph.spacing)
    first, second = find_knees(radiograph), find_knees(brighter)
    for side, place in first.items():
        assert second[side].centre_px == pytest.approx(place.centre_px, abs=1.0)


def test_dark_bone_is_found_and_marked(seen):
    film, _ = seen[0]
    bright = find_knees(Radiograph(film.image, film.spacing))
    dark = find_knees(Radiograph(65535.0 - film.image, film.spacing))
    assert set(dark) == set(bright) == {"left", "right"}
    for side, place in dark.items():
        assert place.dark_bone and not bright[side].dark_bone
        assert place.centre_px == pytest.approx(bright[side].centre_px, abs=1.0)


def test_what_is_no_knee_is_refused():
    strange = strange_films()
    assert {"blank", "chest_like", "upside_down_film", "white_noise"} < set(strange)
    for name, radiograph in strange.items():
        try:
            found = find_knees(radiograph)
        except InputError as error:
            assert "no knee was found" in str(error) and "\n" not in str(error)
        else:
            pytest.fail(f"{name}: found {found}")


def test_wrong_input_is_refused(seen):
    film, _ = seen[0]
    with pytest.raises(InputError, match="30 x 200 pixels"):
        find_knees(Radiograph(np.zeros((30, 200))))
    with pytest.raises(InputError, match="not finite"):
        find_knees(Radiograph(np.full((100, 100), np.nan)))
    with pytest.raises(InputError, match=r"expected at least 0\.9999"):
        find_knees(Radiograph(film.image, film.spacing), least_confidence=0.9999)


def test_radiographs_of_other_parts_are_refused(real_data):
    paths = sorted((real_data / "dicom_xray").glob("*.dcm"))
    assert len(paths) == 2
    for path in paths:
        with pytest.raises(InputError, match="no knee was found"):
            find_knees(read_radiograph(path))


def test_real_crops_are_on_their_side(real_data):
    paths = sorted((real_data / "knee_xray_kl" / "val").glob("*/*.png"))[::8]
    assert len(paths) > 100
    right, rows = 0, []
    for path in paths:
        image = np.asarray(Image.open(path))
        try:
            places = find_knees(Radiograph(image))
        except InputError:
            continue
        (side, place), *_ = places.items()
        right += len(places) == 1 and side == {"R": "right", "L": "left"}[path.stem[-1]]
        rows.append(place.centre_px[0] / image.shape[0])
    assert right >= 0.99 * len(paths)
    assert 0.4 < np.percentile(rows, 2) < np.percentile(rows, 98) < 0.75


def test_no_knee_of_the_severest_grade_is_refused(real_data):
    paths = sorted((real_data / "knee_xray_kl" / "val" / "4").glob("*.png"))
    assert len(paths) == 27
    for path in paths:
        (side,) = find_knees(Radiograph(np.asarray(Image.open(path))))
        assert side == {"R": "right", "L": "left"}[path.stem[-1]]


def test_dark_bone_is_told_and_upside_down_is_refused(real_data):
    paths = sorted((real_data / "knee_xray_kl" / "val" / "0").glob("*.png"))[::30]
    dark = []
    for path in paths:
        image = np.asarray(Image.open(path))
        (bright,) = find_knees(Radiograph(image)).values()
        (inverted,) = find_knees(Radiograph(255 - image)).values()
        dark.append((bright.dark_bone, inverted.dark_bone))
        assert bright.dark_bone != inverted.dark_bone
        with pytest.raises(InputError, match="no knee was found"):
            find_knees(Radiograph(image[::-1, ::-1]))
    assert len(dark) == 11 and sum(one for one, _ in dark) <= 2
