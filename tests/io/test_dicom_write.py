"""Tests of DICOM series that we write: read back, and held to an independent validator."""

import numpy as np
import pydicom
import pytest
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.tag import Tag
from pydicom.uid import (
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    generate_uid,
)

from xr2mri_jax import files, io
from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import Volume, reorient_ras, require_same_geometry
from xr2mri_jax.io.dicom_modules import SeriesLabel, left_out
from xr2mri_jax.io.dicom_write import PLANES, write_series


def oblique(handed=1.0):
    """An affine turned about all axes, 0.4 x 0.5 x 0.7 mm, far from the origin."""
    turn, _ = np.linalg.qr(np.array([[0.9, 0.2, -0.1], [-0.3, 1.0, 0.2], [0.15, -0.2, 1.1]]))
    turn = turn * np.sign(np.diag(turn))
    affine = np.eye(4)
    affine[:3, :3] = turn * (0.4, 0.5, 0.7 * handed)
    affine[:3, 3] = 101.23456789, -77.7, 1234.5
    return affine


def made(dtype, affine=None, shape=(7, 6, 5)):
    values = np.random.default_rng(1).random(shape)
    if np.dtype(dtype).kind != "f":
        limits = np.iinfo(dtype)
        low, high = max(limits.min, -30000), min(limits.max, 60000)
        values = np.round(low + values * (high - low))
    return Volume(values.astype(dtype), oblique() if affine is None else affine)


def same(written, read, step=0.0):
    written, read = reorient_ras(written), reorient_ras(read)
    require_same_geometry(written, read, 1e-3)
    error = np.abs(written.array.astype(np.float64) - read.array).max()
    assert error <= step / 2 + 1e-7


@pytest.mark.parametrize("plane", [None, *PLANES])
@pytest.mark.parametrize("handed", [1.0, -1.0])
def test_whole_numbers_come_back_exactly_in_every_plane(tmp_path, plane, handed):
    volume = made(np.int16, oblique(handed))
    write_series(tmp_path / "s", volume, side="left", plane=plane)
    read = io.read_volume(tmp_path / "s")
    same(volume, read)
    assert read.array.dtype == np.int16
    if plane is None and handed > 0:
        np.testing.assert_array_equal(read.array, volume.array)
        np.testing.assert_allclose(read.affine, volume.affine, atol=1e-6)
    if plane is not None:
        assert "".join(read.orientation) == PLANES[plane]


