"""Pictures as telephones, scanners and printers write them: several pages, 16-bit colour, inks."""

import io as io_module
import struct
import zlib

import numpy as np
import pytest
import tifffile
from made_pictures import DEEP, GREY, SMOOTH, png_16
from matplotlib.figure import Figure
from PIL import Image, ImageCms, PngImagePlugin

from xr2mri_jax import io
from xr2mri_jax.errors import InputError
from xr2mri_jax.io.image import DRAWN
from xr2mri_jax.presentation import png

# --- several pictures in one file


def mpo(path, *pages):
    first, *others = (Image.fromarray(page).convert("RGB") for page in pages)
    first.save(path, format="MPO", save_all=True, append_images=others, quality=95)
    return path


@pytest.mark.parametrize("others", [[SMOOTH[::2, ::2]], [SMOOTH], [SMOOTH[::4, ::4], SMOOTH]])
def test_of_a_telephones_jpeg_the_main_picture_is_read(tmp_path, others):
    radiograph = io.read_radiograph(mpo(tmp_path / "x.jpg", SMOOTH, *others))
    np.testing.assert_allclose(radiograph.array, SMOOTH, atol=3)
    assert radiograph.doubts == ("holds several pictures: the first, the main one, is taken",)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("preview", [GREY[::2, ::2], GREY[::4, ::4]])
def test_a_small_page_of_the_same_shape_is_a_preview(tmp_path, order, preview):
    pages = [GREY, preview]
    with tifffile.TiffWriter(tmp_path / "x.tif") as writer:
        for k in order:
            writer.write(pages[k], photometric="minisblack")
    radiograph = io.read_radiograph(tmp_path / "x.tif")
    np.testing.assert_array_equal(radiograph.array, GREY)
    assert "holds 2 pictures" in radiograph.doubts[0]


@pytest.mark.parametrize("shape", [(30, 40), (40, 30), (20, 29)])
def test_a_page_marked_as_reduced_is_a_preview(tmp_path, shape):
    with tifffile.TiffWriter(tmp_path / "x.tif") as writer:
        writer.write(DEEP, photometric="minisblack")
        writer.write(np.zeros(shape, np.uint16), photometric="minisblack", subfiletype=1)
    np.testing.assert_array_equal(io.read_radiograph(tmp_path / "x.tif").array, DEEP)


@pytest.mark.parametrize("others", [[GREY + 1], [GREY[:20, :30]], [GREY[::2, ::2], GREY[::-1]]])
def test_pages_that_are_no_previews_are_refused(tmp_path, others):
    with tifffile.TiffWriter(tmp_path / "x.tif") as writer:
        for page in (GREY, *others):
            writer.write(page, photometric="minisblack")
    with pytest.raises(InputError, match=f"holds {1 + len(others)} pictures, expected one"):
        io.read_radiograph(tmp_path / "x.tif")


def test_a_chain_of_many_pages_is_not_followed(tmp_path):
    with tifffile.TiffWriter(tmp_path / "x.tif") as writer:
        for _ in range(80):
            writer.write(GREY[:2, :2], photometric="minisblack")
    with pytest.raises(InputError, match="more than 64 pictures"):
        io.read_radiograph(tmp_path / "x.tif")


# --- 16-bit colour that is grey


def colours(grey=DEEP, channels=3):
    array = np.stack([grey] * channels, axis=-1)
    if channels in (2, 4):
        array[..., -1] = 65535
    return array


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_png_of_16_bit_colour_keeps_its_depth(tmp_path, channels):
    (tmp_path / "x.png").write_bytes(png_16(colours(channels=channels)))
    np.testing.assert_array_equal(io.read_radiograph(tmp_path / "x.png").array, DEEP)


@pytest.mark.parametrize("channels", [2, 4])
def test_transparent_16_bit_colour_becomes_black(tmp_path, channels):
    array = colours(channels=channels)
    array[:10, :, -1] = 0
    (tmp_path / "x.png").write_bytes(png_16(array))
    found = io.read_radiograph(tmp_path / "x.png").array
    assert not found[:10].any()
    np.testing.assert_array_equal(found[10:], DEEP[10:])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"byteorder": ">"},
        {"compression": "zlib"},
        {"compression": "zlib", "predictor": True},
        {"compression": "zlib", "byteorder": ">"},
    ],
)
def test_tiff_of_16_bit_colour_keeps_its_depth(tmp_path, options):
    tifffile.imwrite(tmp_path / "x.tif", colours(), photometric="rgb", **options)
    np.testing.assert_array_equal(io.read_radiograph(tmp_path / "x.tif").array, DEEP)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    "packed", [{}, {"compression": "zlib", "predictor": True}, {"tile": (16, 16)}]
)
@pytest.mark.parametrize("extra", ["unspecified", "assocalpha", "unassalpha"])
@pytest.mark.parametrize("orientation", [1, 2, 6])
def test_tiff_of_16_bit_grey_with_a_second_channel(tmp_path, order, packed, extra, orientation):
    array = colours(channels=2)
    array[:10, :, -1] = 0
    turned = [(274, "H", 1, orientation, True)]
    tifffile.imwrite(
        tmp_path / "x", array, photometric="minisblack", extrasamples=[extra], byteorder=order,
        extratags=turned, **packed,
    )  # fmt: skip
    found = io.read_radiograph(tmp_path / "x").array
    # What is multiplied with its alpha already, or no alpha, stays as it is.
    expected = np.where(array[..., 1] > 0, DEEP, 0) if extra == "unassalpha" else DEEP
    upright = {1: expected, 2: expected[:, ::-1], 6: np.rot90(expected, -1)}[orientation]
    np.testing.assert_array_equal(found, upright)


