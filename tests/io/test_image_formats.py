"""Pictures of few bits, with a transparent value, with gaps, and in rarer formats."""

import struct

import numpy as np
import pytest
import tifffile
from made_pictures import DEEP, GREY, SMOOTH, png_16
from PIL import Image

from xr2mri_jax import io
from xr2mri_jax.errors import InputError

# --- few bits, one transparent value, gaps


def test_one_transparent_value_of_16_bits_becomes_black(tmp_path):
    value = int(DEEP[3, 4])
    content = png_16(DEEP[..., None], ((b"tRNS", struct.pack(">H", value)),))
    (tmp_path / "x.png").write_bytes(content)
    found = io.read_radiograph(tmp_path / "x.png").array
    np.testing.assert_array_equal(found, np.where(value == DEEP, 0, DEEP))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("x.png", {}),
        ("x.tif", {}),
        ("x.tif", {"compression": "group4"}),
        ("x.tif", {"compression": "packbits", "tiffinfo": {262: 0}}),  # white is 0 in the file
    ],
)
def test_pictures_of_one_bit(tmp_path, name, options):
    Image.fromarray(GREY > 100).save(tmp_path / name, **options)
    found = io.read_radiograph(tmp_path / name).array
    np.testing.assert_array_equal(found, 255.0 * (GREY > 100))


@pytest.mark.parametrize("bits", [2, 4])
def test_pictures_of_few_bits_span_the_range_of_eight(tmp_path, bits):
    levels = (GREY >> (8 - bits)).astype(np.uint8)
    grey = np.rint(levels * (255 / (2**bits - 1)))
    image = Image.fromarray(levels, "P")
    image.putpalette([v for k in range(2**bits) for v in [k * 255 // (2**bits - 1)] * 3])
    image.save(tmp_path / "palette.png", bits=bits)
    assert (tmp_path / "palette.png").read_bytes()[24] == bits
    np.testing.assert_array_equal(io.read_radiograph(tmp_path / "palette.png").array, grey)


@pytest.mark.parametrize("rows", [1, 20, 39])
def test_pixels_that_are_no_number_are_background(tmp_path, rows):
    array = 3.0 + DEEP.astype(np.float32)
    array[:rows] = np.nan
    tifffile.imwrite(tmp_path / "x.tif", array)
    found = io.read_radiograph(tmp_path / "x.tif")
    assert found.background[:rows].all() and not found.background[rows:].any()
    np.testing.assert_array_equal(found.array[rows:], array[rows:])
    assert (found.array[:rows] == array[rows:].min()).all()
    assert found.doubts == (
        f"{rows / 40:.2%} of the pixels are not a number (NaN): taken as background",
    )


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinite_pixels_are_background(tmp_path, value):
    array = DEEP.astype(np.float32)
    array[3] = value
    tifffile.imwrite(tmp_path / "x.tif", array)
    found = io.read_radiograph(tmp_path / "x.tif")
    assert found.background[3].all() and found.background.sum() == 30
    assert found.doubts == (
        "2.50% of the pixels are infinite or not a number: taken as background",
    )


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_a_picture_without_a_finite_pixel_is_refused(tmp_path, value):
    tifffile.imwrite(tmp_path / "x.tif", np.full((9, 8), value, np.float32))
    with pytest.raises(InputError, match=r"x\.tif: has no pixel that is a finite number"):
        io.read_radiograph(tmp_path / "x.tif")


# --- other kinds of samples

VALUES = DEEP.astype(np.int64)


@pytest.mark.parametrize("compression", [None, "zlib", "lzma"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize(
    "array",
    [
        (VALUES - 32768).astype(np.int16),
        (VALUES - 32768).astype(np.int32),
        (VALUES * 65537).astype(np.uint32),
        (GREY.astype(int) - 128).astype(np.int8),
        VALUES.astype(np.float32),
        VALUES.astype(np.float64),
    ],
    ids=lambda array: array.dtype.name,
)
def test_tiff_of_every_type_of_samples(tmp_path, array, byteorder, compression):
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, array, byteorder=byteorder, compression=compression)
    np.testing.assert_array_equal(io.read_radiograph(path).array, array.astype(np.float32))


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32, np.float64, np.uint16])
def test_white_is_zero_in_every_type_of_samples(tmp_path, dtype, byteorder, compression):
    path = tmp_path / "x.tif"
    array = (VALUES // 4).astype(dtype)
    options = {"byteorder": byteorder, "compression": compression}
    tifffile.imwrite(path, array, photometric="miniswhite", **options)
    found = io.read_radiograph(path).array
    np.testing.assert_array_equal(found - found.min(), array.max() - array.astype(np.float32))


@pytest.mark.parametrize("most", [1023, 4095, 65535])
@pytest.mark.parametrize("channels", [1, 3])
def test_pnm_of_more_than_8_bits_keeps_its_depth(tmp_path, most, channels):
    array = DEEP // (65536 // (most + 1))
    kind, samples = (b"P5", array) if channels == 1 else (b"P6", np.stack([array] * 3, -1))
    header = b"%s\n# made\n%d %d\n%d\n" % (kind, array.shape[1], array.shape[0], most)
    (tmp_path / "x").write_bytes(header + samples.astype(">u2").tobytes())
    np.testing.assert_array_equal(io.read_radiograph(tmp_path / "x").array, array)


@pytest.mark.parametrize("form", ["PNG", "TIFF", "BMP", "WEBP"])
def test_an_image_that_is_transparent_all_over_is_read(tmp_path, form):
    clear = np.stack([GREY, GREY, GREY, np.zeros_like(GREY)], -1)
    options = {"lossless": True, "exact": True} if form == "WEBP" else {}
    Image.fromarray(clear).save(tmp_path / "x", form, **options)
    np.testing.assert_array_equal(io.read_radiograph(tmp_path / "x").array, GREY)


# --- other formats


@pytest.mark.parametrize(
    ("form", "array", "options"),
    [
        ("BMP", GREY, {}),
        ("GIF", GREY, {}),
        ("WEBP", GREY, {"lossless": True}),
        ("PPM", GREY, {}),
        ("PPM", DEEP, {}),
        ("JPEG2000", GREY, {}),
        ("JPEG2000", DEEP, {"no_jp2": True}),
    ],
)
def test_pictures_of_other_formats(tmp_path, form, array, options):
    Image.fromarray(array).save(tmp_path / "x", form, **options)
    found = io.read_radiograph(tmp_path / "x")
    np.testing.assert_array_equal(found.array, array)
    assert found.doubts == ()


@pytest.mark.parametrize("form", ["BMP", "WEBP", "PPM", "JPEG2000"])
def test_coloured_pictures_of_other_formats_are_refused(tmp_path, form):
    colour = np.stack([SMOOTH, SMOOTH[::-1], SMOOTH], axis=-1)
    Image.fromarray(colour).save(tmp_path / "x", form)
    with pytest.raises(InputError, match="is coloured"):
        io.read_radiograph(tmp_path / "x")


@pytest.mark.parametrize("form", ["GIF", "WEBP"])
def test_moving_pictures_are_refused(tmp_path, form):
    first, second = Image.fromarray(GREY), Image.fromarray(255 - GREY)
    first.save(tmp_path / "x", form, save_all=True, append_images=[second])
    with pytest.raises(InputError, match="holds 2 pictures, expected one"):
        io.read_radiograph(tmp_path / "x")
