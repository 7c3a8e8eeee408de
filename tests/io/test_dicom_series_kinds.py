"""Folders as scanners and archives write them: copies, echoes, other objects, jitter, frames."""

import gzip
import shutil

import numpy as np
import pydicom
import pytest
from made_slices import made_series, made_slice, pixels_of, plain, same
from pydicom import uid

from xr2mri_jax import io
from xr2mri_jax.errors import InputError


@pytest.fixture
def expected(tmp_path):
    return plain(tmp_path / "plain")


# --- copies


@pytest.mark.parametrize(
    "copies", [("000",), ("002", "003"), ("005",), tuple(f"{k:03d}" for k in range(6))]
)
def test_copies_with_the_same_pixels_are_dropped_and_said(tmp_path, expected, copies):
    for name in copies:
        shutil.copy(tmp_path / "plain" / name, tmp_path / "plain" / f"{name}copy")
    volume = io.read_volume(tmp_path / "plain")
    same(volume, expected)
    (doubt,) = volume.doubts
    assert doubt.startswith(f"{len(copies)} slices occur twice, with the same pixels")


@pytest.mark.parametrize("k", [0, 3, 5])
def test_other_pixels_at_one_position_are_named(tmp_path, expected, k):
    made_slice(tmp_path / "plain" / "other", k, pixels_of(k) + np.int16(1))
    with pytest.raises(InputError, match=rf"{k:03d}\).*\(other\) repeat the position .* different"):
        io.read_volume(tmp_path / "plain")


def test_a_slice_three_times(tmp_path, expected):
    for name in "ab":
        shutil.copy(tmp_path / "plain" / "002", tmp_path / "plain" / name)
    same(io.read_volume(tmp_path / "plain"), expected)


# --- other objects


def other_object(path, kind, modality, pixels=True):
    made_slice(path, 2, SOPClassUID=kind, Modality=modality, SeriesInstanceUID=uid.generate_uid())
    dataset = pydicom.dcmread(path)
    dataset.file_meta.MediaStorageSOPClassUID = kind
    if not pixels:
        for name in ("Rows", "Columns", "PixelData", "BitsAllocated", "ImagePositionPatient"):
            delattr(dataset, name)
    dataset.save_as(path)


@pytest.mark.parametrize(
    ("kind", "modality", "pixels"),
    [
        (uid.GrayscaleSoftcopyPresentationStateStorage, "PR", False),
        (uid.BasicTextSRStorage, "SR", False),
        (uid.KeyObjectSelectionDocumentStorage, "KO", False),
        (uid.SecondaryCaptureImageStorage, "MR", True),
        (uid.SecondaryCaptureImageStorage, "OT", True),
        (uid.SegmentationStorage, "SEG", True),
        (uid.RawDataStorage, "MR", False),
        (uid.CTImageStorage, "CT", True),
        (uid.EncapsulatedPDFStorage, "DOC", False),
    ],
)
def test_objects_that_are_no_slices_are_passed_over(tmp_path, expected, kind, modality, pixels):
    other_object(tmp_path / "plain" / "zz", kind, modality, pixels)
    volume = io.read_volume(tmp_path / "plain")
    same(volume, expected)
    (doubt,) = volume.doubts
    assert "not slices are ignored: zz" in doubt and modality in doubt


@pytest.mark.parametrize(
    "name", ["notes.txt", "contents.csv", "report.pdf", "x.nii.gz", "Thumbs.db"]
)
def test_files_that_are_no_dicom_by_their_names(tmp_path, expected, name):
    (tmp_path / "plain" / name).write_bytes(b"something else")
    same(io.read_volume(tmp_path / "plain"), expected)


@pytest.mark.parametrize("name", ["007", "IM0007", "slice.dcm", "slice.ima"])
def test_a_broken_slice_is_no_other_file(tmp_path, expected, name):
    (tmp_path / "plain" / name).write_bytes(bytes(2000))
    with pytest.raises(InputError, match=f"not DICOM: {name}"):
        io.read_volume(tmp_path / "plain")


# --- localizers and other series


@pytest.mark.parametrize(
    "tags",
    [
        {"SeriesInstanceUID": "1.2.9", "SeriesDescription": "3-plane LOC"},
        {"SeriesInstanceUID": "1.2.9", "ImageOrientationPatient": [1, 0, 0, 0, 1, 0]},
        {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]},
        {"SeriesInstanceUID": "1.2.9", "ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]},
    ],
)
def test_localizers_are_passed_over(tmp_path, expected, tags):
    for k in range(3):
        place = {"ImagePositionPatient": [10 - 1.5 * k, -24, 30.0 + k], **tags}
        made_slice(tmp_path / "plain" / f"loc{k}", 0, pixels_of(k) + np.int16(7), **place)
    volume = io.read_volume(tmp_path / "plain")
    same(volume, expected)
    assert any("localizer" in doubt or "largest is taken" in doubt for doubt in volume.doubts)


def test_a_name_in_a_description_is_not_shown(tmp_path, expected):
    tags = {"SeriesInstanceUID": "1.2.9", "SeriesDescription": "MUELLER HANNA"}
    made_slice(tmp_path / "plain" / "z", 0, ImageOrientationPatient=[1, 0, 0, 0, 1, 0], **tags)
    (doubt,) = io.read_volume(tmp_path / "plain").doubts
    assert "MUELLER" not in doubt
    assert "'SAG 3D DESS' (6 images), unnamed (1 images)" in doubt


