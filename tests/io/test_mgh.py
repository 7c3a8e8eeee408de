"""Tests of FreeSurfer's volumes, written by nibabel."""

import gzip
import io as io_module

import nibabel as nib
import numpy as np
import pytest

from xr2mri_jax import io
from xr2mri_jax.errors import InputError
from xr2mri_jax.io.formats import sniff
from xr2mri_jax.io.label_map import map_files, read_label_map

AFFINE = np.array([[-0.5, 0.1, 0, 5], [0.1, 0, 1.5, -7], [0, -0.4, 0.2, 9], [0, 0, 0, 1]])
AFFINE[:3, 1] -= AFFINE[:3, 0] * (AFFINE[:3, 0] @ AFFINE[:3, 1] / (AFFINE[:3, 0] @ AFFINE[:3, 0]))
SHAPE = (6, 7, 9)


def content(dtype="int16", affine=AFFINE, shape=SHAPE):
    array = np.random.default_rng(0).integers(0, 99, shape).astype(dtype)
    stream = io_module.BytesIO()
    image = nib.MGHImage(array, affine)
    image.to_file_map({"image": nib.FileHolder(fileobj=stream)})
    return array, stream.getvalue()


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "float32"])
@pytest.mark.parametrize("name", ["x.mgh", "x.mgz", "X.MGZ", "no_ending"])
def test_voxels_and_affine_are_those_that_nibabel_reads(tmp_path, dtype, name):
    array, data = content(dtype)
    path = tmp_path / name
    path.write_bytes(gzip.compress(data) if "z" in name.lower() else data)
    assert sniff(path) == "mgh"
    volume = io.read_volume(path)
    assert volume.array.dtype == dtype
    np.testing.assert_array_equal(volume.array, array)
    np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-5)


def test_a_label_map(tmp_path):
    array, data = content("int32")
    (tmp_path / "a.mgz").write_bytes(gzip.compress(data))
    (path,) = map_files(tmp_path)
    np.testing.assert_array_equal(read_label_map(path).volume.array, array)
    with pytest.raises(InputError, match="MGH, expected a radiograph"):
        io.read_radiograph(path)


def changed(at, new):
    return lambda data: data[:at] + new + data[at + len(new) :]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: data[:-40], r"need 756 bytes, found"),
        (lambda data: data[:200], "no MGH header"),
        (changed(28, b"\0\0"), "has no geometry"),
        (changed(16, b"\0\0\0\2"), "holds 2 frames"),
        (changed(4, b"\0\0\x7f\xff" * 3), "need .* bytes, more than"),
        (changed(4, b"\0\0\x03\xff" * 2), "need .* bytes, the file is cut off"),
        (changed(42, b"\0" * 12), "not unit vectors"),
        (changed(78, b"\x7f\xc0\0\0"), "not unit vectors"),
        (changed(30, b"\x47\0\0\0"), "voxels of"),
        (lambda data: data + bytes((1 << 24) + 1), "follow the voxels"),
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_broken_files_are_refused_in_one_line(tmp_path, change, said, zipped):
    _, data = content()
    path = tmp_path / "x.mgz"
    path.write_bytes(gzip.compress(change(data)) if zipped else change(data))
    with pytest.raises(InputError, match=said) as caught:
        io.read_volume(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_damaged_and_cut_off_gzip_is_refused(tmp_path):
    data = gzip.compress(content()[1])
    for bad in (data[:-9], data[:-6] + b"\0\0" + data[-4:], data[: len(data) // 2]):
        (tmp_path / "x.mgz").write_bytes(bad)
        with pytest.raises(InputError, match=r"x\.mgz"):
            io.read_volume(tmp_path / "x.mgz")
