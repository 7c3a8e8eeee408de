"""Enhanced multi-frame MR images: their frames are the slices of a series."""

import numpy as np
import pytest
from made_slices import SAGITTAL, item, made_enhanced, pixels_of, plain, same
from pydicom import uid

from xr2mri_jax import io
from xr2mri_jax.errors import InputError


@pytest.fixture
def expected(tmp_path):
    return plain(tmp_path / "plain")


ORIENTATION = {"PlaneOrientationSequence": item(ImageOrientationPatient=SAGITTAL)}
MEASURES = {"PixelMeasuresSequence": item(PixelSpacing=[0.25, 0.5], SliceThickness=1.5)}


def position(k):
    return {"PlanePositionSequence": item(ImagePositionPatient=[10 - 1.5 * k, -20, 30])}


def frames(order=range(6)):
    return np.stack([pixels_of(k) for k in order])


@pytest.mark.parametrize("order", [range(6), range(5, -1, -1), (3, 0, 5, 1, 4, 2)])
@pytest.mark.parametrize("compress", [None, uid.RLELossless])
def test_frames_are_ordered_by_position(tmp_path, expected, order, compress):
    path = made_enhanced(
        tmp_path / "e",
        [position(k) for k in order],
        ORIENTATION | MEASURES,
        frames(order),
        compress,
    )
    volume = io.read_volume(path)
    same(volume, expected)
    assert volume.doubts == ()


def test_groups_of_each_frame_go_before_shared_ones(tmp_path, expected):
    wrong = {"PlaneOrientationSequence": item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])}
    groups = [position(k) | ORIENTATION | MEASURES for k in range(6)]
    same(io.read_volume(made_enhanced(tmp_path / "e", groups, wrong, frames())), expected)


def test_a_folder_with_an_enhanced_file(tmp_path, expected):
    (tmp_path / "folder").mkdir()
    groups = [position(k) for k in range(6)]
    made_enhanced(tmp_path / "folder" / "e.dcm", groups, ORIENTATION | MEASURES, frames())
    same(io.read_volume(tmp_path / "folder"), expected)


def test_frames_of_two_echoes(tmp_path, expected):
    groups, pixels = [], []
    for k in range(6):
        for echo, more in ((30.0, 40), (5.0, 0)):
            groups.append(position(k) | {"MREchoSequence": item(EffectiveEchoTime=echo)})
            pixels.append(pixels_of(k) + np.int16(more))
    path = made_enhanced(tmp_path / "e", groups, ORIENTATION | MEASURES, np.stack(pixels))
    volume = io.read_volume(path)
    same(volume, expected)
    assert "EchoTime (0018,0081) 5, 30 ms" in volume.doubts[0]
    np.testing.assert_array_equal(io.read_volume(path, echo=2).array, expected.array + 40)


def test_frames_with_a_rescale_of_their_own(tmp_path, expected):
    groups = [
        position(k)
        | {
            "PixelValueTransformationSequence": item(
                RescaleSlope=2, RescaleIntercept=k, RescaleType="US"
            )
        }
        for k in range(6)
    ]
    volume = io.read_volume(made_enhanced(tmp_path / "e", groups, ORIENTATION | MEASURES, frames()))
    np.testing.assert_array_equal(volume.array, expected.array * 2 + np.arange(6))


@pytest.mark.parametrize(
    ("groups", "shared", "said"),
    [
        ([position(k) for k in range(5)], ORIENTATION | MEASURES, "has 5 items"),
        ([position(k) for k in range(6)], ORIENTATION, r"PixelSpacing \(0028,0030\) is absent"),
        ([position(k) for k in range(6)], MEASURES, r"ImageOrientationPatient .* is absent"),
        (
            [position(k + 6 * (k == 3)) for k in range(6)],
            ORIENTATION | MEASURES,
            "apart",
        ),
        ([MEASURES] * 6, ORIENTATION, r"ImagePositionPatient .* is absent"),
    ],
)
def test_enhanced_files_that_are_incomplete(tmp_path, groups, shared, said):
    path = made_enhanced(tmp_path / "e", groups, shared, frames())
    with pytest.raises(InputError, match=said):
        io.read_volume(path)