def test_two_largest_series_are_refused(tmp_path, expected):
    for k in range(6):
        place = {"ImagePositionPatient": [10 - 1.5 * k, 99, 30]}
        made_slice(tmp_path / "plain" / f"b{k}", k, SeriesInstanceUID="1.2.9", **place)
    with pytest.raises(InputError, match="2 series mixed"):
        io.read_volume(tmp_path / "plain")


@pytest.mark.parametrize("k", [0, 3, 5])
def test_a_slice_that_says_another_series_is_missed(tmp_path, k):
    """It lies on the grid of the others: a damaged identifier, no other series."""
    made_series(tmp_path, 6, **{f"slice{k}": {"SeriesInstanceUID": "1.2.9"}})
    with pytest.raises(InputError, match="lies where a slice of the first is missing"):
        io.read_volume(tmp_path)


# --- jitter


@pytest.mark.parametrize("digits", [1, 2])
def test_positions_of_few_digits_are_regular(tmp_path, digits):
    step = 0.7296
    places = {
        f"slice{k}": {"ImagePositionPatient": [round(10 - step * k, digits), -20, 30]}
        for k in range(12)
    }
    volume = io.read_volume(made_series(tmp_path, 12, **places))
    assert volume.spacing[2] == pytest.approx(step, abs=0.01)
    assert len(volume.doubts) == (digits == 1)
    assert all("jitter by up to 0.0" in doubt for doubt in volume.doubts)


def test_slices_that_jitter_to_both_sides_keep_their_spacing(tmp_path):
    places = {
        f"slice{k}": {"ImagePositionPatient": [10 - 1.5 * k + 0.02 * (-1) ** k, -20, 30]}
        for k in range(12)
    }
    volume = io.read_volume(made_series(tmp_path, 12, **places))
    assert volume.spacing[2] == pytest.approx(1.5, abs=0.003)
    (doubt,) = volume.doubts
    assert doubt.startswith("the slices' positions jitter by up to 0.02")
    assert doubt.endswith(f"taken as {volume.spacing[2]:.4g} mm apart")


@pytest.mark.parametrize("off", [0.01, -0.05])
def test_a_slice_off_its_place_by_less_than_a_tenth(tmp_path, off):
    volume = io.read_volume(
        made_series(tmp_path, slice2={"ImagePositionPatient": [7 + off, -20, 30]})
    )
    assert volume.spacing[2] == pytest.approx(1.5, abs=0.02)
    assert len(volume.doubts) == (off == -0.05)


@pytest.mark.parametrize("off", [0.15, -0.3, 0.75])
def test_a_slice_off_by_more_is_refused(tmp_path, off):
    made_series(tmp_path, slice2={"ImagePositionPatient": [7 + off, -20, 30]})
    with pytest.raises(InputError, match=r"apart, expected|off the line"):
        io.read_volume(tmp_path)


# --- echoes


def two_images(folder, first, second, count=4):
    """Two different images at every position, told apart by tags."""
    folder.mkdir()
    for k in range(count):
        made_slice(folder / f"b{k}", k, pixels_of(k) + np.int16(40), **second)
        made_slice(folder / f"a{k}", k, **first)
    return folder


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ({"EchoTime": 4.7}, {"EchoTime": 18.0}, "2 echoes (EchoTime (0018,0081) 4.7, 18 ms)"),
        ({"EchoNumbers": 1}, {"EchoNumbers": 2}, "2 echoes (EchoNumbers (0018,0086) 1, 2)"),
        (
            {"EchoNumbers": 1, "EchoTime": 5.0},
            {"EchoNumbers": 2, "EchoTime": 42.0},
            "2 echoes (EchoTime (0018,0081) 5, 42 ms)",
        ),
    ],
)
def test_of_several_echoes_the_first_is_taken_and_said(tmp_path, first, second, said):
    folder = two_images(tmp_path / "x", first, second)
    volume = io.read_volume(folder)
    np.testing.assert_array_equal(volume.array[:, :, 1], pixels_of(1).T)
    assert [doubt.startswith(said) for doubt in volume.doubts] == [True]
    volume = io.read_volume(folder, echo=2)
    np.testing.assert_array_equal(volume.array[:, :, 1], pixels_of(1).T + 40)
    assert volume.doubts == ()
    with pytest.raises(InputError, match="--echo is 3, expected 1 to 2"):
        io.read_volume(folder, echo=3)


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (
            {"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND"]},
            {"ImageType": ["ORIGINAL", "PRIMARY", "P", "ND"]},
            "2 parts of a complex image",
        ),
        ({"TemporalPositionIdentifier": 1}, {"TemporalPositionIdentifier": 2}, "2 time points"),
        ({"AcquisitionNumber": 1}, {"AcquisitionNumber": 2}, "2 acquisitions"),
    ],
)
def test_other_images_at_one_position(tmp_path, first, second, said):
    volume = io.read_volume(two_images(tmp_path / "x", first, second))
    np.testing.assert_array_equal(volume.array[:, :, 1], pixels_of(1).T)
    assert said in volume.doubts[0]


def test_one_echo_has_no_second(tmp_path, expected):
    same(io.read_volume(tmp_path / "plain", echo=1), expected)
    with pytest.raises(InputError, match="--echo is 2, expected 1 to 1"):
        io.read_volume(tmp_path / "plain", echo=2)


def test_a_gzipped_slice_is_named_as_such(tmp_path):
    series = tmp_path / "series"
    series.mkdir()
    for number in range(3):
        content = gzip.compress(b"\0" * 128 + b"DICM" + bytes(16))
        (series / f"{number}.dcm.gz").write_bytes(content)
    with pytest.raises(InputError, match=r"not DICOM: 0\.dcm\.gz.*gzipped, expected it unpacked"):
        io.read_volume(series)
