"""Tests of NIfTI volumes and radiographs."""

import gzip
import io as io_module
import logging

import nibabel as nib
import numpy as np
import pytest
from nibabel import imageglobals

from xr2mri_jax import geometry, io
from xr2mri_jax.errors import InputError

SHEARED = np.array([[0, 0.1, 1.5, 9], [-0.5, 0, 0, 8], [0, -0.5, 0, 7], [0, 0, 0, 1]])
STRAIGHT = np.array([[0, 0, -1.5, 9], [-0.5, 0, 0, 8], [0, -0.25, 0, 7], [0, 0, 0, 1]])


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32"])
def test_volume_and_file_are_the_same(tmp_path, dtype):
    array = np.arange(60).reshape(3, 4, 5).astype(dtype)
    path = tmp_path / "a" / "x.nii.gz"
    io.write_nifti(path, geometry.Volume(array, STRAIGHT))
    image = nib.Nifti1Image.from_filename(path)
    assert image.get_data_dtype() == dtype
    assert (int(image.header["sform_code"]), int(image.header["qform_code"])) == (1, 1)
    assert image.header.get_xyzt_units()[0] == "mm"
    np.testing.assert_allclose(image.get_qform(), STRAIGHT, atol=1e-5)
    path = path.rename(tmp_path / "no-extension")
    volume = io.read_volume(path)
    np.testing.assert_array_equal(volume.array, array)
    assert volume.array.dtype == dtype
    np.testing.assert_allclose(volume.affine, STRAIGHT, atol=1e-6)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_steps_are_stored_in_a_byte_each_and_come_back(tmp_path, suffix):
    values = (np.arange(2 * 3 * 20, dtype=np.float32) / 128).reshape(2, 3, 20)
    path, step = tmp_path / f"v{suffix}", 1 / 128
    io.write_nifti(path, geometry.Volume(values, np.diag([2.0, 3, 4, 1])), step)
    image = nib.load(path)
    assert image.get_data_dtype() == np.uint8 and image.dataobj.slope == step
    np.testing.assert_array_equal(image.get_fdata(), values)
    np.testing.assert_array_equal(io.read_volume(path).array, values)
    for wrong in (values - 0.1, values + 2, np.full_like(values, np.nan)):
        with pytest.raises(InputError, match="255 steps"):
            io.write_nifti(path, geometry.Volume(wrong, np.eye(4)), step)


def test_a_sheared_affine_leaves_the_qform_unset(tmp_path):
    path = tmp_path / "x.nii"
    io.write_nifti(path, geometry.Volume(np.zeros((3, 40, 5), np.uint8), SHEARED))
    image = nib.Nifti1Image.from_filename(path)
    assert (int(image.header["sform_code"]), int(image.header["qform_code"])) == (1, 0)
    np.testing.assert_allclose(io.read_volume(path).affine, SHEARED, atol=1e-6)


def test_writing_refuses_names_and_types(tmp_path):
    volume = geometry.Volume(np.zeros((2, 2, 2), bool), np.eye(4))
    with pytest.raises(InputError, match=r"\.nii or \.nii\.gz"):
        io.write_nifti(tmp_path / "x.mha", volume)
    with pytest.raises(InputError, match="cannot hold bool"):
        io.write_nifti(tmp_path / "x.nii", volume)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_scaled_big_endian_and_nifti_2(tmp_path, kind):
    array = np.arange(24, dtype=">i2").reshape(2, 3, 4)
    header = kind.header_class(endianness=">")
    header.set_data_dtype(">i2")
    image = kind(array, STRAIGHT, header)
    image.header.set_slope_inter(0.5, 3)
    path = tmp_path / "x.nii"
    path.write_bytes(image.to_bytes())
    volume = io.read_volume(path)
    assert volume.array.dtype == np.float32
    np.testing.assert_allclose(volume.array, kind.from_bytes(path.read_bytes()).dataobj, atol=1e-5)
    plain = kind(array, STRAIGHT, header)
    plain.header.set_slope_inter(1, 0)
    path.write_bytes(plain.to_bytes())
    volume = io.read_volume(path)
    assert volume.array.dtype == np.dtype("=i2")
    np.testing.assert_array_equal(volume.array, array)


