"""Broken and odd tags of radiographs: ignored and said, or named; a patient is never shown."""

import numpy as np
import pytest
from made_dicom import PIXELS, made
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence

from xr2mri_jax import io
from xr2mri_jax.errors import InputError

# What may lie in any tag of a badly written file.
NAME, NUMBER = "MUELLER^HANNA", "19560214123"


def with_commas(path, *replaced, **tags):
    """Writes a file and puts commas where the decimal points of these texts are."""
    made(path, **tags)
    content = path.read_bytes()
    for text in replaced:
        assert content.count(text) == 1
        content = content.replace(text, text.replace(b".", b","))
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("tags", "text", "keyword"),
    [
        ({"ImagerPixelSpacing": [0.15, 0.15]}, rb"0.15\0.15", "ImagerPixelSpacing (0018,1164)"),
        ({"PixelSpacing": [0.2, 0.25]}, rb"0.2\0.25", "PixelSpacing (0028,0030)"),
        ({"WindowCenter": 2048.5, "WindowWidth": 4096}, b"2048.5", "WindowCenter (0028,1050)"),
        ({"WindowCenter": 2048, "WindowWidth": 4096.5}, b"4096.5", "WindowWidth (0028,1051)"),
        (
            {"ImagerPixelSpacing": [1, 1], "EstimatedRadiographicMagnificationFactor": 1.15},
            b"1.15",
            "EstimatedRadiographicMagnificationFactor (0018,1114)",
        ),
        ({"PatientWeight": 80.5, "DistanceSourceToDetector": 1000.5}, b"80.5", ""),
        ({"KVP": 63.5, "ExposureTime": 7}, b"63.5", ""),
    ],
)
def test_decimal_commas_in_tags_that_are_not_needed(tmp_path, tags, text, keyword):
    found = io.read_radiograph(with_commas(tmp_path / "x", text, **tags))
    np.testing.assert_array_equal(found.array, PIXELS)
    if keyword:
        (doubt,) = found.doubts
        assert doubt.startswith(f"{keyword} is ") and doubt.endswith(": ignored")
        assert "," in doubt
    else:
        assert found.doubts == ()
    assert io.read_radiograph(tmp_path / "x", spacing=0.3).spacing == (0.3, 0.3)


def test_a_compression_for_films_that_move_is_named(tmp_path):
    path = made(
        tmp_path / "x",
        syntax=uid.MPEG4HP41,
        PixelData=encapsulate([b"1234" * 10]),
    )
    with pytest.raises(InputError, match=r"TransferSyntaxUID \(0002,0010\) is MPEG-4 AVC/H.264"):
        io.read_radiograph(path)


@pytest.mark.parametrize(
    ("tags", "text", "said"),
    [
        (
            {"RescaleSlope": 1.5, "RescaleIntercept": 0},
            b"1.5",
            r"RescaleSlope \(0028,1053\) is 1,5",
        ),
        ({"RescaleSlope": 1, "RescaleIntercept": -7.25}, b"-7.25", "RescaleIntercept .* is -7,25"),
    ],
)
def test_a_needed_tag_is_named(tmp_path, tags, text, said):
    with pytest.raises(InputError, match=said):
        io.read_radiograph(with_commas(tmp_path / "x", text, **tags))


@pytest.mark.parametrize(
    ("tags", "spacing"),
    [
        ({"ImagerPixelSpacing": [0.3, 0.3]}, 0.3),
        ({"ImagerPixelSpacing": [0.3, 0.3], "EstimatedRadiographicMagnificationFactor": 1.2}, 0.25),
        ({"PixelSpacing": [0.3, 0.3], "EstimatedRadiographicMagnificationFactor": 1.2}, 0.3),
        (
            {
                "ImagerPixelSpacing": [0.3, 0.3],
                "PixelSpacing": [0.26, 0.26],
                "PixelSpacingCalibrationType": "FIDUCIAL",
                "EstimatedRadiographicMagnificationFactor": 1.2,
            },
            0.26,
        ),
        ({"ImagerPixelSpacing": [0.3, 0.3], "EstimatedRadiographicMagnificationFactor": 0}, 0.3),
    ],
)
def test_magnification(tmp_path, tags, spacing):
    found = io.read_radiograph(made(tmp_path / "x", **tags))
    assert found.spacing == pytest.approx((spacing, spacing))
    assert found.doubts == ()


