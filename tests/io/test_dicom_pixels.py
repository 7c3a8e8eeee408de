"""Tests that pixels are decoded only where the header and the stored data agree."""

import numpy as np
import pytest
from pydicom import encaps, uid

from xr2mri_jax.errors import InputError
from xr2mri_jax.io import dicom_pixels
from xr2mri_jax.tools.fuzzing.seeds import image_dataset

PIXELS = np.random.default_rng(0).integers(0, 4096, (40, 36)).astype(np.uint16)


def dataset_of(pixels=PIXELS, compress=None, **tags):
    dataset = image_dataset(pixels, "DX", uid.ExplicitVRLittleEndian)
    if compress:
        dataset.compress(compress)
    for name, value in tags.items():
        setattr(dataset, name, value)
    dataset.set_original_encoding(False, True)
    return dataset


@pytest.mark.parametrize("compress", [None, uid.RLELossless, uid.JPEG2000Lossless])
def test_sound_images_keep_their_values(compress):
    np.testing.assert_array_equal(dicom_pixels.decode(dataset_of(compress=compress)), PIXELS)


def test_signed_values_may_repeat_their_sign_above_the_stored_bits():
    signed = np.array([[-2048, -1], [0, 2047]], np.int16)
    np.testing.assert_array_equal(dicom_pixels.decode(dataset_of(signed)), signed)


@pytest.mark.parametrize(
    ("compress", "tags", "said"),
    [
        (None, {"Rows": 20}, "2880 bytes: expected 1440 for 20 x 36"),
        (None, {"BitsStored": 8, "HighBit": 7}, r"BitsStored \(0028,0101\) is 8, but .* use more"),
        (None, {"HighBit": 15}, r"HighBit \(0028,0102\) is 15: expected 11"),
        (None, {"BitsAllocated": 12}, "is 12: expected 8 or 16 or 32"),
        (None, {"SamplesPerPixel": 2}, "SamplesPerPixel"),
        (None, {"PixelData": b""}, "has 0 bytes"),
        (uid.RLELossless, {"Rows": 30}, "RLE segment of 14[0-9][0-9] pixels: expected 1080"),
        (uid.RLELossless, {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}, "2 RLE segments"),
        (uid.JPEG2000Lossless, {"Columns": 30}, "as 40 x 36 pixels of 1 samples: expected 40 x 30"),
        (uid.JPEG2000Lossless, {"BitsStored": 8, "HighBit": 7}, "but the values are 1..4093"),
        (uid.JPEG2000Lossless, {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}, "compressed"),
    ],
)
def test_a_header_against_its_pixels_is_refused(compress, tags, said):
    with pytest.raises(InputError, match=said):
        dicom_pixels.decode(dataset_of(compress=compress, **tags))


def test_a_jpeg_of_32_bits_never_reaches_the_decoder_that_would_end_the_process():
    stream = b"\xff\xd8\xff\xc0\x00\x0b\x08\x00\x28\x00\x24\x01\x01\x11\x00\xff\xd9"
    dataset = dataset_of(BitsAllocated=32, PixelData=encaps.encapsulate([stream]))
    dataset.file_meta.TransferSyntaxUID = uid.JPEGBaseline8Bit
    with pytest.raises(InputError, match="is 32: expected 8 or 16 for JPEG"):
        dicom_pixels.decode(dataset)


@pytest.mark.parametrize("left", [0.5, 0.9, 0.99])
def test_a_stream_without_its_end_is_refused(left):
    dataset = dataset_of(compress=uid.JPEG2000Lossless)
    (frame,) = encaps.generate_frames(dataset.PixelData, number_of_frames=1)
    dataset.PixelData = encaps.encapsulate([frame[: int(len(frame) * left)]])
    with pytest.raises(InputError, match="cut off"):
        dicom_pixels.decode(dataset)