def saved(path, array, affine=STRAIGHT, sform=1, qform=0, **changes):
    image = nib.Nifti1Image(array, affine)
    image.set_sform(affine, sform)
    image.set_qform(affine if qform else None, qform)
    content = bytearray(image.to_bytes())
    header = np.frombuffer(content, image.header.template_dtype, 1)
    for name, value in changes.items():
        header[name] = value
    path.write_bytes(content)
    return path


def test_the_qform_serves_where_there_is_no_sform(tmp_path):
    path = saved(tmp_path / "x", np.zeros((2, 3, 4), np.uint8), sform=0, qform=1)
    np.testing.assert_allclose(io.read_volume(path).affine, STRAIGHT, atol=1e-6)


@pytest.mark.parametrize(
    "change",
    [
        np.diag([1.0, 1, 1, 1]),
        np.array([[1, 0, 0, 0.9], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]),
        np.array([[1, 0, 0, 0], [0, 1, 0, 7], [0, 0, 1, 0], [0, 0, 0, 1.0]]),
        np.diag([-1.0, 1, 1, 1]),
        np.array([[0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]),
    ],
    ids=["same", "below 1 mm", "moved", "mirrored", "turned"],
)
def test_where_sform_and_qform_differ_the_sform_is_followed_and_it_is_said(tmp_path, change):
    array = np.zeros((20, 30, 40), np.uint8)
    image = nib.Nifti1Image(array, STRAIGHT)
    image.set_sform(STRAIGHT, 2)
    other = change @ STRAIGHT
    image.set_qform(other, 1)
    (tmp_path / "x").write_bytes(image.to_bytes())
    volume = io.read_volume(tmp_path / "x")
    np.testing.assert_allclose(volume.affine, STRAIGHT, atol=1e-5)
    corners = np.array(np.meshgrid((0, 19), (0, 29), (0, 39), [1])).reshape(4, -1)
    most = np.abs((other - STRAIGHT) @ corners).max()
    said = [
        f"sform (code 2) and qform (code 1) are up to {most:.4g} mm apart: the sform is followed"
    ]
    assert list(volume.doubts) == (said if most > 1 else [])


@pytest.mark.parametrize(
    ("array", "changes", "said"),
    [
        (np.zeros((2, 3, 4, 2), np.uint8), {}, r"\(2, 3, 4, 2\), expected three axes"),
        (np.zeros((2, 3), np.uint8), {}, "expected three axes"),
        (np.zeros((2, 3, 4), np.complex64), {}, "expected real numbers"),
        (np.zeros((2, 3, 4), np.uint8), {"sform": 0}, "neither sform nor qform"),
        (np.zeros((2, 3, 4), np.uint8), {"magic": b"ni1"}, "pair, expected a name"),
        (np.zeros((2, 3, 4), np.uint8), {"srow_x": 0}, "cannot be inverted"),
    ],
)
def test_volumes_that_are_refused(tmp_path, array, changes, said):
    path = saved(tmp_path / "odd", array, **changes)
    with pytest.raises(InputError, match=said) as caught:
        io.read_volume(path)
    assert "odd" in str(caught.value)


def test_a_broken_header_is_one_error_and_nothing_else_is_said(tmp_path):
    path = saved(tmp_path / "odd", np.zeros((2, 3, 4), np.uint8), datatype=77, pixdim=-1)
    said = io_module.StringIO()
    handler = logging.StreamHandler(said)
    imageglobals.logger.addHandler(handler)
    try:
        with pytest.raises(InputError, match="odd: cannot be read as NIfTI"):
            io.read_volume(path)
        assert said.getvalue() == ""
        with pytest.raises(nib.spatialimages.HeaderDataError):
            nib.Nifti1Image.from_bytes(path.read_bytes())
        assert "77" in said.getvalue()
    finally:
        imageglobals.logger.removeHandler(handler)


def test_an_immense_header_is_refused_before_anything_is_allocated(tmp_path):
    path = saved(
        tmp_path / "x", np.zeros((2, 3, 4), np.uint8), dim=[3, 30000, 30000, 30000] + [1] * 4
    )
    with pytest.raises(InputError, match="more than 200000000 voxels"):
        io.read_volume(path)


def test_a_fourth_axis_of_one_is_dropped(tmp_path):
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4, 1)
    volume = io.read_volume(saved(tmp_path / "x", array))
    np.testing.assert_array_equal(volume.array, array[..., 0])