@pytest.mark.parametrize("factor", [0.5, 12, 1000])
def test_an_impossible_magnification_is_passed_over(tmp_path, factor):
    tags = {"ImagerPixelSpacing": [0.3, 0.3], "EstimatedRadiographicMagnificationFactor": factor}
    found = io.read_radiograph(made(tmp_path / "x", **tags))
    assert found.spacing == (0.3, 0.3)
    assert "expected 1 to 2.5: ignored" in found.doubts[0]


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({"ViewPosition": "AP"}, None),
        ({"ViewPosition": "PA"}, None),
        ({"ViewPosition": "AP STANDING"}, None),
        ({"ViewPosition": "ROSENBERG"}, None),
        ({"ViewPosition": ""}, None),
        ({"ViewPosition": "LL"}, "is LL, expected AP or PA"),
        ({"ViewPosition": "LATERAL"}, "is LATERAL, expected"),
        ({"ViewPosition": "KNEE LAT"}, "is LAT, expected"),
        ({"ViewPosition": "SUNRISE"}, "is SUNRISE"),
        ({"ViewPosition": ("CS", NAME)}, "is not a known view"),
        ({"BodyPartExamined": "KNEE"}, None),
        ({"BodyPartExamined": "LEFT KNEE"}, None),
        ({"BodyPartExamined": "EXTREMITY"}, None),
        ({"BodyPartExamined": "HAND"}, "is HAND, expected KNEE"),
        ({"BodyPartExamined": "CHEST"}, "is CHEST"),
        ({"BodyPartExamined": "HIP"}, "is HIP"),
        ({"BodyPartExamined": ("CS", NAME)}, "is not a known body part"),
        ({"Laterality": "L", "SeriesDescription": "KNEE RIGHT AP"}, "says right, but Laterality"),
        ({"ImageLaterality": "R", "SeriesDescription": "Knie_LT_pa"}, "is R: the latter is taken"),
        ({"ImageLaterality": "R", "SeriesDescription": "r"}, None),
        ({"ImageLaterality": "R", "SeriesDescription": "KNEE R/L"}, None),
        ({"SeriesDescription": "LEFT KNEE"}, None),
        ({"Modality": ("CS", "DR")}, "not a known term, expected CR, DX"),
        ({"Modality": ("CS", "XR")}, "not a known term, expected CR, DX"),
        ({"Modality": ("CS", NAME)}, "not a known term, expected CR, DX"),
        ({"PresentationLUTShape": "IDENTITY"}, None),
        ({"PresentationLUTShape": "INVERSE"}, "is MONOCHROME2, but PresentationLUTShape"),
        ({"ImageLaterality": ("CS", NAME)}, "is not a known term, expected L or R"),
    ],
)
def test_what_the_header_says_against_a_frontal_knee(tmp_path, tags, said):
    found = io.read_radiograph(made(tmp_path / "x", **tags))
    np.testing.assert_array_equal(found.array, PIXELS)
    if said is None:
        assert found.doubts == ()
    else:
        (doubt,) = found.doubts
        assert said in doubt and NAME not in doubt


@pytest.mark.parametrize(
    ("keyword", "meaning", "doubted"),
    [
        ("ViewCodeSequence", "antero-posterior", False),
        ("ViewCodeSequence", "medio-lateral", True),
        ("AnatomicRegionSequence", "Knee joint", False),
        ("AnatomicRegionSequence", "Hand", True),
    ],
)
def test_codes_of_view_and_region(tmp_path, keyword, meaning, doubted):
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "1", "SCT", meaning
    found = io.read_radiograph(made(tmp_path / "x", **{keyword: Sequence([code])}))
    assert len(found.doubts) == doubted
    assert meaning not in "".join(found.doubts)


@pytest.mark.parametrize("value", [NAME, NUMBER])
@pytest.mark.parametrize(
    "keyword",
    [
        "Modality",
        "ImagerPixelSpacing",
        "PixelSpacing",
        "WindowCenter",
        "RescaleSlope",
        "RescaleIntercept",
        "PhotometricInterpretation",
        "ViewPosition",
        "BodyPartExamined",
        "ImageLaterality",
        "PatientOrientation",
        "ShutterShape",
        "VOILUTFunction",
        "NumberOfFrames",
        "PixelPaddingValue",
        "EstimatedRadiographicMagnificationFactor",
        "BitsStored",
        "Rows",
        "SamplesPerPixel",
        "VOILUTSequence",
        "ModalityLUTSequence",
    ],
)
def test_a_patient_in_a_wrong_tag_is_never_shown(tmp_path, keyword, value):
    path = tmp_path / "x"
    made(path, **{keyword: ("LO", value)}, WindowWidth=400)
    try:
        said = " ".join(io.read_radiograph(path).doubts)
    except InputError as error:
        said = str(error)
        assert "\n" not in said
    assert value not in said and "HANNA" not in said


