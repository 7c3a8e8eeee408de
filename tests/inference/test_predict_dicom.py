"""Tests of the DICOM series beside a prediction."""

import json

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

from xr2mri_jax import io
from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import reorient_ras, require_same_geometry
from xr2mri_jax.inference import predict, predictor


@pytest.fixture
def loaded(monkeypatch, fake_model):
    monkeypatch.setattr(predictor, "load_generator", lambda model: (fake_model, None))
    return fake_model


@pytest.fixture
def knee_dicom(tmp_path, knee_pixels):
    data = pydicom.Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID = DigitalXRayImageStorageForPresentation
    data.SOPInstanceUID, data.StudyInstanceUID = generate_uid(), generate_uid()
    data.PatientName, data.PatientID = "Doe^Jane", "P-4711"
    data.PatientBirthDate, data.PatientSex = "19600102", "F"
    data.StudyDate, data.StudyTime, data.StudyID = "20200102", "101112", "7"
    data.Modality, data.ImageLaterality = "DX", "L"
    data.Rows, data.Columns = knee_pixels.shape
    data.SamplesPerPixel, data.PixelRepresentation = 1, 0
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit = 15
    data.PhotometricInterpretation = "MONOCHROME2"
    data.ImagerPixelSpacing = [1.0, 1.0]
    data.PixelData = knee_pixels.tobytes()
    path = tmp_path / "knee.dcm"
    data.save_as(path, enforce_file_format=True)
    return path


@pytest.mark.parametrize("side", ["left", "right"])
def test_nifti_and_dicom_are_the_same_volume(loaded, knee_png, tmp_path, side, dicom_errors):
    folder = tmp_path / "new" / "series"
    predict.predict_file(
        "m", knee_png, tmp_path / "o.nii.gz", side, 1.0, dicom_dir=folder, force=True
    )
    nifti = io.read_volume(tmp_path / "o.nii.gz")
    series = io.read_volume(folder)
    assert "".join(series.orientation) == "PIR"  # sagittal slices, as knees are read
    series = reorient_ras(series)
    require_same_geometry(nifti, series, 1e-3)
    assert np.abs(nifti.array - series.array).max() <= 0.5001 / 65535
    paths = sorted(folder.iterdir())
    header = pydicom.dcmread(paths[0])
    assert header.Laterality == side[0].upper()
    assert header.ImageType[:2] == ["DERIVED", "SECONDARY"]
    assert header.BurnedInAnnotation == "NO"
    said = (header.SeriesDescription, header.DerivationDescription, header.ImageComments)
    assert "SYNTHETIC" in said[0] and "NOT FOR DIAGNOSIS" in said[0]
    assert "radiograph" in said[1] and "not for diagnosis" in said[2]
    record = json.loads((tmp_path / "o.json").read_text())
    assert record["dicom"] == {"folder": str(folder), "keep_identity": False}
    assert dicom_errors(paths[:3]) == []


def test_identity_only_where_it_is_asked_for(loaded, knee_dicom, tmp_path):
    source = pydicom.dcmread(knee_dicom)
    for keep in (False, True):
        folder = tmp_path / f"series{keep}"
        predict.predict_file(
            "m",
            knee_dicom,
            tmp_path / f"{keep}.nii",
            dicom_dir=folder,
            keep_identity=keep,
            force=True,
        )
        header = pydicom.dcmread(min(folder.iterdir()))
        assert (header.StudyInstanceUID == source.StudyInstanceUID) is keep
        assert (header.PatientName == "Doe^Jane") is keep
        assert (source.SOPInstanceUID in str(header)) is keep
        assert header.Laterality == "L"


def refused(said, *arguments, **flags):
    with pytest.raises(InputError, match=said):
        predict.predict_file("m", *arguments, "right", 1.0, force=True, **flags)


def test_what_cannot_be_written_is_refused_before_any_work(loaded, knee_png, tmp_path):
    output, folder, full = tmp_path / "o.nii.gz", tmp_path / "d", tmp_path / "full"
    full.mkdir()
    (full / "old.dcm").write_text("")
    refused("no --dicom_dir", knee_png, output, keep_identity=True)
    refused("not a DICOM file", knee_png, output, dicom_dir=folder, keep_identity=True)
    refused("not empty", knee_png, output, dicom_dir=full)
    refused(
        "--output: .* lies in .*, which --dicom_dir writes",
        knee_png,
        folder / "o.nii.gz",
        dicom_dir=folder,
    )
    assert sorted(tmp_path.iterdir()) == [full, knee_png]


def test_a_failure_leaves_neither_nifti_nor_dicom(loaded, knee_png, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("no space left")

    monkeypatch.setattr(predict.write_prediction.__globals__["dicom_write"], "_write_slice", fail)
    with pytest.raises(OSError, match="no space"):
        predict.predict_file(
            "m", knee_png, tmp_path / "o.nii", "left", 1.0, dicom_dir=tmp_path / "d", force=True
        )
    assert list(tmp_path.iterdir()) == [knee_png]
