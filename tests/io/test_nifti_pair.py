"""NIfTI in two files, whichever of the two is named."""

import gzip

import nibabel as nib
import numpy as np
import pytest

from xr2mri_jax import io
from xr2mri_jax.errors import InputError
from xr2mri_jax.io import formats
from xr2mri_jax.io.label_map import read_label_map

AFFINE = np.array([[0, 0, 0.7, 5], [-0.36, 0, 0, 9], [0, -0.36, 0, 3], [0, 0, 0, 1.0]])
ARRAY = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)


def pair(folder, kind=nib.Nifti1Pair, form="sform", array=ARRAY):
    """Writes k.hdr and k.img."""
    image = kind(array, AFFINE)
    image.header.set_xyzt_units("mm")
    image.set_sform(AFFINE if form == "sform" else None, int(form == "sform"))
    image.set_qform(AFFINE if form == "qform" else None, int(form == "qform"))
    nib.save(image, folder / "k.img")
    return folder / "k.hdr", folder / "k.img"


@pytest.mark.parametrize("form", ["sform", "qform"])
@pytest.mark.parametrize("kind", [nib.Nifti1Pair, nib.Nifti2Pair])
def test_both_files_of_a_pair_are_the_volume(tmp_path, kind, form):
    for path in pair(tmp_path, kind, form):
        assert formats.sniff(path) == "nifti"
        volume = io.read_volume(path)
        np.testing.assert_array_equal(volume.array, ARRAY)
        assert volume.array.dtype == np.int16 and volume.doubts == ()
        np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-5)


@pytest.mark.parametrize(
    ("header", "voxels"),
    [("K.HDR", "K.IMG"), ("k.hdr.gz", "k.img.gz"), ("k.hdr", "k.img.gz"), ("m.hdr", "m.img")],
)
def test_names_of_a_pair(tmp_path, header, voxels):
    folder = tmp_path / "named"
    folder.mkdir()
    for source, name in zip(pair(tmp_path), (header, voxels), strict=True):
        content = source.read_bytes()
        packed = gzip.compress(content) if name.endswith(".gz") else content
        (folder / name).write_bytes(packed)
    for name in (header, voxels):
        np.testing.assert_array_equal(io.read_volume(folder / name).array, ARRAY)


def test_voxels_behind_an_offset_big_endian_and_scaled(tmp_path):
    header, voxels = pair(tmp_path)
    content = voxels.read_bytes()
    head = nib.nifti1.Nifti1PairHeader(header.read_bytes()[:348])
    head["vox_offset"], head["scl_slope"], head["scl_inter"] = 32, 2, 1
    header.write_bytes(head.as_byteswapped(">").binaryblock)
    swapped = np.frombuffer(content, "<i2").astype(">i2").tobytes()
    voxels.write_bytes(bytes(32) + swapped)
    np.testing.assert_array_equal(io.read_volume(header).array, 2.0 * ARRAY + 1)


def test_a_label_map_in_two_files(tmp_path):
    header, voxels = pair(tmp_path, array=ARRAY % 5)
    for path in (header, voxels):
        np.testing.assert_array_equal(read_label_map(path).volume.array, ARRAY % 5)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda header, voxels: voxels.unlink(), "there is no .img beside it"),
        (lambda header, voxels: voxels.write_bytes(voxels.read_bytes()[:-3]), "needs"),
        (lambda header, voxels: voxels.write_bytes(voxels.read_bytes() + b"123"), "needs"),
        (lambda header, voxels: header.write_bytes(header.read_bytes()[:200]), "unknown kind"),
        (
            lambda header, voxels: voxels.rename(voxels.with_name("k.img.gz")).write_bytes(
                gzip.compress(ARRAY.tobytes())[:-9]
            ),
            "cut off",
        ),
    ],
)
def test_broken_pairs_are_refused(tmp_path, change, said):
    header, voxels = pair(tmp_path)
    change(header, voxels)
    with pytest.raises(InputError, match=said) as caught:
        io.read_volume(header)
    assert "k.hdr" in str(caught.value)


def test_voxels_without_a_header_are_of_no_kind(tmp_path):
    header, voxels = pair(tmp_path)
    header.unlink()
    with pytest.raises(InputError, match=r"k\.img: unknown kind of file"):
        io.read_volume(voxels)
