"""Tests of the picture: which voxel is shown where."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

from xr2mri_jax.phantom.tissues import CODES
from xr2mri_jax.presentation.picture import COMPARTMENT_MM, draw, panels
from xr2mri_jax.presentation.statement import STATEMENT
from xr2mri_jax.presentation.structure_colours import table

SHAPE = (32, 64, 64)


def corner():
    """The anterior, superior, patient-right corner is bright (canonical axes, not mirrored)."""
    array = np.zeros(SHAPE, np.float32)
    array[:8, :8, :8] = 1.0
    return array


def shown(array, side="right"):
    return {p.title: p for p in panels(np.zeros((64, 64), np.float32), array, side)}


def test_anterior_is_left_and_superior_up_in_sagittal_planes():
    array = corner()
    array[:8, :8] = 1.0
    middle = shown(array)["sagittal, middle"]
    assert middle.pixels.shape == (64, 32)
    assert middle.pixels[0, 0] == 1 and middle.pixels[-1, 0] == 0 and middle.pixels[0, -1] == 0
    assert middle.letters == ("A", "P", "S", "I")


def test_patient_right_is_left_in_coronal_and_axial_planes():
    array = corner()
    array[:, :8, :8] = 1.0
    coronal = shown(array)["coronal"]
    assert coronal.pixels[0, 0] == 1 and coronal.pixels[0, -1] == 0 and coronal.pixels[-1, 0] == 0
    array = corner()
    array[:8, :, :8] = 1.0
    axial = shown(array)["axial"]
    assert axial.pixels.shape == (32, 64)
    assert axial.pixels[0, 0] == 1 and axial.pixels[0, -1] == 0 and axial.pixels[-1, 0] == 0
    assert coronal.letters[:2] == axial.letters[:2] == ("R", "L")


@pytest.mark.parametrize("side", ["left", "right"])
def test_compartments_follow_the_side(side):
    array = np.broadcast_to(np.linspace(0, 1, 64, dtype=np.float32), SHAPE)  # patient right 0
    planes = shown(array, side)
    lateral = planes["sagittal, lateral compartment"].pixels.mean()
    medial = planes["sagittal, medial compartment"].pixels.mean()
    step = COMPARTMENT_MM / 2 / 63
    expected = (0.5 - step, 0.5 + step)
    assert (lateral, medial) == pytest.approx(
        expected if side == "right" else expected[::-1], abs=1e-6
    )
    assert planes["sagittal, middle"].pixels.mean() == pytest.approx(0.5)


def test_the_figure_says_what_it_is_and_keeps_proportions():
    figure = draw(np.zeros((64, 64), np.float32), corner(), "left", "caption")
    assert figure.get_suptitle() == STATEMENT
    assert "not for diagnosis" in STATEMENT
    assert len(figure.axes) == 6
    for axes in figure.axes:
        left, right, bottom, top = axes.images[0].get_extent()
        assert (right - left, bottom - top) == (128, 128)
        assert axes.get_aspect() == 1
        texts = [text.get_text() for text in axes.texts]
        assert axes.images[0].get_clim() == (0, 1)
        assert "20 mm" in texts and len(texts) == 5


def test_dim_volumes_are_shown_brighter_and_say_so():
    array = np.full(SHAPE, 0.5, np.float32)
    figure = draw(np.zeros((64, 64), np.float32), array, "left", "caption")
    assert [axes.images[0].get_clim()[1] for axes in figure.axes] == [1.0] + [0.5] * 5
    assert "caption\nplanes: grey from 0 to 0.50" in [t.get_text() for t in figure.texts]


def test_scale_bars_and_marks_follow_the_scale_of_the_volume():
    half_width = np.full(SHAPE, 0.1, np.float32)
    xray = np.zeros((64, 64), np.float32)
    figure = draw(xray, corner(), "left", "caption", None, half_width, scale=0.75)
    shown = [axes for axes in figure.axes if axes.images]
    assert len(shown) == 9
    for axes in shown:
        left, right, bottom, top = axes.images[0].get_extent()
        assert (right - left, bottom - top) == (96, 96)
        bar = axes.lines[-1].get_xdata()
        assert bar[1] - bar[0] == 20
        texts = [text.get_text() for text in axes.texts]
        assert "20 mm" in texts
    columns = sorted(line.get_xdata()[0] for line in shown[1].lines[:-1])
    assert columns == pytest.approx([-0.75 * COMPARTMENT_MM, 0, 0.75 * COMPARTMENT_MM])
    one = panels(xray, half_width, "left")
    other = panels(xray, half_width, "left", scale=0.75)
    for some, same in zip(one, other, strict=True):
        np.testing.assert_array_equal(some.pixels, same.pixels)


def test_the_half_widths_have_a_colour_bar():
    array = np.full(SHAPE, 0.5, np.float32)
    figure = draw(np.zeros((64, 64), np.float32), array, "left", "caption", half_width=array)
    (bar,) = (child for child in figure.axes[8].child_axes)
    assert [label.get_text() for label in bar.get_yticklabels()] == ["0", "0.25", "≥ 0.50"]
    assert "bottom row: half-width of the 90 % interval" in figure.texts[-1].get_text()


def test_structures_are_outlined_and_named_in_the_colours_of_the_viewer():
    labels = np.zeros(SHAPE, np.uint8)
    for i, code in enumerate(CODES.values()):
        labels[:, 3 * i : 3 * i + 3, 10:50] = code
    figure = draw(np.zeros((64, 64), np.float32), corner(), "left", "caption", labels)
    (key,) = figure.legends
    named = {text.get_text(): line for text, line in zip(key.texts, key.get_lines(), strict=True)}
    assert list(named) == [row["name"].replace("_", " ") for row in table()]
    expected = {to_hex(np.divide(row["colour"], 255)) for row in table()}
    assert len(expected) == len(table()) == 10
    assert {to_hex(line.get_color()) for line in named.values()} == expected
    coronal = figure.axes[1]
    assert {to_hex(one.get_edgecolor()[0]) for one in coronal.collections} == expected
    figure.canvas.draw()
    below = min(axes.get_window_extent().y0 for axes in figure.axes)
    assert 0 <= key.get_window_extent().y0 < key.get_window_extent().y1 < below


def test_the_colours_of_structures_can_be_told_apart():
    colours = np.array([row["colour"] for row in table()])
    apart = np.linalg.norm(colours[:, None] - colours, axis=-1)
    assert apart[~np.eye(len(colours), dtype=bool)].min() > 45
