"""Tests of MRI volumes from DICOM folders, on made series and on a real one."""

import numpy as np
import pydicom
import pytest
from made_slices import made_series, made_slice, pixels_of
from pydicom import uid

from xr2mri_jax import io
from xr2mri_jax.errors import InputError
from xr2mri_jax.io import dicom_series


def test_slices_are_ordered_by_position(tmp_path):
    volume = io.read_volume(made_series(tmp_path))
    assert volume.shape == (4, 3, 5)
    assert volume.array.dtype == np.int16
    assert volume.spacing == (0.5, 0.25, 1.5)
    assert volume.orientation == ("P", "I", "R")
    for k in range(5):
        np.testing.assert_array_equal(volume.array[:, :, k], pixels_of(k).T)
    # Column 1, row 2 of slice 3: LPS (10 - 4.5, -20 + 0.5, 30 - 0.5).
    np.testing.assert_allclose(volume.world([1, 2, 3]), [-5.5, 19.5, 29.5])


def test_oblique_series_by_the_standard_formula(tmp_path):
    row = np.array([0.8, 0.6, 0])
    column = np.array([0, 0, -1.0])
    normal = np.cross(row, column)
    changes = {
        f"slice{k}": {
            "ImageOrientationPatient": [*row, *column],
            "ImagePositionPatient": list(np.round([1, 2, 3] + 0.7 * k * normal, 6)),
        }
        for k in range(4)
    }
    volume = io.read_volume(made_series(tmp_path, 4, **changes))
    lps = np.array([1, 2, 3]) + 3 * 0.5 * row + 2 * 0.25 * column + 1 * 0.7 * normal
    np.testing.assert_allclose(volume.world([3, 2, 1]), lps * [-1, -1, 1], atol=1e-6)


def test_other_dtypes_and_rescale(tmp_path):
    for name, dtype in (("a", np.uint16), ("b", np.uint8)):
        folder = tmp_path / name
        folder.mkdir()
        for k in range(3):
            made_slice(folder / f"{k}", k, np.full((2, 2), k + 200, dtype))
        volume = io.read_volume(folder)
        assert volume.array.dtype == dtype
        np.testing.assert_array_equal(volume.array[0, 0], [200, 201, 202])
    folder = tmp_path / "c"
    folder.mkdir()
    tags = {"RescaleSlope": 2, "RescaleIntercept": 0.5}
    volume = io.read_volume(made_series(folder, slice2=tags))
    assert volume.array.dtype == np.float32
    np.testing.assert_array_equal(volume.array[:, :, 2], pixels_of(2).T * 2 + 0.5)
    np.testing.assert_array_equal(volume.array[:, :, 1], pixels_of(1).T)


def test_hidden_files_and_the_directory_are_passed_over(tmp_path):
    made_series(tmp_path)
    (tmp_path / ".DS_Store").write_bytes(b"x")
    (tmp_path / "DICOMDIR").write_bytes(b"x")
    (tmp_path / "other series").mkdir()
    assert io.read_volume(tmp_path).shape == (4, 3, 5)