def test_one_that_reads_has_the_patient_in_it(tmp_path):
    """The test above would see nothing if the value were not in the file."""
    path = made(tmp_path / "x", ViewPosition=("LO", NAME))
    assert NAME.encode() in path.read_bytes()


@pytest.mark.parametrize(
    ("image", "part"), [("R", "L"), ("L", "R"), ("LEFT", "R"), ("right", "Left")]
)
def test_of_two_sides_in_one_header_that_of_the_image_is_taken_and_both_are_said(
    tmp_path, image, part
):
    path = made(tmp_path / "x", ImageLaterality=("CS", image), Laterality=("CS", part))
    found = io.read_radiograph(path)
    assert found.side == ("left" if image.upper().startswith("L") else "right")
    (doubt,) = found.doubts
    assert f"Laterality (0020,0060) is {part[0].upper()}: the first is taken" in doubt
    assert io.read_radiograph(path, side="left").side == "left"


@pytest.mark.parametrize(("shape", "doubts"), [("INVERSE", 0), ("IDENTITY", 1)])
def test_monochrome1_of_a_presentation_shape(tmp_path, shape, doubts):
    path = made(tmp_path / "x", PhotometricInterpretation="MONOCHROME1", PresentationLUTShape=shape)
    found = io.read_radiograph(path)
    np.testing.assert_array_equal(found.array, 4095 - PIXELS.astype(np.float32))
    assert len(found.doubts) == doubts


@pytest.mark.parametrize(
    ("tags", "side"),
    [
        ({"Laterality": "RIGHT"}, "right"),
        ({"ImageLaterality": "Left"}, "left"),
        ({"ImageLaterality": "U", "Laterality": "R"}, "right"),
        ({"ImageLaterality": "UNPAIRED", "Laterality": "LEFT"}, "left"),
        ({"ImageLaterality": "BOTH", "Laterality": "R"}, None),
        ({"ImageLaterality": "R", "Laterality": "RIGHT"}, "right"),
    ],
)
def test_sides_as_words_and_of_a_knee_without_a_pair(tmp_path, tags, side):
    path = made(tmp_path / "x", **{name: ("CS", value) for name, value in tags.items()})
    found = io.read_radiograph(path)
    assert (found.side, found.doubts) == (side, ())


@pytest.mark.parametrize(
    ("pixels", "tags"),
    [
        (PIXELS, {"PhotometricInterpretation": ("CS", "Monochrome2")}),
        (4095 - PIXELS, {"PhotometricInterpretation": ("CS", "monochrome1 ")}),
        (PIXELS, {"SamplesPerPixel": None}),
        (PIXELS, {"SamplesPerPixel": None, "HighBit": None, "Modality": None}),
    ],
)
def test_tags_of_pixels_in_small_letters_or_left_out(tmp_path, pixels, tags):
    np.testing.assert_array_equal(
        io.read_radiograph(made(tmp_path / "x", pixels, **tags)).array, PIXELS
    )


@pytest.mark.parametrize(
    ("dtype", "tags"),
    [
        (np.uint32, {}),
        (np.int32, {}),
        (np.uint32, {"WindowCenter": 2**32 - 2048, "WindowWidth": 4096}),
    ],
)
def test_large_numbers_are_inverted_exactly(tmp_path, dtype, tags):
    most = np.iinfo(dtype).max
    pixels = (most - PIXELS.astype(np.int64)).astype(dtype)
    tags |= {"PhotometricInterpretation": "MONOCHROME1", "BitsStored": 32, "HighBit": 31}
    found = io.read_radiograph(made(tmp_path / "x", pixels, **tags)).array
    share = (found - found.min()) / (found.max() - found.min())
    np.testing.assert_allclose(share, PIXELS / 4095, atol=1e-3)


@pytest.mark.parametrize(
    ("tags", "doubted"),
    [
        ({"PixelAspectRatio": [2, 1]}, True),
        ({"PixelAspectRatio": [1, 3], "PixelSpacing": [0, 0]}, True),
        ({"PixelAspectRatio": [1, 1]}, False),
        ({"PixelAspectRatio": [2, 1], "PixelSpacing": [0.4, 0.2]}, False),
    ],
)
def test_pixels_that_are_not_square_are_said(tmp_path, tags, doubted):
    doubts = io.read_radiograph(made(tmp_path / "x", **tags)).doubts
    assert any("taken as square" in doubt for doubt in doubts) == doubted