UPRIGHT = {
    1: GREY,
    2: GREY[:, ::-1],
    3: GREY[::-1, ::-1],
    4: GREY[::-1],
    5: GREY.T,
    6: np.rot90(GREY, -1),
    7: GREY[::-1, ::-1].T,
    8: np.rot90(GREY),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_tiff_is_turned_as_its_entry_says(tmp_path, orientation, compression):
    extra = [(274, "H", 1, orientation, True)]
    for array, ph in ((GREY, "minisblack"), (DEEP, "minisblack"), (colours(), "rgb")):
        options = {"photometric": ph, "extratags": extra, "compression": compression}
        tifffile.imwrite(tmp_path / "x.tif", array, **options)
        found = io.read_radiograph(tmp_path / "x.tif").array
        shown = found if array.dtype == np.uint8 else found.astype(np.uint16) >> 8
        np.testing.assert_array_equal(shown, UPRIGHT[orientation])


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_png_of_16_bit_colour_is_turned_as_its_entry_says(tmp_path, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    content = png_16(colours())
    data = exif.tobytes().removeprefix(b"Exif\0\0")
    check = struct.pack(">I", zlib.crc32(b"eXIf" + data))
    chunk = struct.pack(">I", len(data)) + b"eXIf" + data + check
    at = content.index(b"IDAT") - 4
    (tmp_path / "x.png").write_bytes(content[:at] + chunk + content[at:])
    found = io.read_radiograph(tmp_path / "x.png").array.astype(np.uint16) >> 8
    np.testing.assert_array_equal(found, UPRIGHT[orientation])


@pytest.mark.parametrize("form", ["png", "tif", "separate"])
def test_16_bit_colour_that_is_coloured_or_of_another_form(tmp_path, form):
    array = colours()
    array[3, 3, 0] ^= 0x7000
    path = tmp_path / "x"
    if form == "png":
        path.write_bytes(png_16(array))
    elif form == "tif":
        tifffile.imwrite(path, array, photometric="rgb")
    else:
        planes = np.moveaxis(colours(), -1, 0)
        tifffile.imwrite(path, planes, photometric="rgb", planarconfig="separate")
    with pytest.raises(InputError, match=r"coloured|unknown form"):
        io.read_radiograph(path)


# --- inks


@pytest.mark.parametrize("form", ["JPEG", "TIFF"])
@pytest.mark.parametrize("inks", ["black", "colours"])
def test_grey_in_inks(tmp_path, form, inks):
    ink = 255 - SMOOTH
    none = np.zeros_like(ink)
    planes = [none, none, none, ink] if inks == "black" else [ink, ink, ink, none]
    image = Image.merge("CMYK", [Image.fromarray(plane) for plane in planes])
    image.save(tmp_path / "x", form, **({"quality": 95} if form == "JPEG" else {}))
    np.testing.assert_allclose(io.read_radiograph(tmp_path / "x").array, SMOOTH, atol=6)


def test_inks_of_16_bits_are_read_with_8(tmp_path):
    inks = np.stack([255 - GREY] * 3 + [0 * GREY], axis=-1).astype(np.uint16) * 257
    tifffile.imwrite(tmp_path / "x.tif", inks, photometric="separated")
    found = io.read_radiograph(tmp_path / "x.tif")
    np.testing.assert_allclose(found.array, GREY, atol=1)
    assert found.doubts == ("its colours have 16 bits, of which the upper 8 are taken",)


def test_coloured_inks_are_refused(tmp_path):
    planes = [SMOOTH, SMOOTH // 3, SMOOTH * 0, SMOOTH * 0]
    Image.merge("CMYK", [Image.fromarray(p) for p in planes]).save(tmp_path / "x", "TIFF")
    with pytest.raises(InputError, match="coloured"):
        io.read_radiograph(tmp_path / "x")


def test_a_profile_that_does_not_fit_is_passed_over(tmp_path):
    ink = Image.fromarray(255 - SMOOTH)
    none = Image.fromarray(SMOOTH * 0)
    image = Image.merge("CMYK", [none, none, none, ink])
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    stream = io_module.BytesIO()
    image.save(stream, "TIFF", icc_profile=profile)
    (tmp_path / "x").write_bytes(stream.getvalue())
    np.testing.assert_allclose(io.read_radiograph(tmp_path / "x").array, SMOOTH, atol=2)


def drawn_by_figure(path, pixels):
    figure = Figure((1, 1))
    figure.figimage(pixels, cmap="gray")
    figure.savefig(path, format="png", metadata=DRAWN)


def drawn_by_pillow(path, pixels):
    entries = PngImagePlugin.PngInfo()
    entries.add_text("Software", DRAWN["Software"])
    Image.fromarray(pixels).save(path, format="PNG", pnginfo=entries)


def drawn_fast(path, pixels):
    path.write_bytes(png.encoded(np.stack([pixels] * 3, -1), DRAWN))


@pytest.mark.parametrize("draw", [drawn_by_figure, drawn_by_pillow, drawn_fast])
def test_pictures_of_our_own_results_are_no_radiographs(tmp_path, draw):
    pixels = np.arange(48 * 64, dtype=np.uint16).reshape(48, 64).astype(np.uint8)
    draw(tmp_path / "a", pixels)
    with pytest.raises(InputError, match="a: is a picture that xr2mri_jax drew of its results"):
        io.read_radiograph(tmp_path / "a")
