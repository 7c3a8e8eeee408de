"""The gallery: one row a knee, in a picture that can be looked at."""

import shutil

import numpy as np
import pytest
from PIL import Image

from xr2mri_jax import samples
from xr2mri_jax.errors import InputError
from xr2mri_jax.inference.gallery import write_gallery
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


def test_the_number_of_knees_can_be_limited(knees, tmp_path):
    assert write_gallery(tmp_path / "gallery.png", xray=knees, count=1) == ["a.png, real"]


def test_labels_are_outlined_in_the_planes():
    volume, labels = np.zeros((16, 32, 32), np.float32), np.zeros((16, 32, 32), np.uint8)
    labels[4:12, 4:14, 6:26] = CODES["femur"]
    xray = np.zeros((32, 32), np.float32)
    drawn = [
        _pixels(gallery.draw([gallery.Case("", xray, volume, shown)])) for shown in (None, labels)
    ]
    changed = (np.abs(drawn[0] - drawn[1]).max(axis=-1) > 60).any(axis=0)
    # Every plane has an outline, the radiograph at the left has none.
    quarters = np.array_split(changed, 4)
    assert [bool(quarter.any()) for quarter in quarters] == [False, True, True, True]


def _pixels(figure):
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba()).astype(int)


def test_nothing_to_draw_is_refused_and_leaves_no_file(knees, tmp_path):
    output = tmp_path / "gallery.png"
    with pytest.raises(InputError, match="neither --xray nor --dataset"):
        write_gallery(output)
    for path in knees.glob("*.png"):
        path.unlink()
    with pytest.raises(InputError, match="found no radiograph"):
        write_gallery(output, xray=knees)
    (knees / "chest.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"chest\.png"):
        write_gallery(output, xray=knees)
    assert not output.exists()