@pytest.mark.parametrize(
    ("dtype", "back"),
    [("uint8", "uint16"), ("int8", "int16"), ("uint16", "uint16"), ("int64", "int16")],
)
def test_other_whole_numbers_that_fit_are_exact(tmp_path, dtype, back):
    volume = made(dtype)
    if dtype == "int64":
        volume = Volume(volume.array // 2, volume.affine)
    write_series(tmp_path / "s", volume)
    read = io.read_volume(tmp_path / "s")
    same(volume, read)
    assert read.array.dtype == back


@pytest.mark.parametrize("value_range", [None, (0.0, 1.0)])
def test_broken_numbers_come_back_within_half_a_step(tmp_path, value_range):
    volume = made(np.float32)
    write_series(tmp_path / "s", volume, value_range=value_range)
    read = io.read_volume(tmp_path / "s")
    assert read.array.dtype == np.float32
    same(volume, read, step=1.0 / 65535)


def test_a_wide_scale_and_a_constant(tmp_path):
    volume = made(np.float64)
    wide = Volume(volume.array * 3e5 - 7e4, volume.affine)
    write_series(tmp_path / "wide", wide)
    same(wide, io.read_volume(tmp_path / "wide"), step=3e5 / 65535 + 0.05)
    constant = Volume(np.full((4, 4, 3), 2.5), volume.affine)
    write_series(tmp_path / "constant", constant)
    same(constant, io.read_volume(tmp_path / "constant"))


def test_the_window_shows_the_range_and_is_wide_enough_for_every_viewer(tmp_path):
    (path, *_) = write_series(tmp_path / "s", made(np.float32), value_range=(0.0, 1.0))
    header = pydicom.dcmread(path)
    width, centre = float(header.WindowWidth), float(header.WindowCenter)
    assert width >= 1
    # What the function LINEAR makes black and white.
    ends = centre - 0.5 + np.array([-0.5, 0.5]) * (width - 1)
    np.testing.assert_allclose(ends, [0.0, 1.0], atol=0.05)


def radiograph_header(**tags):
    header = Dataset()
    header.SpecificCharacterSet = "ISO_IR 100"
    header.SOPClassUID = DigitalXRayImageStorageForPresentation
    header.SOPInstanceUID, header.StudyInstanceUID = generate_uid(), generate_uid()
    header.PatientName, header.PatientID = "Müller^Jörg", "P-17"
    header.PatientBirthDate, header.PatientSex = "19501231", "M"
    header.PatientAge, header.PatientWeight = "066Y", "81.5"
    header.StudyDate, header.StudyTime = "20170304", "101112"
    header.StudyID, header.AccessionNumber = "S1", "A1"
    header.ReferringPhysicianName = "Doctor^Who"
    header.FrameOfReferenceUID = generate_uid()
    for name, value in tags.items():
        setattr(header, name, value)
    return header


def all_text(paths):
    return "".join(str(pydicom.dcmread(path)) for path in paths)


def test_a_series_is_anonymous_unless_told_otherwise(tmp_path):
    source = radiograph_header()
    paths = write_series(tmp_path / "s", made(np.uint16), source=source)
    header = pydicom.dcmread(paths[0])
    assert header.PatientIdentityRemoved == "YES"
    text = all_text(paths)
    for keyword in ("PatientName", "PatientID", "StudyInstanceUID", "SOPInstanceUID", "StudyDate"):
        assert str(source[keyword].value) not in text
    assert "Müller" not in text


def test_identity_is_carried_over_with_the_study_and_the_source(tmp_path):
    source = radiograph_header()
    paths = write_series(tmp_path / "s", made(np.uint16), source=source, keep_identity=True)
    for header in map(pydicom.dcmread, paths):
        for keyword in ("PatientID", "PatientSex", "PatientAge", "StudyInstanceUID", "StudyDate"):
            assert header[keyword].value == source[keyword].value
        assert str(header.PatientName) == "Müller^Jörg"
        assert header.SeriesInstanceUID != source.StudyInstanceUID
        # The volume lies in a frame of its own, not in the radiograph's.
        assert header.FrameOfReferenceUID != source.FrameOfReferenceUID
        (reference,) = header.SourceImageSequence
        assert reference.ReferencedSOPInstanceUID == source.SOPInstanceUID
        assert "PatientIdentityRemoved" not in header


def test_names_in_other_scripts_survive(tmp_path):
    source = radiograph_header(SpecificCharacterSet=["", "ISO 2022 IR 87"])
    source.PatientName = "Yamada^Tarou=山田^太郎"
    source.file_meta = FileMetaDataset()
    source.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    source.save_as(tmp_path / "xray", enforce_file_format=True)
    source = pydicom.dcmread(tmp_path / "xray")
    paths = write_series(tmp_path / "s", made(np.uint16), source=source, keep_identity=True)
    name = pydicom.dcmread(paths[0]).PatientName
    assert str(name) == "Yamada^Tarou=山田^太郎"


@pytest.mark.parametrize(
    ("keyword", "vr", "value"),
    [
        ("PatientWeight", "DS", "80,5"),
        ("PatientSize", "DS", "1,80"),
        ("PatientBirthDate", "DA", "1956-02-14"),
        ("PatientAge", "AS", "64"),
        ("StudyTime", "TM", "10:11 h"),
        ("StudyDate", "DA", "14.2.56"),
    ],
)
def test_a_broken_tag_of_identity_is_left_out_and_said(tmp_path, keyword, vr, value):
    source = radiograph_header()
    with pydicom.config.disable_value_validation():
        source.add(RawDataElement(Tag(keyword), vr, len(value), value.encode(), 0, False, True))
    paths = write_series(tmp_path / "s", made(np.uint16), source=source, keep_identity=True)
    header = pydicom.dcmread(paths[0])
    assert not header.get(keyword)
    assert header.PatientID == source.PatientID
    (clause,) = left_out(source)
    assert clause.startswith(f"{keyword} (") and "left out of the DICOM series" in clause
    assert value not in clause


def test_long_texts_are_no_broken_tags(tmp_path):
    source = radiograph_header()
    with pydicom.config.disable_value_validation():
        source.add_new(Tag("PatientID"), "LO", "x" * 90)
    assert left_out(source) == ()
    paths = write_series(tmp_path / "s", made(np.uint16), source=source, keep_identity=True)
    with pydicom.config.disable_value_validation():
        assert pydicom.dcmread(paths[0]).PatientID == "x" * 90


def test_identity_needs_a_source_with_a_study(tmp_path):
    bare = radiograph_header()
    del bare.StudyInstanceUID
    for source, said in ((None, "not a DICOM file"), (bare, "StudyInstanceUID")):
        with pytest.raises(InputError, match=said):
            write_series(tmp_path / "s", made(np.uint16), source=source, keep_identity=True)
    assert not list(tmp_path.iterdir())


def test_uids_and_headers(tmp_path):
    label = SeriesLabel("A series", "Made by a test", "For no use", synthetic=True)
    paths = write_series(tmp_path / "s", made(np.float32), side="right", label=label)
    headers = [pydicom.dcmread(path) for path in paths]
    assert len({h.SOPInstanceUID for h in headers}) == len(headers) == 5
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        assert len({h[keyword].value for h in headers}) == 1
    assert [h.InstanceNumber for h in headers] == [1, 2, 3, 4, 5]
    first = headers[0]
    assert first.ImageType == ["DERIVED", "SECONDARY", "OTHER", "SYNTHETIC"]
    assert (first.Modality, first.Laterality, first.BurnedInAnnotation) == ("MR", "R", "NO")
    assert first.SeriesDescription == "A series"
    assert first.DerivationDescription == "Made by a test"
    assert first.ImageComments == "For no use"
    assert first.file_meta.MediaStorageSOPInstanceUID == first.SOPInstanceUID


def test_once_lossy_is_said_for_ever(tmp_path):
    source = radiograph_header(LossyImageCompression="01")
    (path, *_) = write_series(tmp_path / "s", made(np.uint16), source=source)
    assert pydicom.dcmread(path).LossyImageCompression == "01"


@pytest.mark.parametrize(
    ("array", "affine", "flags", "said"),
    [
        (np.full((3, 3, 3), np.nan), np.eye(4), {}, "not finite"),
        (np.zeros((3, 3, 3), complex), np.eye(4), {}, "complex128"),
        (np.zeros((3, 3, 3)), np.eye(4) + np.diag([0.3, 0, 0], 1), {}, "right angles"),
        (np.zeros((3, 3, 3)), np.eye(4), {"plane": "frontal"}, "plane is 'frontal'"),
        (np.zeros((3, 3, 3)), np.eye(4), {"side": "both"}, "side of the knee"),
        (np.zeros((3, 3, 3)), np.eye(4), {"value_range": (1.0, 1.0)}, "value range"),
        (np.array([[[0.0, 1e308], [-1e308, 1e308]]]), np.eye(4), {}, "too far apart"),
    ],
)
def test_what_dicom_cannot_hold_is_refused(tmp_path, array, affine, flags, said):
    with pytest.raises(InputError, match=said):
        write_series(tmp_path / "s", Volume(array, affine), **flags)
    assert not list(tmp_path.iterdir())


def test_a_folder_is_never_mixed_nor_half_written(tmp_path, monkeypatch):
    volume = made(np.uint16)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("x")
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="not empty"):
        write_series(tmp_path / "full", volume)
    with pytest.raises(InputError, match="is a file"):
        write_series(tmp_path / "file", volume)
    (tmp_path / "empty").mkdir()
    assert len(write_series(tmp_path / "empty", volume)) == 5
    assert (tmp_path / "empty").stat().st_mode & 0o777 == (tmp_path / "full").stat().st_mode & 0o777
    before = sorted(tmp_path.rglob("*"))

    def fail(path, dataset, **_):
        if dataset.InstanceNumber == 3:
            raise OSError("no space left")
        path.write_bytes(b"x")

    monkeypatch.setattr(pydicom, "dcmwrite", fail)
    with pytest.raises(OSError, match="no space"):
        write_series(tmp_path / "broken", volume)
    assert sorted(tmp_path.rglob("*")) == before


