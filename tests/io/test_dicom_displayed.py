"""Radiographs as a viewer shows them: orientation, padding, shutters, look-up tables."""

import numpy as np
import pytest
from made_dicom import made
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from xr2mri_jax import io
from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import Radiograph
from xr2mri_jax.preprocess.polarity import inverted
from xr2mri_jax.preprocess.radiograph import standardise_radiograph

SHOWN = np.arange(24, dtype=np.uint16).reshape(4, 6) * 100
RNG = np.random.default_rng(3)
KNEE = RNG.integers(800, 3000, (90, 80)).astype(np.uint16)


# --- PatientOrientation


@pytest.mark.parametrize(
    ("orientation", "stored"),
    [
        (["L", "F"], lambda a: a),
        (["R", "F"], lambda a: a[:, ::-1]),
        (["L", "H"], lambda a: a[::-1]),
        (["R", "H"], lambda a: a[::-1, ::-1]),
        (["F", "L"], lambda a: a.T),
        (["H", "L"], lambda a: a.T[:, ::-1]),
        (["F", "R"], lambda a: a.T[::-1]),
        (["H", "R"], lambda a: a.T[::-1, ::-1]),
        (["LF", "FR"], lambda a: a),
        (["RH", "F"], lambda a: a[:, ::-1]),
    ],
)
def test_every_frontal_orientation_is_shown_as_one(tmp_path, orientation, stored):
    pixels = np.ascontiguousarray(stored(SHOWN))
    across = orientation[0][0] in "HF"
    path = made(
        tmp_path / "x",
        pixels=pixels,
        PatientOrientation=orientation,
        ImagerPixelSpacing=[0.4, 0.2] if across else [0.2, 0.4],
    )
    found = io.read_radiograph(path)
    np.testing.assert_array_equal(found.array, SHOWN)
    assert found.spacing == (0.2, 0.4)
    assert found.doubts == ()


@pytest.mark.parametrize(
    ("orientation", "said", "shown"),
    [
        (["A", "F"], r"is A\F, expected a frontal view", SHOWN),
        (["P", "H"], r"is P\H, expected a frontal view", SHOWN[::-1]),
        (["L", "P"], r"is L\P, expected a frontal view", SHOWN),
        (["L"], "not a pair of directions", SHOWN),
        (["L", "R"], "not a pair of directions", SHOWN),
        (["SMITH", "JOHN"], "not a pair of directions", SHOWN),
    ],
)
def test_other_orientations_are_doubted(tmp_path, orientation, said, shown):
    found = io.read_radiograph(made(tmp_path / "x", pixels=SHOWN, PatientOrientation=orientation))
    (doubt,) = found.doubts
    assert doubt.startswith("PatientOrientation (0020,0020)") and said in doubt
    assert "SMITH" not in doubt
    np.testing.assert_array_equal(found.array, shown)


def test_padding_turns_with_the_image(tmp_path):
    pixels = np.full((8, 6), 700, np.uint16)
    pixels[:3] = 0
    pixels[5, 5] = 900
    path = made(tmp_path / "x", pixels=pixels, PixelPaddingValue=0, PatientOrientation=["R", "H"])
    found = io.read_radiograph(path)
    np.testing.assert_array_equal(np.argwhere(found.array == 900), [[2, 0]])
    np.testing.assert_array_equal(found.background, found.background & True)
    assert found.background[5:].all() and not found.background[:5].any()


# --- padding and shutters


WIDE = {"BitsStored": 16, "HighBit": 15}


def padded(value, dtype=np.uint16):
    pixels = KNEE.astype(dtype)
    pixels[:12], pixels[:, 70:] = value, value
    return pixels


