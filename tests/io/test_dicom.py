"""Tests of DICOM radiographs, on made files and on two real ones."""

import numpy as np
import pydicom
import pytest
from made_dicom import PIXELS, look_up_table, made
from pydicom import uid
from pydicom.dataset import Dataset

from xr2mri_jax import io
from xr2mri_jax.errors import InputError
from xr2mri_jax.io import dicom_tags, formats


def read(path, **tags):
    return io.read_radiograph(made(path, **tags)).array


def test_plain_values_and_what_is_absent(tmp_path):
    radiograph = io.read_radiograph(made(tmp_path / "001"))
    np.testing.assert_array_equal(radiograph.array, PIXELS)
    assert radiograph.array.dtype == np.float32
    assert radiograph.spacing is None
    assert radiograph.side is None


def test_monochrome1_is_inverted_within_the_stored_range(tmp_path):
    found = read(tmp_path / "x", PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(found, 4095.0 - PIXELS)
    signed = np.array([[-2048, -1], [0, 2047]], np.int16)
    found = read(tmp_path / "y", pixels=signed, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(found, -1.0 - signed)


def test_rescale_comes_before_the_inversion(tmp_path):
    slope = {"RescaleSlope": 2, "RescaleIntercept": -100}
    np.testing.assert_array_equal(read(tmp_path / "x", **slope), PIXELS * 2.0 - 100)
    found = read(tmp_path / "y", PhotometricInterpretation="MONOCHROME1", **slope)
    np.testing.assert_array_equal(found, (4095.0 - PIXELS) * 2 - 100)


def test_linear_window_by_hand(tmp_path):
    """PS3.3 C.11.2.1.2.1 with center 100.5, width 201: 0 at and below 0, full at and above 200."""
    window = {"WindowCenter": 100.5, "WindowWidth": 201}
    expected = np.clip(PIXELS / 200.0, 0, 1) * 4095
    np.testing.assert_allclose(read(tmp_path / "x", **window), expected, rtol=1e-5)
    found = read(tmp_path / "y", PhotometricInterpretation="MONOCHROME1", **window)
    np.testing.assert_allclose(found, 4095 - expected, rtol=1e-5, atol=1e-3)
    exact = read(tmp_path / "z", WindowCenter=100, WindowWidth=200, VOILUTFunction="LINEAR_EXACT")
    np.testing.assert_allclose(exact, expected, rtol=1e-5)


def test_a_negative_slope_and_a_window_keep_the_order_of_values(tmp_path):
    """Rescaled values -x in a window around -100: more stored is darker."""
    slope = {"RescaleSlope": -1, "RescaleIntercept": 0}
    found = read(tmp_path / "x", WindowCenter=-99.5, WindowWidth=201, **slope)
    expected = np.clip((200.0 - PIXELS) / 200, 0, 1) * 4095 - 4095
    np.testing.assert_allclose(found, expected, atol=1e-2)


def test_sigmoid_window(tmp_path):
    found = read(tmp_path / "x", WindowCenter=100, WindowWidth=50, VOILUTFunction="SIGMOID")
    argument = np.minimum(-4 * (PIXELS - 100.0) / 50, 80)
    np.testing.assert_allclose(found, 4095 / (1 + np.exp(argument)), rtol=1e-4)
    odd = made(tmp_path / "y", WindowCenter=100, WindowWidth=50, VOILUTFunction="CUBIC")
    radiograph = io.read_radiograph(odd)
    np.testing.assert_array_equal(radiograph.array, PIXELS)
    (doubt,) = radiograph.doubts
    assert (
        doubt.startswith("VOILUTFunction (0028,1056) is not a known term") and "CUBIC" not in doubt
    )


def test_first_of_several_windows(tmp_path):
    found = read(tmp_path / "x", WindowCenter=[100.5, 7], WindowWidth=[201, 9])
    np.testing.assert_allclose(found, np.clip(PIXELS / 200.0, 0, 1) * 4095, rtol=1e-5)


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({"WindowCenter": 100, "WindowWidth": 0}, "WindowWidth (0028,1051) is 0, expected more"),
        ({"WindowCenter": 100, "WindowWidth": 1}, "WindowWidth (0028,1051) is 1, expected more"),
        (
            {"WindowCenter": 100, "WindowWidth": 0, "VOILUTFunction": "SIGMOID"},
            "WindowWidth (0028,1051) is 0, expected more than 0",
        ),
        (
            {"WindowCenter": 100000, "WindowWidth": 10},
            "the window of WindowCenter (0028,1050) and WindowWidth (0028,1051) hides the whole",
        ),
        # All that it shows is the background.
        ({"WindowCenter": 4, "WindowWidth": 3, "PixelPaddingValue": 0}, "hides the whole image"),
    ],
)
def test_a_useless_window_is_ignored_with_a_doubt(tmp_path, tags, said):
    without = io.read_radiograph(
        made(tmp_path / "x", **{key: tags[key] for key in tags if key.startswith("Pixel")})
    )
    found = io.read_radiograph(made(tmp_path / "y", **tags))
    np.testing.assert_array_equal(found.array, without.array)
    (doubt,) = (one for one in found.doubts if one not in without.doubts)
    assert said in doubt and doubt.endswith(": ignored")


