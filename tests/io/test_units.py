"""Tests of volumes whose header says lengths in another unit than mm."""

import nibabel
import nrrd
import numpy as np
import pytest

from xr2mri_jax import io
from xr2mri_jax.errors import InputError

ARRAY = np.arange(60, dtype=np.uint8).reshape(3, 4, 5)
# Of 0.5 x 0.25 x 1.5 mm voxels: the unit's name, and its size in mm.
UNITS = {"m": 1000.0, "um": 0.001, "mm": 1.0}
AFFINE = np.array([[-0.5, 0, 0, 10], [0, -0.25, 0, 20], [0, 0, 1.5, 30], [0, 0, 0, 1.0]])


def in_unit(mm):
    return np.diag([1 / mm] * 3 + [1]) @ AFFINE


def nifti(path, unit, affine):
    image = nibabel.Nifti1Image(ARRAY, affine)
    image.header.set_xyzt_units({"m": "meter", "um": "micron", "mm": "mm"}[unit])
    nibabel.save(image, path)


def nrrd_file(path, unit, affine):
    header = {
        "space": "right-anterior-superior",
        "space directions": affine[:3, :3].T,
        "space origin": affine[:3, 3],
        "space units": [unit] * 3,
    }
    nrrd.write(str(path), ARRAY, header)


def metaimage(path, unit, affine):
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    directions = np.diag([-1, -1, 1]) @ affine[:3, :3] / sizes
    fields = {
        "NDims": 3,
        "TransformMatrix": " ".join(map(str, directions.T.ravel())),
        "Offset": " ".join(map(str, np.diag([-1, -1, 1]) @ affine[:3, 3])),
        "ElementSpacing": " ".join(map(str, sizes)),
        "DimSize": "3 4 5",
        "DistanceUnits": unit,
        "ElementType": "MET_UCHAR",
        "ElementDataFile": "LOCAL",
    }
    text = "".join(f"{name} = {value}\n" for name, value in fields.items())
    path.write_bytes(text.encode() + ARRAY.tobytes(order="F"))


FORMATS = {"x.nii": nifti, "x.nrrd": nrrd_file, "x.mha": metaimage}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("unit", UNITS)
def test_lengths_become_mm(tmp_path, name, unit):
    FORMATS[name](tmp_path / name, unit, in_unit(UNITS[unit]))
    volume = io.read_volume(tmp_path / name)
    np.testing.assert_array_equal(volume.array, ARRAY)
    np.testing.assert_allclose(volume.affine, AFFINE, rtol=1e-5)
    assert volume.doubts == ()


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("unit", ["m", "um"])
def test_a_unit_that_no_voxel_has_is_refused(tmp_path, name, unit):
    FORMATS[name](tmp_path / name, unit, AFFINE)
    with pytest.raises(InputError, match=r"voxels of .* mm, expected 0.01 to 64 mm"):
        io.read_volume(tmp_path / name)


def test_a_radiograph_in_another_unit(tmp_path):
    picture = nibabel.Nifti1Image(ARRAY[:, :1], in_unit(1000.0))
    picture.header.set_xyzt_units("meter")
    nibabel.save(picture, tmp_path / "x.nii")
    assert io.read_radiograph(tmp_path / "x.nii").spacing == pytest.approx((1.5, 0.5))