def test_atomic_folder_refuses_what_appeared_meanwhile(tmp_path):
    with pytest.raises(OSError), files.atomic_folder(tmp_path / "a") as partial:
        (partial / "new").write_text("")
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "old").write_text("")
    assert [p.name for p in tmp_path.rglob("*")] == ["a", "old"]


def test_the_validator_finds_no_error(tmp_path, dicom_errors):
    label = SeriesLabel(synthetic=True)
    volume = made(np.float32, shape=(9, 8, 3))
    anonymous = write_series(tmp_path / "a", volume, side="left", label=label, plane="sagittal")
    assert dicom_errors(anonymous) == []
    source = radiograph_header()
    kept = write_series(tmp_path / "k", volume, side="right", source=source, keep_identity=True)
    assert dicom_errors(kept) == []
    unknown = write_series(tmp_path / "u", made(np.int16, shape=(9, 8, 3)))
    assert dicom_errors(unknown) == []
    header = pydicom.dcmread(kept[0])
    del header.Modality
    header.save_as(kept[0])
    assert dicom_errors(kept), "the validator must be able to find an error"


def test_the_real_series_is_written_back(real_data, tmp_path):
    source = real_data / "knee_dess_dicom"
    volume = io.read_volume(source)
    write_series(tmp_path / "dicom", volume)
    read = io.read_volume(tmp_path / "dicom")
    np.testing.assert_array_equal(read.array, volume.array)
    assert read.array.dtype == volume.array.dtype
    require_same_geometry(volume, read, 1e-3)
    io.write_nifti(tmp_path / "volume.nii", volume)
    nifti = io.read_volume(tmp_path / "volume.nii")
    np.testing.assert_array_equal(nifti.array, volume.array)
    require_same_geometry(volume, nifti, 1e-3)
    # Every slice lies where the source's own headers say, whatever our reader makes of them.
    pairs = zip(
        by_position((tmp_path / "dicom").iterdir()), by_position(source.glob("*.dcm")), strict=True
    )
    for ours, theirs in pairs:
        for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
            np.testing.assert_allclose(ours[keyword].value, theirs[keyword].value, atol=1e-3)
        np.testing.assert_array_equal(ours.pixel_array, theirs.pixel_array)


def by_position(paths):
    """The datasets of sagittal slices from the patient's right to the left."""
    return sorted(map(pydicom.dcmread, paths), key=lambda d: float(d.ImagePositionPatient[0]))


def test_the_real_series_standardised_and_written_back(real_data, tmp_path):
    volume = io.read_volume(real_data / "knee_dess_dicom")
    from xr2mri_jax.geometry import from_canonical
    from xr2mri_jax.preprocess.volume import source_values, standardise_volume

    centre = volume.world((np.array(volume.shape) - 1) / 2)
    standard = standardise_volume(volume, "right", centre, (32, 64, 64))
    values = source_values(standard.record, standard.array)
    back = from_canonical(values, "right", centre)
    write_series(tmp_path / "dicom", back, side="right", plane="sagittal")
    io.write_nifti(tmp_path / "back.nii", back)
    low, high = float(values.min()), float(values.max())
    same(back, io.read_volume(tmp_path / "dicom"), step=(high - low) / 65535 + 1e-3)
    same(back, io.read_volume(tmp_path / "back.nii"))
