"""What lies in stored values beside the image: palettes, overlays, bytes after the pixels."""

import numpy as np
import pydicom
import pytest
from made_dicom import made

from xr2mri_jax import io
from xr2mri_jax.errors import InputError

PLACES = np.arange(24, dtype=np.uint8).reshape(4, 6)
KNEE = np.random.default_rng(3).integers(800, 3000, (90, 80)).astype(np.uint16)
COLOURS = ("Red", "Green", "Blue")


def painted(path, entries, bits=16, colours=COLOURS):
    """A picture with one table for all colours that are named."""
    made(path, pixels=PLACES, PhotometricInterpretation="PALETTE COLOR")
    dataset = pydicom.dcmread(path)
    for colour in colours:
        descriptor = f"{colour}PaletteColorLookupTableDescriptor"
        setattr(dataset, descriptor, [len(entries), 0, bits])
        dataset[descriptor].VR = "US"
        data = entries.astype("<u2" if bits == 16 else "u1").tobytes()
        setattr(dataset, f"{colour}PaletteColorLookupTableData", data)
    dataset.save_as(path)
    return path


@pytest.mark.parametrize(
    ("entries", "bits", "shown"),
    [
        (np.arange(256) * 257, 16, PLACES.astype(int) * 257),
        (np.arange(256)[::-1] * 257, 16, 65535 - PLACES.astype(int) * 257),
        (np.arange(256), 8, PLACES.astype(int) * 257),
        (np.arange(10) * 1000, 16, np.minimum(PLACES.astype(int), 9) * 1000),
    ],
)
def test_a_grey_palette(tmp_path, entries, bits, shown):
    found = io.read_radiograph(painted(tmp_path / "x", entries, bits))
    np.testing.assert_array_equal(found.array, shown)


def test_a_coloured_palette_and_one_without_tables_are_refused(tmp_path):
    path = painted(tmp_path / "x", np.arange(256) * 257)
    dataset = pydicom.dcmread(path)
    dataset.BluePaletteColorLookupTableData = bytes(512)
    dataset.save_as(path)
    with pytest.raises(InputError, match="is coloured"):
        io.read_radiograph(path)
    for colours in ((), ("Red", "Green")):
        with pytest.raises(InputError, match="look-up tables are absent or broken"):
            io.read_radiograph(painted(tmp_path / "y", np.arange(256), colours=colours))


# --- overlays and bytes after the pixels


@pytest.mark.parametrize("bits", [[12], [15], [12, 13], [14, 15]])
def test_overlays_in_unused_bits_are_taken_out(tmp_path, bits):
    pixels = KNEE.copy()
    path = tmp_path / "x"
    for k, bit in enumerate(bits):
        pixels[5 + k : 9 + k, 7:20] |= np.uint16(1 << bit)
    made(path, pixels=pixels)
    with pytest.raises(InputError, match="values use more bits"):
        io.read_radiograph(path)
    dataset = pydicom.dcmread(path)
    for k, bit in enumerate(bits):
        group = 0x6000 + 2 * k
        dataset.add_new((group, 0x0010), "US", 90)
        dataset.add_new((group, 0x0011), "US", 80)
        dataset.add_new((group, 0x0100), "US", 16)
        dataset.add_new((group, 0x0102), "US", bit)
    dataset.save_as(path)
    np.testing.assert_array_equal(io.read_radiograph(path).array, KNEE)


def test_an_overlay_with_data_of_its_own_may_lie_in_the_pixels_too(tmp_path):
    pixels = KNEE.copy()
    pixels[5:9, 7:20] |= np.uint16(1 << 13)
    dataset = pydicom.dcmread(made(tmp_path / "x", pixels=pixels))
    dataset.add_new((0x6000, 0x0102), "US", 13)
    dataset.add_new((0x6000, 0x3000), "OW", bytes(900))
    dataset.save_as(tmp_path / "x")
    np.testing.assert_array_equal(io.read_radiograph(tmp_path / "x").array, KNEE)


@pytest.mark.parametrize(("behind", "read"), [(2, True), (4, True), (158, True), (160, False)])
def test_bytes_behind_the_pixels(tmp_path, behind, read):
    """Fewer than a column of 90 or a row of 80 pixels has; more may be a larger image."""
    path = made(tmp_path / "x", pixels=KNEE, PixelData=KNEE.tobytes() + bytes(behind))
    if not read:
        with pytest.raises(InputError, match=r"PixelData .* has 14560 bytes: expected 14400"):
            io.read_radiograph(path)
        return
    found = io.read_radiograph(path)
    np.testing.assert_array_equal(found.array, KNEE)
    assert found.doubts == (f"{behind} bytes after the pixels were ignored",)
