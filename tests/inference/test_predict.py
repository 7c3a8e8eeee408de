"""Tests of predicting one volume from one radiograph."""

import nibabel
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import BOX_MM, Radiograph
from xr2mri_jax.inference import predict, predictor


def forced(*arguments):
    """Of made pixels, in which no knee is seen: the middle."""
    return predict.predict_file(*arguments, force=True)


@pytest.fixture
def loaded(monkeypatch, fake_model):
    monkeypatch.setattr(predictor, "load_generator", lambda model: (fake_model, None))
    return fake_model


def centre_of(array, chosen):
    return np.argwhere(chosen(array)).mean(axis=0)


def world(image, index):
    return (image.affine @ np.append(index, 1.0))[:3]


def write_dicom(path, pixels, side="R", photometric="MONOCHROME2", spacing=1.0):
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = generate_uid()
    data = pydicom.Dataset()
    data.file_meta = meta
    data.SOPClassUID = meta.MediaStorageSOPClassUID
    data.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    data.Modality = "DX"
    data.ImageLaterality = side
    data.Rows, data.Columns = pixels.shape
    data.SamplesPerPixel = 1
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit = 15
    data.PixelRepresentation = 0
    data.PhotometricInterpretation = photometric
    data.ImagerPixelSpacing = [spacing, spacing]
    data.PixelData = pixels.tobytes()
    data.save_as(path, enforce_file_format=True)
    return path


@pytest.mark.parametrize("side", ["right", "left"])
def test_the_marker_lands_on_the_lateral_anterior_superior_side(fake_model, knee_pixels, side):
    pixels = knee_pixels if side == "right" else knee_pixels[:, ::-1]
    found = predictor.Predictor(fake_model)(Radiograph(pixels, (1.0, 1.0), side))
    assert found.volume.orientation == ("R", "A", "S")
    x, y, z = found.volume.world(centre_of(found.volume.array, lambda a: a == 1.0))
    # RAS: the right knee's lateral side is the patient's right, +x; the left knee's is -x.
    assert x == pytest.approx(32 if side == "right" else -32)
    assert y == pytest.approx(32)
    assert z == pytest.approx(32)


@pytest.mark.parametrize("side", ["right", "left"])
def test_the_volume_lies_where_the_radiograph_shows_it(fake_model, knee_pixels, side):
    pixels = knee_pixels if side == "right" else knee_pixels[:, ::-1]
    found = predictor.Predictor(fake_model)(Radiograph(pixels, (1.0, 1.0), side))
    below = found.volume.array.copy()
    below[:, :, 16:] = 0  # the marker's half
    x, _, z = found.volume.world(centre_of(below, lambda a: a > 0.48))
    # The fibula: columns 12..23 and rows 80..127 of the right knee, in mm from the middle.
    fibula = 63.5 - 17.5
    assert x == pytest.approx(fibula if side == "right" else -fibula, abs=1.5)
    assert z == pytest.approx(63.5 - 103.5, abs=2.5)


@pytest.mark.parametrize("side", ["right", "left"])
def test_the_box_is_canonical_and_centred_on_the_joint(fake_model, knee_pixels, side):
    found = predictor.Predictor(fake_model)(Radiograph(knee_pixels, (1.0, 1.0), side))
    assert found.volume.array.dtype == np.float32
    assert 0 <= found.volume.array.min() < found.volume.array.max() <= 1
    corners = np.array([[-0.5] * 3, [n - 0.5 for n in found.volume.shape]])
    np.testing.assert_allclose(
        found.volume.world(corners), [[-64, -64, -64], [64, 64, 64]], atol=1e-9
    )
    assert BOX_MM == (128.0, 128.0, 128.0)


def test_jitted_and_not_give_the_same(fake_model, knee_pixels):
    found = predictor.Predictor(fake_model)(Radiograph(knee_pixels, (1.0, 1.0), "right"))
    plain = fake_model.stage.predict(fake_model.params, {}, found.seen.image[None])
    np.testing.assert_allclose(found.canonical, np.clip(plain[0, ..., 0], 0, 1), atol=0.6 / 4096)


def test_batches_of_another_size_are_refused(fake_model):
    made = predictor.Predictor(fake_model)
    assert made.canonical(np.zeros((3, 32, 32, 1), np.float32)).shape == (3, 8, 32, 32, 1)
    with pytest.raises(InputError, match=r"expected \(b, 32, 32, 1\)"):
        made.canonical(np.zeros((1, 16, 32, 1), np.float32))


def test_a_stage_without_volumes_is_refused(fake_model):
    fake_model.stage = type("Cae", (), {"name": "cae"})()
    with pytest.raises(InputError, match="'cae', which predicts no volume"):
        predictor.Predictor(fake_model)


def test_values_that_are_not_finite_stop(fake_model, knee_pixels):
    fake_model.params = {"scale": np.float32(np.nan)}
    with pytest.raises(FloatingPointError):
        predictor.Predictor(fake_model)(Radiograph(knee_pixels, (1.0, 1.0), "right"))


def test_png_dicom_and_nifti_give_the_same_volume(loaded, tmp_path, knee_pixels, knee_png):
    dicom = write_dicom(tmp_path / "knee", knee_pixels)
    inverted = write_dicom(tmp_path / "inverted", 65535 - knee_pixels, photometric="MONOCHROME1")
    plane = nibabel.Nifti1Image(knee_pixels[..., None], np.diag([1.0, 1.0, 1.0, 1.0]))
    nifti = tmp_path / "plane.nii.gz"
    nibabel.save(plane, nifti)
    expected = forced("m", knee_png, tmp_path / "a.nii.gz", "right", 1.0)
    for path, flags in ((dicom, ()), (inverted, ()), (nifti, ("right",))):
        found = forced("m", path, tmp_path / "b.nii", *flags)
        assert found.seen.record["spacing_mm"] == [1.0, 1.0]
        if path != nifti:  # how NIfTI axes are displayed is tested where NIfTI is read
            np.testing.assert_allclose(found.canonical, expected.canonical, atol=1e-5)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("suffix", [".nii.gz", ".nii"])
