"""Tests of telling files apart by content and of the one error for bad files."""

import gzip
import logging
import os

import nibabel as nib
import numpy as np
import pytest
from made_dicom import made
from PIL import Image

from xr2mri_jax import io
from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import Volume
from xr2mri_jax.io import formats


def saved(path, kind):
    """Writes a small file of the named format under a name that does not tell."""
    pixels = np.random.default_rng(0).integers(0, 255, (40, 30), np.uint8)
    if kind in ("png", "jpeg", "tiff"):
        Image.fromarray(pixels).save(path, format=kind)
    elif kind.startswith("nifti"):
        data = nib.Nifti1Image(pixels[..., None], np.eye(4)).to_bytes()
        path.write_bytes(gzip.compress(data) if kind.endswith("gz") else data)
    return path


@pytest.mark.parametrize("kind", ["png", "jpeg", "tiff", "nifti", "nifti gz"])
def test_content_tells_the_format(tmp_path, kind):
    path = saved(tmp_path / "001", kind)
    assert formats.sniff(path) == kind.split()[0]
    assert io.read_radiograph(path).array.size == 1200


@pytest.mark.parametrize("reader", [io.read_radiograph, io.read_volume])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no such file"),
        (b"", "empty"),
        (b"patient,side\n1,left\n" * 40, "unknown kind of file"),
        (b"\x89PNG", "unknown kind of file"),
        (b"\x1f\x8b broken", "broken gzip"),
        (gzip.compress(b"text" * 200, mtime=0), "unknown kind of file"),
        (b"\0" * 128 + b"DICM" + b"\xff" * 50, "broken"),
    ],
)
def test_bad_files_are_one_line_with_their_name(tmp_path, reader, content, said):
    path = tmp_path / "broken"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=said) as caught:
        reader(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("reader", [io.read_radiograph, io.read_volume])
@pytest.mark.parametrize("kind", ["png", "tiff", "dicom", "nrrd", "metaimage"])
def test_gzipped_files_of_formats_that_are_read_unpacked(tmp_path, reader, kind):
    content = {"nrrd": b"NRRD0004\ntype: short\n", "metaimage": b"ObjectType = Image\n"}.get(kind)
    if content is None:
        write = made if kind == "dicom" else lambda path: saved(path, kind)
        content = write(tmp_path / "plain").read_bytes()
    path = tmp_path / "zipped"
    path.write_bytes(gzip.compress(content))
    name = formats.NAMES[kind]
    with pytest.raises(InputError, match=f"{name} file is gzipped, expected it unpacked"):
        reader(path)


@pytest.mark.parametrize("reader", [io.read_radiograph, io.read_volume])
def test_a_pipe_is_refused_without_waiting_for_its_writer(tmp_path, reader):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="pipe: is a pipe, socket or device"):
        reader(tmp_path / "pipe")


@pytest.mark.parametrize("kind", ["png", "jpeg", "tiff", "nifti", "nifti gz"])
@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_truncated_files_are_refused(tmp_path, kind, kept):
    path = saved(tmp_path / "cut", kind)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(InputError, match="cut"):
        io.read_radiograph(path)


def test_folders(tmp_path):
    with pytest.raises(InputError, match="is a folder"):
        io.read_radiograph(tmp_path)
    with pytest.raises(InputError, match="no files in this folder"):
        io.read_volume(tmp_path)


def test_a_picture_is_no_volume(tmp_path):
    with pytest.raises(InputError, match="PNG, expected an MRI volume"):
        io.read_volume(saved(tmp_path / "x", "png"))


def test_arguments_are_checked(tmp_path):
    path = saved(tmp_path / "x", "png")
    with pytest.raises(InputError, match="spacing -1"):
        io.read_radiograph(path, spacing=-1)
    with pytest.raises(InputError, match="'both'"):
        io.read_radiograph(path, side="both")


def test_every_error_while_reading_becomes_an_input_error():
    with (
        pytest.raises(
            InputError, match=r"f\.png: cannot be read as X \(ZeroDivisionError: one two"
        ),
        formats.reading("f.png", "X"),
    ):
        raise ZeroDivisionError("one\ntwo")
    with pytest.raises(InputError, match=r"^f\.png: bad$"), formats.reading("f.png", "X"):
        raise InputError("bad")
    with pytest.raises(InputError, match=r"^f\.png is bad$"), formats.reading("f.png", "X"):
        raise InputError("f.png is bad")
    with pytest.raises(KeyboardInterrupt), formats.reading("f.png", "X"):
        raise KeyboardInterrupt


def test_what_decoders_log_beside_their_error_is_not_heard(caplog):
    logger = logging.getLogger("pydicom.pixels.decoders.base")
    said = pytest.raises(InputError, match="cannot be read as DICOM")
    with said, formats.reading("file", "DICOM"):
        logger.error("a traceback of one of several decoders")
        raise RuntimeError("none could decode it")
    assert caplog.text == ""
    logger.error("elsewhere")
    assert "elsewhere" in caplog.text


def test_a_message_stays_short_and_one_line():
    with pytest.raises(InputError) as caught, formats.reading("file", "DICOM"):
        raise InputError("Rows is [" + "3,\n" * 2000)
    assert len(str(caught.value)) < 700 and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("affine", "said"),
    [
        (np.diag((1e-3, 1, 1, 1)), "voxels of 0.001"),
        (np.diag((100, 1, 1, 1)), "voxels of 100"),
        (np.diag((50, 50, 50, 1)), "a field of"),
        (np.array([[1, 0, 0, 1e6], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), "from the origin"),
        (np.array([[1, 0.9, 0, 0], [0, 0.3, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), "45 degrees"),
    ],
)
def test_an_impossible_geometry_is_refused(affine, said):
    volume = Volume(np.zeros((4, 4, 80), np.uint8), affine)
    with pytest.raises(InputError, match=said):
        formats.require_plausible(volume, "file")
