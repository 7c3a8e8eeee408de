"""Tests of the files of a prediction."""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from xr2mri_jax import files
from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import Radiograph
from xr2mri_jax.inference import export, shapes
from xr2mri_jax.inference.export import OutputFiles, write_prediction
from xr2mri_jax.inference.predictor import Predictor


@pytest.fixture
def prediction(fake_model, knee_pixels):
    return Predictor(fake_model)(Radiograph(knee_pixels, (1.0, 1.0), "left"))


def test_names_beside_the_volume(tmp_path):
    for suffix in (".nii", ".nii.gz"):
        files = OutputFiles.beside(tmp_path / f"a.b{suffix}", tmp_path / "x.png")
        assert [f.name for f in files[:3]] == [f"a.b{suffix}", "a.b.json", "a.b.png"]
        assert files.dicom is None


@pytest.mark.parametrize(
    ("output", "labels"),
    [
        ("a.nii.gz", "a.nii.gz"),
        ("a.nii.gz", "a_uncertainty.nii.gz"),
        ("a_confidence.nii.gz", "a.nii.gz"),
        ("b_confidence.nii", "b.nii"),
        ("link/a.nii.gz", "a_uncertainty.nii.gz"),
    ],
)
def test_no_file_of_a_prediction_overwrites_another(tmp_path, output, labels):
    (tmp_path / "link").symlink_to(tmp_path)
    files = OutputFiles.beside(tmp_path / output, tmp_path / "x.png")
    with pytest.raises(InputError, match=r"--labels: .* is already another file"):
        files.with_shapes(tmp_path / labels, None, tmp_path / "x.png")


@pytest.mark.parametrize("xray", ["a_uncertainty.nii.gz", "a.nii.gz", "a.png"])
def test_no_file_of_a_prediction_overwrites_the_radiograph(tmp_path, xray):
    (tmp_path / xray).touch()
    with pytest.raises(InputError, match="would overwrite the radiograph"):
        OutputFiles.beside(tmp_path / "a.nii.gz", tmp_path / xray)


@pytest.mark.parametrize("name", ["out.mha", "out", ".nii.gz", "out.gz", "out.NII"])
def test_other_endings_are_refused(tmp_path, name):
    with pytest.raises(InputError, match=r"ending in \.nii\.gz or \.nii"):
        OutputFiles.beside(tmp_path / name, tmp_path / "x.png")


def test_the_radiograph_is_never_overwritten(tmp_path, knee_png):
    with pytest.raises(InputError, match="would overwrite the radiograph"):
        OutputFiles.beside(knee_png.with_name("knee.nii.gz"), knee_png)
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(InputError, match="would overwrite the radiograph"):
        OutputFiles.beside(tmp_path / "link" / "knee.nii.gz", knee_png)


def test_folders_in_the_way_are_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written to"):
        OutputFiles.beside(tmp_path / "file" / "o.nii.gz", "x.png")
    (tmp_path / "o.png").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        OutputFiles.beside(tmp_path / "o.nii.gz", "x.png")


def test_a_folder_without_permission_is_refused(tmp_path, monkeypatch):
    def deny(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(files.tempfile, "TemporaryFile", deny)
    with pytest.raises(InputError, match="Permission denied"):
        OutputFiles.beside(tmp_path / "o.nii.gz", "x.png")


def test_record_and_picture_are_written(tmp_path, prediction):
    files = OutputFiles.beside(tmp_path / "o.nii.gz", "x.png")
    write_prediction(files, prediction)
    record = json.loads(files.record.read_text())
    assert record == prediction.record
    made = {"stage": "generator", "step": 7, "dtype_trained": "unknown"}
    assert record["model"] == {"workdir": "the shipped model", **made}
    assert record["radiograph"]["side"] == "left"
    assert record["volume"]["mirrored_back"] is True
    assert "not for diagnosis" in record["statement"]
    with Image.open(files.picture) as picture:
        pixels = np.asarray(picture.convert("L"))
    assert pixels.shape[0] > 800 and pixels.shape[1] > 1200
    assert pixels.std() > 20


def test_meshes_of_an_earlier_knee_do_not_stay(tmp_path, prediction, monkeypatch):
    mesh = shapes.Mesh(np.eye(3), np.array([[0, 1, 2]]))
    prediction = dataclasses.replace(prediction, distances=np.ones((9, 8, 8, 8), np.float32))
    meshes = tmp_path / "meshes"
    places = OutputFiles(tmp_path / "a.nii.gz", tmp_path / "a.json", meshes=meshes)
    for names in (("femur", "patella"), ("femur",)):
        monkeypatch.setattr(shapes, "meshes", lambda *_, names=names: dict.fromkeys(names, mesh))
        write_prediction(places, prediction)
        (meshes / "own.stl").touch()
    assert {path.name for path in meshes.iterdir()} == {"femur.stl", "own.stl"}


def test_a_failure_leaves_nothing(tmp_path, prediction, monkeypatch):
    def fail(*_):
        raise RuntimeError("no space")

    monkeypatch.setattr(export, "_write_picture", fail)
    files = OutputFiles.beside(tmp_path / "o.nii.gz", "x.png")
    with pytest.raises(RuntimeError):
        write_prediction(files, prediction)
    assert list(tmp_path.iterdir()) == []