def test_other_files_are_listed(tmp_path):
    made_series(tmp_path)
    (tmp_path / "notes.txt").write_text("seen")
    (doubt,) = io.read_volume(tmp_path).doubts
    assert doubt == "files that are not DICOM are ignored: notes.txt"
    (tmp_path / "empty").touch()
    with pytest.raises(InputError, match=r"not DICOM: empty, expected slices"):
        io.read_volume(tmp_path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"slice2": {"ImagePositionPatient": [6.8, -20, 30]}}, "are 1.7 mm apart, expected 1.5 mm"),
        ({"slice2": {"ImagePositionPatient": [8.5, -20, 30]}}, "repeat the position"),
        ({"slice2": {"ImagePositionPatient": [7, -20, 30.1]}}, "0.08 mm off the line"),
        (
            {"slice2": {"ImagePositionPatient": None}},
            r"ImagePositionPatient \(0020,0032\) is absent",
        ),
        ({"slice2": {"PixelSpacing": None}}, r"PixelSpacing \(0028,0030\) is absent"),
        ({"slice2": {"PixelSpacing": [0.25, 0.6]}}, r"is \[0.25, 0.6\], expected \[0.25, 0.5\]"),
        ({"slice2": {"PixelSpacing": [0, 0.6]}}, "two positive numbers"),
        ({"slice2": {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}}, r"\(0020,0037\) is"),
        ({"slice2": {"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}}, "two unit vectors"),
        ({"slice2": {"pixels": np.zeros((4, 4), np.int16)}}, r"Rows \(0028,0010\) is"),
        ({"slice2": {"pixels": np.zeros((3, 4), np.uint16)}}, "PixelRepresentation"),
        ({"slice2": {"Modality": "CR"}}, r"wrong modality, Modality \(0008,0060\) is CR, .* MR"),
        ({"slice2": {"Modality": None}}, "absent, expected MR"),
        ({"slice2": {"PhotometricInterpretation": "MONOCHROME1"}}, "expected MONOCHROME2"),
        ({"slice2": {"PixelData": b"1234"}}, "has 4 bytes: expected 24 for 3 x 4 pixels"),
        ({"slice2": {"NumberOfFrames": 3}}, "3 frames, expected one slice per file"),
    ],
)
def test_irregular_series_are_refused(tmp_path, changes, said):
    made_series(tmp_path, **changes)
    with pytest.raises(InputError, match=said) as caught:
        io.read_volume(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_slice_is_named_between_its_neighbours(tmp_path):
    for k in (0, 1, 2, 4, 5):
        made_slice(tmp_path / f"s{k}", k)
    with pytest.raises(InputError, match=r"2 \(s2\) and 3 \(s4\) are 3 mm apart, expected 1\.5"):
        io.read_volume(tmp_path)


def test_mixed_series_are_counted_and_described(tmp_path):
    other = {"SeriesInstanceUID": uid.generate_uid(), "SeriesDescription": "COR IW"}
    made_series(tmp_path, slice1=other, slice3=other)
    said = r"2 series mixed, expected one: 'SAG 3D DESS' \(3 images\), 'COR IW' \(2 images\)"
    with pytest.raises(InputError, match=said):
        io.read_volume(tmp_path)


def test_two_echoes_at_every_position_are_refused(tmp_path):
    for k in range(3):
        made_slice(tmp_path / f"a{k}", k)
        made_slice(tmp_path / f"b{k}", k, pixels_of(k) + np.int16(1))
    with pytest.raises(InputError, match="repeat the position"):
        io.read_volume(tmp_path)


def test_a_single_slice_is_refused(tmp_path):
    made_slice(tmp_path / "x", 0)
    with pytest.raises(InputError, match="a single slice"):
        io.read_volume(tmp_path)


def test_other_modalities_only_where_they_are_asked_for(tmp_path):
    ct = {f"slice{k}": {"Modality": "CT"} for k in range(5)}
    made_series(tmp_path, **ct)
    with pytest.raises(InputError, match="is CT, expected MR"):
        io.read_volume(tmp_path)
    assert dicom_series.read_series(tmp_path, modalities=("MR", "CT")).shape == (4, 3, 5)


def test_the_real_series_agrees_with_its_own_headers(real_data, tmp_path):
    folder = real_data / "knee_dess_dicom"
    volume = io.read_volume(folder)
    assert volume.shape == (512, 512, 80)
    assert volume.array.dtype == np.int16
    io.write_nifti(tmp_path / "x.nii", volume)
    again = io.read_volume(tmp_path / "x.nii")
    assert again.array.dtype == np.int16
    np.testing.assert_array_equal(again.array, volume.array)
    headers = [pydicom.dcmread(path) for path in folder.iterdir()]
    headers.sort(key=lambda h: -h.ImagePositionPatient[0])  # the normal points to -x in LPS
    to_ras = np.array([-1, -1, 1])
    for k, header in enumerate(headers):
        np.testing.assert_array_equal(volume.array[:, :, k], header.pixel_array.T)
        position = np.array(header.ImagePositionPatient, np.float64)
        orientation = np.array(header.ImageOrientationPatient, np.float64)
        rows, columns = (float(v) for v in header.PixelSpacing)
        last = position + 511 * columns * orientation[:3] + 511 * rows * orientation[3:]
        for read in (volume, again):
            np.testing.assert_allclose(read.world([0, 0, k]), position * to_ras, atol=1e-3)
            np.testing.assert_allclose(read.world([511, 511, k]), last * to_ras, atol=1e-3)