def test_the_written_nifti_has_the_box_and_the_side(loaded, tmp_path, knee_png, side, suffix):
    output = tmp_path / "out" / f"volume{suffix}"
    forced("models/g", knee_png, output, side, 1.0)
    image = nibabel.load(output)
    assert nibabel.aff2axcodes(image.affine) == ("R", "A", "S")
    np.testing.assert_allclose(np.multiply(image.shape, image.header.get_zooms()), BOX_MM)
    np.testing.assert_allclose(image.get_qform(), image.get_sform(), atol=1e-5)
    assert image.header["qform_code"] > 0 and image.header["sform_code"] > 0
    assert image.get_data_dtype() == np.float32
    marker = centre_of(image.get_fdata(), lambda a: a == 1.0)
    np.testing.assert_allclose(
        world(image, marker), (32 if side == "right" else -32, 32, 32), atol=1e-4
    )
    assert sorted(p.name for p in output.parent.iterdir()) == sorted(
        [f"volume{suffix}", "volume.json", "volume.png"]
    )


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((None, 1.0), r"knee.png: .*--side"),
        (("right", None), r"knee.png: .*--spacing"),
        (("right", -1.0), "spacing"),
        (("right", 0.001), "covers 0%.*are spacing and centre right"),
        (("right", 1.0, (500, 3)), "--centre"),
    ],
)
def test_flags_that_do_not_fit_are_refused(loaded, tmp_path, knee_png, flags, message):
    refused(message, tmp_path, knee_png, *flags)


def refused(message, tmp_path, xray, *flags):
    """Expects one line that matches, and nothing written."""
    folder = tmp_path / "out"
    with pytest.raises(InputError, match=message) as caught:
        forced("m", xray, folder / "o.nii.gz", *flags)
    assert "\n" not in str(caught.value)
    assert not folder.exists()


def test_a_side_against_the_dicom_tag_is_refused(loaded, tmp_path, knee_pixels):
    dicom = write_dicom(tmp_path / "knee", knee_pixels, side="L")
    with pytest.raises(InputError, match="knee: the file says left knee, found --side=right"):
        predict.predict_file("m", dicom, tmp_path / "o.nii", "right")
    assert list(tmp_path.iterdir()) == [dicom]
    assert forced("m", dicom, tmp_path / "o.nii").seen.side == "left"
    assert forced("m", dicom, tmp_path / "o.nii", "left").seen.side == "left"
    against = forced("m", dicom, tmp_path / "o.nii", "right")
    assert against.seen.side == "right"
    assert "the file says left knee, taken as right" in against.record["warnings"][1]


def test_the_file_name_tells_the_side_where_nothing_else_does(loaded, tmp_path, knee_pixels):
    path = tmp_path / "9001695L.png"
    Image.fromarray(knee_pixels).save(path)
    assert forced("m", path, tmp_path / "o.nii", None, 1.0).seen.side == "left"
    (warning,) = forced("m", path, tmp_path / "o.nii", "left", 1.0).record["warnings"]
    assert "no knee was found" in warning
    found = forced("m", path, tmp_path / "o.nii", "right", 1.0)
    assert found.volume.orientation == ("R", "A", "S")
    assert any(
        "may mean the left knee, taken as right" in text for text in found.record["warnings"]
    )


def test_files_that_are_no_radiograph_are_refused(loaded, tmp_path, knee_pixels):
    text = tmp_path / "notes.png"
    text.write_text("not an image")
    broken = tmp_path / "broken.png"
    Image.fromarray(knee_pixels).save(broken)
    broken.write_bytes(broken.read_bytes()[:400])
    volume = tmp_path / "volume.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.ones((8, 64, 64), np.float32), np.eye(4)), volume)
    mri = write_dicom(tmp_path / "mri", knee_pixels)
    data = pydicom.dcmread(mri)
    data.Modality = "MR"
    data.save_as(mri)
    blank = tmp_path / "blank.png"
    Image.fromarray(np.full((64, 64), 9, np.uint8)).save(blank)
    for path in (text, broken, volume, mri, blank, tmp_path / "absent.png", tmp_path):
        refused(str(path), tmp_path, path, "right", 1.0)


@pytest.mark.parametrize(("letter", "side"), [("L", "left"), ("R", "right")])
def test_a_real_radiograph_lies_as_its_file_shows_it(loaded, real_data, tmp_path, letter, side):
    path = sorted((real_data / "knee_xray_kl" / "val" / "2").glob(f"*{letter}.png"))[0]
    predict.predict_file("m", path, tmp_path / "o.nii.gz", side, 128 / 224, (111.5, 111.5))
    image = nibabel.load(tmp_path / "o.nii.gz")
    np.testing.assert_allclose(np.multiply(image.shape, image.header.get_zooms()), BOX_MM)
    # The fake's rear half is the radiograph; displayed from superior down and from right to left.
    shown = image.get_fdata()[::-1, 0, ::-1].T
    with Image.open(path) as source:
        small = np.asarray(source.resize((32, 32), Image.Resampling.BOX), np.float64)
    straight, mirrored = (
        np.corrcoef(shown.ravel(), s.ravel())[0, 1] for s in (small, small[:, ::-1])
    )
    assert straight > 0.98 > mirrored