def test_a_volume_is_no_radiograph(tmp_path):
    path = saved(tmp_path / "x", np.zeros((2, 3, 4), np.uint8))
    with pytest.raises(InputError, match=r"volume of shape \(2, 3, 4\), expected a radiograph"):
        io.read_radiograph(path)


def test_a_coronal_picture_is_turned_as_it_is_displayed(tmp_path):
    """Written R L along the first axis and I S along the third, in every direction."""
    shown = np.arange(12, dtype=np.float32).reshape(3, 4)  # rows S to I, columns R to L
    for x in (-1, 1):
        for z in (-1, 1):
            stored = (shown[::-1] if z > 0 else shown).T
            stored = stored[::-1] if x > 0 else stored
            affine = np.diag([x * 0.5, 9.0, z * 0.25, 1.0])
            path = saved(tmp_path / "x", stored[:, None, :], affine)
            radiograph = io.read_radiograph(path, side="right")
            np.testing.assert_array_equal(radiograph.array, shown)
            assert radiograph.spacing == (0.25, 0.5)
            assert radiograph.side == "right"
            turned = affine[:, [2, 1, 0, 3]]
            path = saved(tmp_path / "y", stored.T[:, None, :], turned)
            np.testing.assert_array_equal(io.read_radiograph(path).array, shown)


@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 1), (4, 3, 1, 1)])
def test_a_plain_picture_has_its_columns_along_the_first_axis(tmp_path, shape):
    shown = np.arange(12, dtype=np.int16).reshape(3, 4)
    affine = np.diag([-0.5, -0.25, 1.0, 1.0])
    path = saved(tmp_path / "x", np.ascontiguousarray(shown.T).reshape(shape), affine)
    radiograph = io.read_radiograph(path)
    np.testing.assert_array_equal(radiograph.array, shown)
    assert radiograph.spacing == (0.25, 0.5)
    assert io.read_radiograph(path, spacing=2).spacing == (2, 2)


@pytest.mark.parametrize(
    ("affine", "rows_up"),
    [
        (np.diag([-0.5, -0.25, 1.0, 1.0]), False),  # ITK
        (np.diag([-0.5, 0.25, 1.0, 1.0]), True),  # dcm2niix
        (np.diag([0.5, 0.25, 1.0, 1.0]), False),  # whoever writes no direction
    ],
)
def test_rows_of_a_picture_that_lies_in_the_axial_plane(tmp_path, affine, rows_up):
    shown = np.arange(12, dtype=np.float32).reshape(3, 4)
    stored = (shown[::-1] if rows_up else shown).T[..., None]
    radiograph = io.read_radiograph(saved(tmp_path / "x", stored, affine))
    np.testing.assert_array_equal(radiograph.array, shown)
    assert radiograph.spacing == (0.25, 0.5)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_pixels_of_a_picture_that_are_no_number_are_background(tmp_path, value):
    shown = np.arange(12, dtype=np.float32).reshape(3, 4) + 5
    shown[0] = value
    radiograph = io.read_radiograph(
        saved(tmp_path / "x", shown.T[..., None], np.diag([-1, -1, 1, 1]))
    )
    np.testing.assert_array_equal(radiograph.array[0], shown[1, 0])
    np.testing.assert_array_equal(radiograph.background, ~np.isfinite(shown))
    assert "taken as background" in radiograph.doubts[0]
    with pytest.raises(InputError, match="no pixel that is a finite number"):
        io.read_radiograph(saved(tmp_path / "y", np.full((4, 3, 1), np.float32(value))))


def test_a_picture_without_form_and_with_unit_voxels_has_no_spacing(tmp_path):
    path = saved(tmp_path / "x", np.zeros((4, 3, 1), np.uint8), np.eye(4), sform=0)
    assert io.read_radiograph(path).spacing is None
    path = saved(tmp_path / "y", np.zeros((4, 3, 1), np.uint8), np.diag([0.2, 0.3, 1, 1]), sform=0)
    assert io.read_radiograph(path).spacing == pytest.approx((0.3, 0.2))


def test_zipped_data_that_are_cut_are_refused(tmp_path):
    array = np.random.default_rng(0).integers(0, 255, (20, 20, 20), np.uint8)
    data = gzip.compress(nib.Nifti1Image(array, np.eye(4)).to_bytes())
    (tmp_path / "x").write_bytes(data[:4000])
    with pytest.raises(InputError, match="cannot be read as NIfTI"):
        io.read_volume(tmp_path / "x")
