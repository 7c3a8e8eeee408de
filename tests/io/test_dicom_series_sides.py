"""Which knee an MRI series shows by its headers."""

import numpy as np
import pytest
from made_slices import item, made_enhanced, made_series, made_slice, pixels_of

from xr2mri_jax import io
from xr2mri_jax.errors import InputError


def series(folder, *tags):
    """Five slices; the tags of each, the last ones for the rest."""
    changes = {f"slice{k}": tags[min(k, len(tags) - 1)] for k in range(5)} if tags else {}
    return made_series(folder, **changes)


@pytest.mark.parametrize(
    ("tags", "side"),
    [
        ([], None),
        ([{"Laterality": "L"}], "left"),
        ([{"ImageLaterality": "R"}], "right"),
        ([{"Laterality": "R", "ImageLaterality": "R"}], "right"),
        ([{"ImageLaterality": "R", "Laterality": "L"}], "right"),
        ([{"Laterality": ""}], None),
        ([{"ImageLaterality": "B"}], None),
        ([{"ImageLaterality": "U", "Laterality": "L"}], "left"),
        ([{"Laterality": ""}, {"Laterality": "L"}], "left"),
        ([{"SeriesDescription": "SAG_3D_DESS_LEFT"}], "left"),
        ([{"SeriesDescription": "Rt knee pd fs"}], "right"),
        ([{"SeriesDescription": "knee right", "Laterality": ""}], "right"),
        ([{"SeriesDescription": "SAG T2 R"}], None),
        ([{"SeriesDescription": "LEFT AND RIGHT"}], None),
        ([{"SeriesDescription": "SAG_3D_DESS_LEFT", "Laterality": "R"}], "right"),
    ],
)
def test_a_series_has_the_side_of_its_slices(tmp_path, tags, side):
    volume = io.read_volume(series(tmp_path, *tags))
    assert (volume.side, volume.doubts) == (side, ())


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ([{"Laterality": "L"}, {"Laterality": "R"}], "of a left one and .* of a right one"),
        ([{"ImageLaterality": "R"}, {"Laterality": "L"}], "of a left one and .* of a right one"),
    ],
)
def test_slices_of_two_knees_are_refused(tmp_path, tags, said):
    with pytest.raises(InputError, match=said) as caught:
        io.read_volume(series(tmp_path, *tags))
    assert str(tmp_path) in str(caught.value)


def test_slices_that_are_passed_over_tell_no_side(tmp_path):
    series(tmp_path, {"Laterality": "R"})
    made_slice(
        tmp_path / "other", 0, Laterality="L", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]
    )
    assert io.read_volume(tmp_path).side == "right"


@pytest.mark.parametrize("frames", [("L", "L"), ("R", "R"), ("L", "R"), ("", "L"), ("U", "R")])
def test_frames_of_an_enhanced_image(tmp_path, frames):
    groups = [
        {
            "PlanePositionSequence": item(ImagePositionPatient=[10 - 1.5 * k, -20, 30]),
            "FrameAnatomySequence": item(FrameLaterality=frames[k % 2]),
        }
        for k in range(4)
    ]
    shared = {
        "PlaneOrientationSequence": item(ImageOrientationPatient=[0, 1, 0, 0, 0, -1]),
        "PixelMeasuresSequence": item(PixelSpacing=[0.25, 0.5]),
    }
    path = made_enhanced(tmp_path / "e", groups, shared, np.stack([pixels_of(k) for k in range(4)]))
    known = set(frames) & {"L", "R"}
    if len(known) == 2:
        with pytest.raises(InputError, match="expected one knee"):
            io.read_volume(path)
    else:
        assert io.read_volume(path).side == {"L": "left", "R": "right"}[known.pop()]


def two_series(folder, first, second):
    """Five and four slices of two knees, the second with 1000 added to its values."""
    made_series(folder, **{f"slice{k}": first for k in range(5)})
    for k in range(4):
        place = {"ImagePositionPatient": [150 - 1.5 * k, -20, 30], "SeriesInstanceUID": "1.2.9"}
        made_slice(folder / f"b{k}", k, pixels_of(k) + np.int16(1000), **place, **second)
    return folder


LISTED = "'SAG 3D DESS' (5 images{}), 'SAG 3D DESS' (4 images{})"


@pytest.mark.parametrize(
    ("first", "second", "side", "slices", "said"),
    [
        ("", "", "left", 5, "the largest is taken: " + LISTED.format("", "")),
        ("", "L", None, 5, "the largest is taken: " + LISTED.format("", "")),
        ("", "L", "left", 4, "of those that state left is taken: " + LISTED.format("", ", left")),
        ("R", "L", "left", 4, "state left is taken: " + LISTED.format(", right", ", left")),
        ("R", "", "left", 4, "of those without a side is taken: " + LISTED.format(", right", "")),
        ("R", "", "right", 5, "of those that state right is taken"),
        ("R", "R", "left", 5, "the largest is taken"),
        ("L", "L", "left", 5, "the largest is taken"),
    ],
)
def test_the_series_of_the_wanted_knee_is_read(tmp_path, first, second, side, slices, said):
    folder = two_series(tmp_path, {"Laterality": first}, {"Laterality": second})
    volume = io.read_volume(folder, side=side)
    assert volume.shape[2] == slices and (volume.array.max() > 999) == (slices == 4)
    assert volume.side == {"L": "left", "R": "right", "": None}[first if slices == 5 else second]
    (doubt,) = volume.doubts
    assert said in doubt


def test_a_stated_side_decides_between_series_of_one_size(tmp_path):
    two_series(tmp_path, {}, {"Laterality": "R"})
    (tmp_path / "000").unlink()  # of the first series
    with pytest.raises(InputError, match="2 series mixed"):
        io.read_volume(tmp_path)
    assert io.read_volume(tmp_path, side="right").side == "right"