def test_the_window_after_a_useless_one_is_taken(tmp_path):
    tags = {"WindowCenter": [100000, 100, 100.5], "WindowWidth": [10, 0, 201]}
    found = io.read_radiograph(made(tmp_path / "x", **tags))
    np.testing.assert_allclose(found.array, np.clip(PIXELS / 200.0, 0, 1) * 4095, rtol=1e-5)
    assert len(found.doubts) == 2


def test_a_constant_image_has_no_hidden_window(tmp_path):
    pixels = np.full((4, 4), 7, np.uint16)
    found = io.read_radiograph(made(tmp_path / "x", pixels, WindowCenter=900, WindowWidth=10))
    assert not any("window" in doubt for doubt in found.doubts)


def test_look_up_tables_by_hand(tmp_path):
    table = look_up_table(10, [5, 6, 7, 50], bits=8)
    found = read(tmp_path / "x", VOILUTSequence=table, WindowCenter=100, WindowWidth=50)
    np.testing.assert_array_equal(found, [[5, 5, 50], [50, 50, 50]])
    found = read(tmp_path / "y", VOILUTSequence=table, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(found, 255 - np.array([[5, 5, 50], [50, 50, 50]]))
    table = look_up_table(0, list(range(4096))[::-1], bits=12)
    found = read(tmp_path / "z", ModalityLUTSequence=table)
    np.testing.assert_array_equal(found, 4095.0 - PIXELS)


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"ImageLaterality": "L", "Laterality": "R"}, "left"),
        ({"ImageLaterality": "", "Laterality": "R"}, "right"),
        ({"ImageLaterality": "B"}, None),
        ({"Laterality": ""}, None),
    ],
)
def test_side(tmp_path, tags, expected):
    path = made(tmp_path / "x", **tags)
    assert io.read_radiograph(path).side == expected
    assert io.read_radiograph(path, side="left").side == "left"


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian])
@pytest.mark.parametrize("preamble", [True, False])
def test_transfer_syntaxes_with_and_without_preamble(tmp_path, syntax, preamble):
    path = made(tmp_path / "x", syntax=syntax, preamble=preamble)
    assert (path.read_bytes()[128:132] == b"DICM") == preamble
    np.testing.assert_array_equal(io.read_radiograph(path).array, PIXELS)


def test_jpeg_2000_and_rle_lossless(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 4096, (64, 48), np.uint16)
    for name, syntax in (("j", uid.JPEG2000Lossless), ("r", uid.RLELossless)):
        np.testing.assert_array_equal(read(tmp_path / name, pixels=pixels, compress=syntax), pixels)


