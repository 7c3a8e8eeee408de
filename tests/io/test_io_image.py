"""Tests of radiographs from PNG, TIFF and JPEG files."""

import struct

import numpy as np
import pytest
import tifffile
from PIL import Image

from xr2mri_jax import io
from xr2mri_jax.errors import InputError
from xr2mri_jax.io import formats

GREY = np.array([[0, 10, 20], [100, 200, 255]], np.uint8)
DEEP = np.array([[0, 1000, 2000], [30000, 60000, 65535]], np.uint16)


def test_grey_8_and_16_bit_keep_their_values(tmp_path):
    for array in (GREY, DEEP):
        for ending in ("png", "tif"):
            path = tmp_path / f"x{array.dtype}.{ending}"
            Image.fromarray(array).save(path)
            radiograph = io.read_radiograph(path, spacing=(0.2, 0.3), side="left")
            np.testing.assert_array_equal(radiograph.array, array)
            assert radiograph.array.dtype == np.float32
            assert radiograph.spacing == (0.2, 0.3)
            assert radiograph.side == "left"


def test_unknown_spacing_and_side_stay_unknown(tmp_path):
    path = tmp_path / "x.png"
    Image.fromarray(GREY).save(path, dpi=(300, 300))
    radiograph = io.read_radiograph(path)
    assert radiograph.spacing is None
    assert radiograph.side is None


@pytest.mark.parametrize("dtype", ["uint8", "uint16", ">u2", "float32"])
@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
def test_tiff_is_read_as_it_is_displayed(tmp_path, dtype, photometric):
    path = tmp_path / "x.tif"
    array = GREY.astype(dtype)
    tifffile.imwrite(path, array, photometric=photometric)
    full = {"uint8": 255.0, "float32": float(array.min() + array.max())}.get(dtype, 65535.0)
    expected = full - array if photometric == "miniswhite" else array
    np.testing.assert_array_equal(io.read_radiograph(path).array, expected.astype(np.float32))


def test_colour_files_that_are_grey_are_accepted_others_refused(tmp_path):
    colours = np.stack([GREY, GREY, GREY], axis=-1)
    for mode in ("RGB", "RGBA", "P", "LA"):
        path = tmp_path / f"{mode}.png"
        Image.fromarray(GREY).convert(mode).save(path)
        np.testing.assert_array_equal(io.read_radiograph(path).array, GREY)
    large = np.repeat(np.repeat(colours, 16, axis=0), 16, axis=1)
    Image.fromarray(large).save(tmp_path / "x.jpg", quality=95)
    found = io.read_radiograph(tmp_path / "x.jpg").array
    np.testing.assert_allclose(found, large[..., 0], atol=20)
    colours[0, 0] = (90, 10, 10)
    Image.fromarray(colours).save(tmp_path / "red.png")
    with pytest.raises(InputError, match=r"red\.png: image is coloured .* expected grey"):
        io.read_radiograph(tmp_path / "red.png")


def test_transparent_parts_become_black(tmp_path):
    opaque = np.array([[255, 255, 0], [0, 51, 255]], np.uint8)
    Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(opaque)]).save(tmp_path / "x.png")
    found = io.read_radiograph(tmp_path / "x.png").array
    np.testing.assert_allclose(found, [[0, 10, 0], [0, 40, 255]])


def test_other_modes_are_refused(tmp_path):
    path = tmp_path / "x.tif"
    Image.merge("LAB", [Image.fromarray(GREY)] * 3).save(path)
    with pytest.raises(InputError, match="mode LAB"):
        io.read_radiograph(path)


def test_several_pictures_are_refused(tmp_path):
    pages = [Image.fromarray(GREY), Image.fromarray(GREY + 1)]
    for name in ("x.tif", "x.png"):
        pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:])
        with pytest.raises(InputError, match="holds 2 pictures"):
            io.read_radiograph(tmp_path / name)


def test_a_header_of_16_bit_colour_without_its_pixels_is_refused(tmp_path):
    Image.fromarray(DEEP).save(tmp_path / "x.png")
    content = bytearray((tmp_path / "x.png").read_bytes())
    content[25] = 2  # colour type RGB in the header chunk
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(InputError, match=r"x\.png"):
        io.read_radiograph(tmp_path / "x.png")


def test_exif_turns_the_image(tmp_path):
    image = Image.fromarray(np.repeat(np.repeat(GREY, 16, 0), 16, 1))
    exif = Image.Exif()
    exif[274] = 6  # turn by 90 degrees clockwise for display
    image.save(tmp_path / "x.jpg", exif=exif, quality=100)
    found = io.read_radiograph(tmp_path / "x.jpg").array[8::16, 8::16]
    np.testing.assert_allclose(found, np.rot90(GREY, -1), atol=3)


def test_too_many_pixels_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "x.png"
    Image.fromarray(GREY).save(path)
    monkeypatch.setattr(formats, "MAX_PIXELS", 5)
    with pytest.raises(InputError, match="3x2 pixels, more than 5"):
        io.read_radiograph(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4)
    with pytest.raises(InputError, match=r"x.png: more than 5 pixels$"):
        io.read_radiograph(path)


def test_a_cut_off_tiff_is_named_without_objects_of_python(tmp_path):
    path = tmp_path / "x.tif"
    Image.fromarray(np.tile(GREY, (40, 40))).save(path, compression="tiff_lzw")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match="cannot be read as an image, expected a whole") as caught:
        io.read_radiograph(path)
    assert "<" not in str(caught.value)


def test_real_radiographs(real_data):
    for path in sorted((real_data / "knee_xray_kl" / "val" / "2").glob("*.png"))[:4]:
        radiograph = io.read_radiograph(path)
        assert radiograph.shape == (224, 224)
        assert 0 <= radiograph.array.min() < radiograph.array.max() <= 255
        np.testing.assert_array_equal(radiograph.array, np.asarray(Image.open(path).convert("L")))


@pytest.mark.parametrize("rows", [3, 1_000_000])
def test_strips_that_hold_less_than_the_picture_are_refused(tmp_path, rows):
    Image.fromarray(GREY).save(tmp_path / "x.tif")
    content = bytearray((tmp_path / "x.tif").read_bytes())
    place = content.index(struct.pack("<HHI", 257, 4, 1) + struct.pack("<I", 2))  # ImageLength
    content[place + 8 : place + 12] = struct.pack("<I", rows)
    (tmp_path / "x.tif").write_bytes(content)
    with pytest.raises(InputError, match=rf"x\.tif: its strips hold less than 3x{rows} pixels"):
        io.read_radiograph(tmp_path / "x.tif")
