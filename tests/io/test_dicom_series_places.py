"""Series as media and scanners lay them out: folders, DICOMDIR, slices in other directions."""

import numpy as np
import pydicom
import pytest
from made_slices import made_series, made_slice, same
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset

from xr2mri_jax import io
from xr2mri_jax.errors import InputError

CORONAL, AXIAL = [1, 0, 0, 0, 0, -1], [1, 0, 0, 0, 1, 0]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "s").mkdir()
    return made_series(tmp_path / "s", 6)


@pytest.fixture
def expected(tmp_path):
    (tmp_path / "plain").mkdir()
    return io.read_volume(made_series(tmp_path / "plain", 6))


def plane(folder, directions, count, step, start=(-30, -12, 41)):
    """Slices of the same series in another direction."""
    for k in range(count):
        place = np.add(start, np.multiply(k, step)).tolist()
        name = f"p{directions[1]}{directions[4]}{k}"
        made_slice(folder / name, k, ImageOrientationPatient=directions, ImagePositionPatient=place)


@pytest.mark.parametrize(
    "others", [[(CORONAL, 1)], [(CORONAL, 3)], [(CORONAL, 3), (AXIAL, 3)], [(AXIAL, 5)]]
)
def test_the_largest_stack_of_a_series_is_taken_and_said(folder, expected, others):
    for directions, count in others:
        plane(folder, directions, count, (0, 7, 0) if directions == CORONAL else (0, 0, 9))
    volume = io.read_volume(folder)
    same(volume, expected)
    sizes = ", ".join(str(count) for _, count in [(None, 6), *others])
    assert volume.doubts == (
        f"{1 + len(others)} stacks of {sizes} slices in different directions "
        "(ImageOrientationPatient (0020,0037)): the largest is taken",
    )


def test_slices_of_another_size_in_another_direction_are_passed_over(folder, expected):
    made_slice(
        folder / "scout",
        0,
        pixels=np.zeros((6, 8), np.int16),
        ImageOrientationPatient=CORONAL,
        ImagePositionPatient=[-30, -12, 41],
    )
    same(io.read_volume(folder), expected)


def test_two_largest_stacks_are_refused(folder):
    plane(folder, CORONAL, 6, (0, 7, 0))
    with pytest.raises(InputError, match="2 stacks of 6, 6 slices in different directions"):
        io.read_volume(folder)


@pytest.mark.parametrize("k", [0, 2, 5])
def test_a_slice_of_the_stack_with_another_direction_is_missed(tmp_path, k):
    (tmp_path / "s").mkdir()
    changed = {f"slice{k}": {"ImageOrientationPatient": CORONAL}}
    with pytest.raises(InputError, match=r"ImageOrientationPatient .* expected"):
        io.read_volume(made_series(tmp_path / "s", 6, **changed))


@pytest.mark.parametrize(
    ("below", "beside"),
    [
        ("SE0", ()),
        ("DICOM/PAT0/ST0/SE0", ()),
        ("DICOM/S0", ("VIEWER.EXE", "autorun.inf", "README.txt")),
    ],
)
def test_a_medium_has_its_slices_in_folders_below(tmp_path, folder, expected, below, beside):
    medium = tmp_path / "medium"
    (medium / below).parent.mkdir(parents=True)
    folder.rename(medium / below)
    for name in beside:
        (medium / name).write_bytes(b"x")
    volume = io.read_volume(medium)
    same(volume, expected)
    assert len(volume.doubts) == (1 if beside else 0)


def test_a_dicomdir_stands_for_its_folder(tmp_path, folder, expected):
    medium = tmp_path / "medium" / "DICOM"
    medium.parent.mkdir()
    folder.rename(medium)
    index = Dataset()
    index.file_meta = FileMetaDataset()
    index.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    index.SOPClassUID, index.SOPInstanceUID = uid.MediaStorageDirectoryStorage, uid.generate_uid()
    index.FileSetID = "KNEES"
    pydicom.dcmwrite(tmp_path / "medium" / "DICOMDIR", index, enforce_file_format=True)
    for place in (tmp_path / "medium", tmp_path / "medium" / "DICOMDIR"):
        same(io.read_volume(place), expected)


def test_folders_that_lead_round_are_not_followed(tmp_path, folder, expected):
    medium = tmp_path / "medium"
    (medium / "deep").mkdir(parents=True)
    folder.rename(medium / "deep" / "s")
    (medium / "deep" / "round").symlink_to(medium, target_is_directory=True)
    same(io.read_volume(medium), expected)


def test_a_folder_without_slices_anywhere_is_refused(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    with pytest.raises(InputError, match="no files in this folder, expected a DICOM series"):
        io.read_volume(tmp_path / "a")