@pytest.mark.parametrize(
    ("pixels", "tags"),
    [
        (padded(0), {"PixelPaddingValue": 0}),
        (padded(4095), {"PixelPaddingValue": 4095}),
        (padded(65535), {"PixelPaddingValue": 65535, **WIDE}),
        (padded(65535), {"PixelPaddingValue": 65535}),  # beyond the 12 bits that are stored
        (padded(63536), {"PixelPaddingValue": 63536}),
        (padded(-2000, np.int16), {"PixelPaddingValue": -2000, **WIDE}),
        (
            padded(-1, np.int16),
            {"PixelPaddingValue": ("US", 65535), **WIDE},
        ),  # unsigned where pixels are signed
        (padded(3500), {"PixelPaddingValue": 3400, "PixelPaddingRangeLimit": 3600}),
        (padded(3500), {"PixelPaddingValue": 4095, "PixelPaddingRangeLimit": 3400}),
        (padded(0), {"PixelPaddingValue": 0, "PhotometricInterpretation": "MONOCHROME1"}),
    ],
)
def test_padding_is_background_and_enters_no_window(tmp_path, pixels, tags):
    with np.errstate(all="ignore"):
        path = made(tmp_path / "x", pixels=pixels, **tags)
    found = io.read_radiograph(path, spacing=1.5, side="right")
    hidden = np.zeros(KNEE.shape, bool)
    hidden[:12] = hidden[:, 70:] = True
    np.testing.assert_array_equal(found.background, hidden)
    assert (found.array[hidden] == found.array[~hidden].min()).all()
    top = 4095 if tags.get("BitsStored", 12) == 12 else 65535
    shown = KNEE.astype(np.float32)
    if tags.get("PhotometricInterpretation") == "MONOCHROME1":
        shown = top - shown
    np.testing.assert_array_equal(found.array[~hidden], shown[~hidden])
    # The same window as of the image without its padding.
    window = standardise_radiograph(found, (64, 64)).record["window"]
    cut = Radiograph(shown[12:, :70], 1.5, "right")
    expected = standardise_radiograph(cut, (64, 64), (44.5 - 12, 39.5)).record["window"]
    assert window["low"] == pytest.approx(expected["low"], abs=60)
    assert window["high"] == pytest.approx(expected["high"], abs=60)


def test_single_pixels_of_the_padding_value_are_image(tmp_path):
    pixels = KNEE.copy()
    pixels[40, 40] = 0
    found = io.read_radiograph(made(tmp_path / "x", pixels=pixels, PixelPaddingValue=0))
    assert found.background is None
    assert found.array[40, 40] == 0


def test_padding_beyond_the_stored_bits_of_compressed_pixels_matches_none(tmp_path):
    tags = {"compress": uid.RLELossless, "PixelPaddingValue": 65535}
    found = io.read_radiograph(made(tmp_path / "x", pixels=padded(4095), **tags))
    assert found.background is None
    np.testing.assert_array_equal(found.array, padded(4095))
    tags["PixelPaddingValue"] = 4095
    found = io.read_radiograph(made(tmp_path / "y", pixels=padded(4095), **tags))
    assert found.background[:12].all() and not found.background[12:, :70].any()


def test_padding_that_leaves_nothing_is_passed_over(tmp_path):
    pixels = np.zeros((60, 60), np.uint16)
    pixels[30, 30] = 5
    found = io.read_radiograph(made(tmp_path / "x", pixels=pixels, PixelPaddingValue=0))
    assert found.background is None
    assert found.doubts == ("padding and shutters leave nothing of the image: ignored",)


def test_inverting_keeps_the_background_dark(tmp_path):
    found = io.read_radiograph(made(tmp_path / "x", pixels=padded(0), PixelPaddingValue=0))
    turned = inverted(found)
    hidden = found.background
    np.testing.assert_array_equal(
        np.argsort(turned.array[~hidden]), np.argsort(-found.array[~hidden])
    )
    assert (turned.array[hidden] == turned.array[~hidden].min()).all()


RECTANGLE = {
    "ShutterShape": "RECTANGULAR",
    "ShutterLeftVerticalEdge": 11,
    "ShutterRightVerticalEdge": 60,
    "ShutterUpperHorizontalEdge": 5,
    "ShutterLowerHorizontalEdge": 80,
}
ROW, COLUMN = np.ogrid[1:91, 1:81]


@pytest.mark.parametrize(
    ("tags", "open_"),
    [
        (RECTANGLE, (COLUMN >= 11) & (COLUMN <= 60) & (ROW >= 5) & (ROW <= 80)),
        (
            {
                "ShutterShape": "CIRCULAR",
                "CenterOfCircularShutter": [45, 40],
                "RadiusOfCircularShutter": 30,
            },
            (ROW - 45) ** 2 + (COLUMN - 40) ** 2 <= 900,
        ),
        (
            {
                "ShutterShape": "POLYGONAL",
                "VerticesOfThePolygonalShutter": [10, 10, 10, 70, 80, 70, 80, 10],
            },
            (COLUMN >= 10) & (COLUMN <= 70) & (ROW >= 10) & (ROW < 80),
        ),
        (
            {
                **RECTANGLE,
                "ShutterShape": ["RECTANGULAR", "CIRCULAR"],
                "CenterOfCircularShutter": [45, 40],
                "RadiusOfCircularShutter": 25,
            },
            (COLUMN >= 11)
            & (COLUMN <= 60)
            & (ROW >= 5)
            & (ROW <= 80)
            & ((ROW - 45) ** 2 + (COLUMN - 40) ** 2 <= 625),
        ),
    ],
)
def test_what_a_shutter_hides_is_background(tmp_path, tags, open_):
    found = io.read_radiograph(made(tmp_path / "x", pixels=KNEE, **tags))
    differing = (found.background == open_).mean()
    assert differing < 0.03, differing  # the polygon's own edge may count either way
    assert (found.array[found.background] == KNEE[~found.background].min()).all()
    assert found.doubts == ()


