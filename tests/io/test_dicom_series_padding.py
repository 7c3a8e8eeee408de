"""Padding in MRI series is no tissue, where it can be told from it."""

import numpy as np
import pydicom
import pytest
from made_slices import made_slice, pixels_of
from pydicom.dataelem import DataElement

from xr2mri_jax import io


@pytest.fixture
def padded_series(tmp_path):
    def write(stored, tag, kind=np.int16, **tags):
        for k in range(4):
            pixels = (pixels_of(k) + 60).astype(kind)
            pixels[:, :2] = stored
            path = tmp_path / f"{k}"
            made_slice(path, k, pixels, **tags)
            if tag is not None:
                with_tag(path, *tag)
        return io.read_volume(tmp_path)

    return write


def with_tag(path, vr, value):
    dataset = pydicom.dcmread(path)
    dataset[0x00280120] = DataElement(0x00280120, vr, value)
    dataset.save_as(path)


@pytest.mark.parametrize(
    ("stored", "tag", "kind"),
    [
        (-2000, ("SS", -2000), np.int16),
        (-2000, ("US", 63536), np.int16),
        (65535, ("US", 65535), np.uint16),
        (65535, ("SS", -1), np.uint16),
        (32767, ("SS", 32767), np.int16),
    ],
)
@pytest.mark.parametrize("slope", [None, 2.0])
def test_padding_beyond_all_values_lies_outside_the_field(padded_series, stored, tag, kind, slope):
    tags = {} if slope is None else {"RescaleSlope": slope, "RescaleIntercept": -3}
    volume = padded_series(stored, tag, kind, **tags)
    assert np.isnan(volume.array[:2]).all()
    expected = np.stack([pixels_of(k).T[2:] + 60 for k in range(4)], -1).astype(np.float32)
    expected = expected if slope is None else expected * slope - 3
    np.testing.assert_array_equal(volume.array[2:], expected)
    assert any("50.00% of the voxels are PixelPaddingValue" in doubt for doubt in volume.doubts)


@pytest.mark.parametrize(
    ("stored", "tag"),
    [
        (0, ("SS", 0)),  # air
        (200, ("SS", 200)),  # tissue
        (-5, ("SS", -2000)),  # never there
        (-2000, None),
    ],
)
def test_other_values_stay_as_they_are(padded_series, stored, tag):
    volume = padded_series(stored, tag)
    assert (volume.array[:2] == stored).all() and volume.array.dtype == np.int16
    assert volume.doubts == ()