def test_colour_that_is_grey(tmp_path):
    grey = np.array([[1, 2], [30, 255]], np.uint8)
    colours = np.ascontiguousarray(np.stack([grey] * 3, axis=-1))
    np.testing.assert_array_equal(read(tmp_path / "x", pixels=colours, PlanarConfiguration=0), grey)
    colours[0, 0, 0] = 99
    with pytest.raises(InputError, match="DICOM image is coloured"):
        read(tmp_path / "y", pixels=colours, PlanarConfiguration=0)


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({"Modality": "MR"}, r"wrong modality, Modality \(0008,0060\) is MR"),
        ({"Modality": "CT"}, "wrong modality"),
        ({"NumberOfFrames": 2, "PixelData": PIXELS.tobytes() * 2}, "2 frames, expected one"),
        ({"Rows": None}, r"Rows \(0028,0010\) is absent"),
        ({"Rows": 30000, "Columns": 30000}, "more than"),
        ({"PixelData": None}, r"PixelData \(7FE0,0010\) is absent"),
        ({"PixelData": PIXELS.tobytes()[:6]}, "has 6 bytes: expected 12 for 2 x 3 pixels"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "look-up tables are absent or broken"),
        ({"RescaleSlope": 0, "RescaleIntercept": 0}, r"RescaleSlope \(0028,1053\) is 0"),
        ({"BitsStored": None}, r"BitsStored \(0028,0101\) is absent: expected 1..16"),
    ],
)
def test_files_that_are_refused(tmp_path, tags, said):
    path = made(tmp_path / "odd", **tags)
    with pytest.raises(InputError, match=said) as caught:
        io.read_radiograph(path)
    assert "odd" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_radiograph_is_no_volume(tmp_path):
    with pytest.raises(InputError, match="DX, expected MR"):
        io.read_volume(made(tmp_path / "x"))


def test_truncated_file(tmp_path):
    path = made(tmp_path / "cut", pixels=np.zeros((64, 64), np.uint16))
    path.write_bytes(path.read_bytes()[:-900])
    with pytest.raises(InputError, match="cut"):
        io.read_radiograph(path)


def test_odd_headers_of_real_files_raise_no_warning(tmp_path):
    with pydicom.config.disable_value_validation():
        path = made(tmp_path / "x", PatientID="x" * 99)
    np.testing.assert_array_equal(io.read_radiograph(path).array, PIXELS)


def test_random_bytes_after_the_magic_never_escape(tmp_path):
    rng = np.random.default_rng(0)
    good = made(tmp_path / "good").read_bytes()
    for k in range(60):
        broken = bytearray(good)
        for place in rng.integers(132, len(good), 12):
            broken[place] = rng.integers(256)
        path = tmp_path / f"broken{k}"
        path.write_bytes(broken)
        try:
            assert io.read_radiograph(path).array.dtype == np.float32
        except InputError as error:
            assert str(path) in str(error)


def test_numbers_are_checked(tmp_path):
    dataset = Dataset()
    assert dicom_tags.numbers(dataset, "PixelSpacing") == ()
    dataset.PixelSpacing = [1, 2]
    assert dicom_tags.numbers(dataset, "PixelSpacing") == (1.0, 2.0)
    dataset.WindowCenter = float("inf")
    with pytest.raises(InputError, match=r"WindowCenter \(0028,1050\)"):
        dicom_tags.numbers(dataset, "WindowCenter")
    assert formats.sniff(made(tmp_path / "x")) == "dicom"


def test_real_files(real_data):
    lossy = io.read_radiograph(real_data / "dicom_xray" / "RG1_J2KI.dcm")
    assert lossy.shape == (1955, 1841)
    assert lossy.spacing is None  # PixelSpacing is 0\0
    lossless = io.read_radiograph(real_data / "dicom_xray" / "RG3_J2KR.dcm", spacing=0.2)
    assert lossless.shape == (1760, 1760)
    assert lossless.spacing == (0.2, 0.2)
    assert lossless.side == "right"
    dataset = pydicom.dcmread(real_data / "dicom_xray" / "RG3_J2KR.dcm")
    assert dataset.PhotometricInterpretation == "MONOCHROME1"
    stored = dataset.pixel_array.astype(np.float64)
    # Its window, 1024 wide around 550, in 10 bits: from 38 to 1061.
    windowed = np.clip((stored - 549.5) / 1023 + 0.5, 0, 1) * 1023
    # PatientOrientation is R\F: it is displayed the other way round.
    np.testing.assert_allclose(lossless.array, 1023 - windowed[:, ::-1], atol=0.01)
    assert lossless.doubts == ()
    assert lossy.doubts == ("BodyPartExamined (0018,0015) is CHEST, expected KNEE",)


def test_a_real_mri_slice_is_no_radiograph(real_data):
    path = sorted((real_data / "knee_dess_dicom").iterdir())[0]
    with pytest.raises(InputError, match="wrong modality"):
        io.read_radiograph(path)