@pytest.mark.parametrize(
    "tags",
    [
        {"ShutterShape": ("CS", "SMITH^JOHN")},
        {"ShutterShape": "RECTANGULAR"},
        {**RECTANGLE, "ShutterLeftVerticalEdge": None} | {"ShutterShape": "CIRCULAR"},
        {"ShutterShape": "POLYGONAL", "VerticesOfThePolygonalShutter": [1, 2, 3, 4]},
    ],
)
def test_a_broken_shutter_is_passed_over(tmp_path, tags):
    tags = {name: value for name, value in tags.items() if value is not None}
    found = io.read_radiograph(made(tmp_path / "x", pixels=KNEE, **tags))
    assert found.background is None
    (doubt,) = found.doubts
    assert doubt.endswith("the shutter is ignored") and "SMITH" not in doubt


# --- look-up tables


def table(data, count, first=0, depth=8, vr="OW"):
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [count, first, depth])
    item.add_new("LUTData", vr, data)
    return Sequence([item])


ENTRIES = (np.arange(4096) // 16)[::-1].astype(np.uint8)
CODES = np.array([[0, 100, 2048], [3000, 4000, 4095]], np.uint16)


@pytest.mark.parametrize(
    "sequence",
    [
        table(ENTRIES.tobytes(), 4096),  # two entries in a word
        table(ENTRIES.astype("<u2").tobytes(), 4096),  # one entry in a word
        table(ENTRIES.astype(int).tolist(), 4096, vr="US"),
        table(ENTRIES.view("<u2").astype(int).tolist(), 4096, vr="US"),
        table(ENTRIES.tobytes() + b"\0\0", 4096),
    ],
)
def test_voi_luts_of_8_bits_in_every_form(tmp_path, sequence):
    found = io.read_radiograph(made(tmp_path / "x", pixels=CODES, VOILUTSequence=sequence))
    np.testing.assert_array_equal(found.array, ENTRIES[CODES])
    assert found.doubts == ()


def test_a_lut_of_16_bits_and_big_endian(tmp_path):
    entries = np.arange(4096) * 16
    sequence = table(entries.astype(">u2").tobytes(), 4096, depth=16)
    pixels = CODES.astype(">u2")
    path = made(
        tmp_path / "x",
        pixels=pixels,
        syntax=uid.ExplicitVRBigEndian,
        VOILUTSequence=sequence,
    )
    np.testing.assert_array_equal(io.read_radiograph(path).array, entries[CODES])


def test_a_first_value_written_unsigned_is_signed_where_the_values_are(tmp_path):
    pixels = np.array([[-5, -4, 0], [1, 2, 3]], np.int16)
    sequence = table(np.arange(10, 19, dtype="<u2").tobytes(), 9, first=65531, depth=16)
    found = io.read_radiograph(made(tmp_path / "x", pixels=pixels, VOILUTSequence=sequence))
    np.testing.assert_array_equal(found.array, pixels + 15)


@pytest.mark.parametrize(
    "sequence",
    [
        table(b"\1\2\3\4", 4096),
        table(ENTRIES.tobytes()[:4000], 4096),
        table([1, 2, 3], 4096, vr="US"),
    ],
)
def test_a_broken_voi_lut_is_passed_over(tmp_path, sequence):
    found = io.read_radiograph(made(tmp_path / "x", pixels=CODES, VOILUTSequence=sequence))
    np.testing.assert_array_equal(found.array, CODES)
    (doubt,) = found.doubts
    assert doubt.startswith("LUTData (0028,3006) in VOILUTSequence has")


def test_a_broken_modality_lut_is_needed_and_named(tmp_path):
    path = made(tmp_path / "x", pixels=CODES, ModalityLUTSequence=table(b"\1\2", 4096))
    with pytest.raises(InputError, match=r"LUTData \(0028,3006\) in ModalityLUTSequence has 1 ent"):
        io.read_radiograph(path)
