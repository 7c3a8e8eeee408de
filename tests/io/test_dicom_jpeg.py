"""JPEG streams whose headers would end the process in the decoder: refused before it sees them."""

import io as io_module

import numpy as np
import pydicom
import pytest
from pydicom import encaps, uid

from xr2mri_jax import io
from xr2mri_jax.errors import InputError
from xr2mri_jax.io import dicom_jpeg
from xr2mri_jax.tools.fuzzing.seeds import by_name, made_picture, made_seeds

SEEDS = made_seeds()
JFIF = b"\xff\xe0\x00\x10JFIF\0\1\1\0\0\1\0\1\0\0"
ADOBE = b"\xff\xee\x00\x0eAdobe\0\x64\0\0\0\0"


def frame_of(name):
    dataset = pydicom.dcmread(io_module.BytesIO(by_name(SEEDS, name).files["x"]))
    (frame,) = encaps.generate_frames(dataset.PixelData, number_of_frames=1)
    return dataset, frame


def read(folder, dataset, frame):
    dataset.PixelData = encaps.encapsulate([frame])
    dataset.save_as(folder / "x")
    return io.read_radiograph(folder / "x")


SOUND = {
    "as it is": lambda f: f,
    "with a comment": lambda f: f[:2] + b"\xff\xfe\0\6abcd" + f[2:],
    "with JFIF": lambda f: f[:2] + JFIF + f[2:],
    "with Adobe": lambda f: f[:2] + ADOBE + b"\0" + f[2:],
    "with fill bytes": lambda f: f[:2] + b"\xff\xff" + f[2:],
}
ODD = {
    "a byte between segments": lambda f: (
        f[: f.index(b"\xff\xc4")] + b"\7" + f[f.index(b"\xff\xc4") :]
    ),
    "bytes before the scan": lambda f: f.replace(b"\xff\xda", b"ab\xff\xda", 1),
    "a longer table": lambda f: f.replace(b"\xff\xc4\0", b"\xff\xc4\1", 1),
    "JFIF of version 2": lambda f: f[:2] + JFIF.replace(b"JFIF\0\1", b"JFIF\0\2") + f[2:],
    "Adobe of kind 3": lambda f: f[:2] + ADOBE + b"\3" + f[2:],
    "progressive": lambda f: f.replace(b"\xff\xc3", b"\xff\xc2", 1),
    "two frames": lambda f: f.replace(b"\xff\xc3", f[f.index(b"\xff\xc3") :][:13] + b"\xff\xc3", 1),
    "no scan": lambda f: f[: f.index(b"\xff\xda")] + b"\xff\xd9",
}


@pytest.mark.parametrize("change", SOUND.values(), ids=SOUND.keys())
def test_lossless_jpeg_with_what_its_header_may_have(tmp_path, change):
    dataset, frame = frame_of("dicom jpeg lossless")
    plain = read(tmp_path, dataset, frame)
    found = read(tmp_path, dataset, change(frame))
    np.testing.assert_array_equal(found.array, plain.array)
    assert np.corrcoef(found.array.ravel(), made_picture().ravel())[0, 1] > 0.9


@pytest.mark.parametrize("change", ODD.values(), ids=ODD.keys())
def test_headers_that_would_end_the_process_are_refused(tmp_path, change):
    dataset, frame = frame_of("dicom jpeg lossless")
    odd = change(frame)
    assert odd != frame
    with pytest.raises(InputError, match="header is damaged or of a kind that is not decoded"):
        dicom_jpeg.require_sound_header(odd)
    with pytest.raises(InputError, match="header"):
        read(tmp_path, dataset, odd)


def test_jpeg_of_8_bits_goes_to_another_decoder(tmp_path):
    dataset, frame = frame_of("dicom jpeg")
    sound = read(tmp_path, dataset, frame)
    found = read(tmp_path, dataset, ODD["bytes before the scan"](frame))
    np.testing.assert_array_equal(found.array, sound.array)


@pytest.mark.parametrize("bits", [9, 10, 12])
def test_jpeg_extended_of_more_than_8_bits_is_refused_in_one_line(tmp_path, bits):
    dataset, frame = frame_of("dicom jpeg")
    dataset.file_meta.TransferSyntaxUID = uid.JPEGExtended12Bit
    np.testing.assert_array_equal(
        read(tmp_path, dataset, frame).array, read(tmp_path, *frame_of("dicom jpeg")).array
    )
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, bits, bits - 1
    at = frame.index(b"\xff\xc0")
    extended = frame[:at] + b"\xff\xc1" + frame[at + 2 : at + 4] + bytes([bits]) + frame[at + 5 :]
    with pytest.raises(
        InputError, match=f"is JPEG Extended, of {bits} bits, .* dcmdjpeg"
    ) as caught:
        read(tmp_path, dataset, extended)
    assert "\n" not in str(caught.value)
