"""A clear first pass of the knee finder needs no mirror image; all other passes use it."""

import numpy as np
import pytest

from xr2mri_jax.geometry import Radiograph
from xr2mri_jax.io import read_radiograph
from xr2mri_jax.preprocess.knee_finder import peaks, view_maps
from xr2mri_jax.preprocess.knee_finder.find import detect_knees
from xr2mri_jax.preprocess.knee_finder.peaks import find, unambiguous
from xr2mri_jax.preprocess.knee_finder.view_maps import mirrored_maps
from xr2mri_jax.tools.fit_knee_finder.views import target_maps

LINE = [[68.0, 63.5], [66.0, 20.0], [70.0, 107.0]]


def maps(share=1.0, line=None, other=0.0):
    """Maps with a right knee of this probability, and a left one at the same place."""
    points = np.full((2, 3, 2), np.nan)
    nothing, points[0] = target_maps(points), line or LINE
    right = target_maps(points)
    points = points[::-1].copy()
    left = target_maps(points)
    return share * right + other * left + (1 - share - other) * nothing


def test_what_is_clear():
    knee = unambiguous(find(maps()))
    assert knee is not None and knee.side == "right"
    np.testing.assert_allclose(knee.points, LINE, atol=0.1)
    assert unambiguous(find(mirrored_maps(maps()))).side == "left"
    assert unambiguous(find(maps(0.95))) is None
    assert unambiguous(find(maps(0.975, other=0.025))) is None
    assert unambiguous(find(maps(line=[[68.0, 63.5], [66.0, 30.0], [70.0, 97.0]]))) is None


@pytest.fixture
def scripted(monkeypatch):
    """Maps that replace the network's, in turn; what is left tells how often it was run."""
    left = []
    monkeypatch.setattr(view_maps, "probability_maps", lambda views: left.pop(0)[None])
    return left


@pytest.mark.parametrize(
    ("first", "second", "looks"),
    [
        pytest.param(maps(), maps(), 3, id="clear"),
        pytest.param(maps(0.95), maps(), 4, id="a first look below the limit"),
        pytest.param(maps(0.975, other=0.025), maps(), 4, id="another side"),
        pytest.param(maps(), maps(0.98), 6, id="a second look below the limit"),
        pytest.param(maps(), maps(0.3, other=0.7), 6, id="a second look at the other side"),
    ],
)
def test_unclear_pictures_go_through_all_looks(scripted, first, second, looks):
    mirrored_first, mirrored_second = mirrored_maps(first), mirrored_maps(second)
    scripted += {
        3: [first, second, mirrored_second],
        4: [first, mirrored_first, second, mirrored_second],
        6: [first, second, mirrored_second, mirrored_first, second, mirrored_second],
    }[looks]
    image = np.random.default_rng(0).random((224, 224)).astype(np.float32)
    (place,) = detect_knees(Radiograph(image)).places
    assert place.side == "right" and not scripted


def test_real_crops_have_the_same_answers_with_and_without(real_data, monkeypatch):
    paths = sorted((real_data / "knee_xray_kl" / "val").glob("*/*.png"))[3::20]
    count, network = [0], view_maps.probability_maps

    def counted(views):
        count[0] += len(views)
        return network(views)

    monkeypatch.setattr(view_maps, "probability_maps", counted)
    radiographs = [read_radiograph(path) for path in paths]
    short, counts = [], []
    for radiograph in radiographs:
        count[0] = 0
        short.append(detect_knees(radiograph))
        counts.append(count[0])
    monkeypatch.setattr(peaks, "CLEAR", 2.0)
    for radiograph, found, looks in zip(radiographs, short, counts, strict=True):
        full = detect_knees(radiograph)
        assert len(found.places) == len(full.places) == 1 and not found.doubtful
        (one,), (other,) = found.places, full.places
        assert (one.side, one.dark_bone) == (other.side, other.dark_bone)
        assert one.confidence == pytest.approx(other.confidence, abs=0.02)
        line_px = np.hypot(*np.subtract(*other.joint_line))
        moved_mm = np.hypot(*np.subtract(one.centre_px, other.centre_px)) / line_px * 75
        assert moved_mm <= (0.5 if looks == 3 else 1e-6)
    assert np.mean(np.equal(counts, 3)) > 0.8


def test_two_knees_on_a_film_go_through_all_looks(real_data, monkeypatch):
    folder = real_data / "knee_xray_kl" / "val" / "0"
    right, left = (read_radiograph(sorted(folder.glob(f"*{side}.png"))[5]) for side in "RL")
    film = np.pad(np.concatenate([right.array, left.array], axis=1), 60, constant_values=14)
    full = detect_knees(Radiograph(film))
    monkeypatch.setattr(peaks, "CLEAR", 2.0)
    assert detect_knees(Radiograph(film)) == full and len(full.places) == 2
