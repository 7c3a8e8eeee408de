"""The gallery: one row a knee, in a picture that can be looked at."""

import dataclasses
import shutil

import numpy as np
import pytest
from PIL import Image

from xr2mri_jax import samples
from xr2mri_jax.errors import InputError
from xr2mri_jax.inference import gallery as drawer
from xr2mri_jax.inference.gallery import write_gallery
from xr2mri_jax.io import read_radiograph
from xr2mri_jax.phantom.tissues import CODES
from xr2mri_jax.presentation import gallery


@pytest.fixture
def knees(tmp_path):
    """Two copies of the sample radiograph, and a file that is none."""
    folder = tmp_path / "knees"
    folder.mkdir()
    for name in ("b.png", "a.png"):
        shutil.copy(samples.KNEE, folder / name)
    (folder / "notes.txt").write_text("no radiograph")
    return folder


def test_real_radiographs_have_a_row_each_with_what_the_shipped_model_gives(knees, tmp_path):
    output = tmp_path / "gallery.png"
    assert write_gallery(output, xray=knees) == ["a.png, real", "b.png, real"]
    rows = np.array_split(np.asarray(Image.open(output).convert("L")), 2)
    # The same radiograph twice gives the same four panels twice.
    assert all((row > 128).mean() > 0.02 for row in rows)
    assert rows[0].mean() == pytest.approx(rows[1].mean(), rel=0.02)


def test_a_stated_spacing_scales_the_row(knees, tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(drawer, "draw", lambda cases: shown.extend(cases) or gallery.draw(cases))
    for spacing in ((0.4, 0.4), (0.6, 0.6)):
        stated = dataclasses.replace(read_radiograph(samples.KNEE), spacing=spacing)
        monkeypatch.setattr(drawer, "read_radiograph", lambda path, stated=stated: stated)
        write_gallery(tmp_path / "gallery.png", xray=knees / "a.png")
    assert shown[1].scale == pytest.approx(1.5 * shown[0].scale) and shown[0].scale != 1
    (axes, *_) = gallery.draw(shown[:1]).axes
    left, right, *_ = axes.images[0].get_extent()
    assert right - left == pytest.approx(128 * shown[0].scale)


def test_a_left_knee_is_not_mirrored(knees, tmp_path, monkeypatch):
    """The letters R and L are those of the patient, as in the picture of `predict`."""
    shown = []
    monkeypatch.setattr(drawer, "draw", lambda cases: shown.extend(cases) or gallery.draw(cases))
    mirrored = Image.open(samples.KNEE).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    mirrored.save(knees / "b.png")
    write_gallery(tmp_path / "gallery.png", xray=knees)
    right, left = shown
    assert (right.side, left.side) == ("right", "left")
    for name, tolerance in (("radiograph", 0.05), ("volume", 0.02)):
        found, expected = getattr(left, name), getattr(right, name)[..., ::-1]
        assert np.abs(found - expected).mean() < tolerance
        assert np.abs(found - expected).mean() < np.abs(found - expected[..., ::-1]).mean() / 2
    fibula = [np.argwhere(case.labels == CODES["fibula"])[:, 2].mean() for case in shown]
    middle = (right.labels.shape[2] - 1) / 2
    assert fibula[0] < middle < fibula[1]  # the patient's right is at the left


def test_every_title_is_inside_the_picture():
    volume, xray = np.zeros((16, 32, 32), np.float32), np.zeros((32, 32), np.float32)
    for count in (1, 4):
        figure = gallery.draw([gallery.Case("a.png, real", xray, volume, None)] * count)
        figure.canvas.draw()
        tops = [axes.title.get_window_extent().y1 for axes in figure.axes]
        assert max(tops) < figure.bbox.height


def test_the_number_of_knees_can_be_limited(knees, tmp_path):
    assert write_gallery(tmp_path / "gallery.png", xray=knees, count=1) == ["a.png, real"]


def test_labels_are_outlined_in_the_planes():
    volume, labels = np.zeros((16, 32, 32), np.float32), np.zeros((16, 32, 32), np.uint8)
    labels[4:12, 4:14, 6:26] = CODES["femur"]
    xray = np.zeros((32, 32), np.float32)
    drawn = [
        _pixels(gallery.draw([gallery.Case("", xray, volume, shown)]))[:260]  # above the key
        for shown in (np.zeros_like(labels), labels)
    ]
    changed = (np.abs(drawn[0] - drawn[1]).max(axis=-1) > 60).any(axis=0)
    # Every plane has an outline, the radiograph at the left has none.
    quarters = np.array_split(changed, 4)
    assert [bool(quarter.any()) for quarter in quarters] == [False, True, True, True]


def _pixels(figure):
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba()).astype(int)


def test_one_file_is_taken_and_one_that_shows_no_knee_is_told(knees, tmp_path, caplog):
    assert write_gallery(tmp_path / "one.png", xray=knees / "b.png") == ["b.png, real"]
    with caplog.at_level("WARNING", logger="absl"):
        titles = write_gallery(knees / "gallery.png", xray=knees)
        again = write_gallery(knees / "gallery.png", xray=knees)
    assert titles == again == ["a.png, real", "b.png, real"]
    assert [r.getMessage().split(": ")[1] for r in caplog.records] == ["notes.txt"] * 2


@pytest.mark.parametrize(
    ("name", "keep", "message"),
    [
        ("gallery.png", None, "neither --xray nor --dataset"),
        ("gallery.png", ".txt", "no knee can be shown of 1 file"),
        ("gallery.jpg", ".png", "expected a name ending in .png"),
    ],
)
def test_nothing_to_draw_is_refused_and_leaves_no_file(knees, tmp_path, name, keep, message):
    for path in knees.iterdir():
        if path.suffix != keep:
            path.unlink()
    with pytest.raises(InputError, match=message):
        write_gallery(tmp_path / name, xray=keep and knees)
    assert not (tmp_path / name).exists()
