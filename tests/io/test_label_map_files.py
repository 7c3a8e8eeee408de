"""Label maps as programs write them: 3D Slicer, layers, names in headers, gaps."""

import gzip

import nibabel as nib
import nrrd
import numpy as np
import pytest

from xr2mri_jax.errors import InputError
from xr2mri_jax.io.label_map import read_label_map

LABELS = np.arange(60, dtype=np.uint8).reshape(3, 4, 5) % 5
AFFINE = np.diag([-0.5, -0.6, 0.7, 1.0])
SPACE = {
    "space": "left-posterior-superior",
    "space directions": [[0.5, 0, 0], [0, 0.6, 0], [0, 0, 0.7]],
    "space origin": [0, 0, 0],
}


def segment(number, **fields):
    return {f"Segment{number}_{name}": value for name, value in fields.items()}


def saved(path, array=LABELS, **header):
    nrrd.write(str(path), array, {**SPACE, **header})
    return path


def test_slicers_names_and_values(tmp_path):
    header = {
        **segment(0, ID="Segment_1", Name="Femur", LabelValue="3", Layer="0"),
        **segment(1, ID="Segment_2", Name="Tibia", LabelValue="1", Layer="0"),
    }
    found = read_label_map(saved(tmp_path / "x.seg.nrrd", **header))
    np.testing.assert_array_equal(found.volume.array, LABELS)
    np.testing.assert_allclose(found.volume.affine, AFFINE)
    assert found.names == {3: "Femur", 1: "Tibia"}
    assert found.source == "the 3D Slicer header"


def test_before_layers_had_numbers_every_segment_had_its_own(tmp_path):
    masks = np.stack([LABELS == 2, LABELS == 1, LABELS == 4]).astype(np.uint8)
    header = {}
    for k, name in enumerate(("Tibia", "Femur", "Patella")):
        header |= segment(k, ID=f"Segment_{k}", Name=name, Extent="0 2 0 3 0 4")
    directions = [[np.nan] * 3, *SPACE["space directions"]]
    path = saved(tmp_path / "x.seg.nrrd", masks, **header, **{"space directions": directions})
    found = read_label_map(path)
    by_name = {name: found.volume.array == code for code, name in found.names.items()}
    for code, name in ((2, "Tibia"), (1, "Femur"), (4, "Patella")):
        np.testing.assert_array_equal(by_name[name], code == LABELS)


@pytest.mark.parametrize("name", ["Segment_1", "segment 2", "Segment"])
def test_an_automatic_name_gives_way_to_the_terminology(tmp_path, name):
    tags = (
        "TerminologyEntry:Segmentation category and type - 3D Slicer General Anatomy list"
        "~SCT^123037004^Anatomical Structure~SCT^71341001^Femur~^^~Anatomic codes~^^~^^|"
    )
    header = segment(0, Name=name, LabelValue="1", Layer="0", Tags=tags)
    assert read_label_map(saved(tmp_path / "x.seg.nrrd", **header)).names == {1: "Femur"}


def layered(*masks):
    return np.stack(masks).astype(np.uint8)


def test_layers_are_one_map_in_which_the_thinner_part_stays(tmp_path):
    bone, cartilage = np.zeros((2, 6, 5, 4), np.uint8)
    bone[:4], cartilage[3:5, 1:3] = 1, 1
    bone[5] = 2
    header = {
        "space directions": [[np.nan] * 3, *SPACE["space directions"]],
        "kinds": ["list", "domain", "domain", "domain"],
        **segment(0, Name="Femur", LabelValue="1", Layer="0"),
        **segment(1, Name="Tibia", LabelValue="2", Layer="0"),
        **segment(2, Name="Femoral Cartilage", LabelValue="1", Layer="1"),
    }
    path = saved(tmp_path / "x.seg.nrrd", layered(bone, cartilage), **header)
    found = read_label_map(path)
    expected = np.where(cartilage == 1, 3, bone)
    np.testing.assert_array_equal(found.volume.array, expected)
    assert found.names == {1: "Femur", 2: "Tibia", 3: "Femoral Cartilage"}
    assert found.volume.doubts[0] == "segments of 2 layers are put into one map"
    assert found.volume.doubts[1].startswith("8 voxels lie in several segments")


@pytest.mark.parametrize("axis", [0, 3])
def test_the_axis_of_layers_may_be_any(tmp_path, axis):
    bone = np.zeros((6, 5, 4), np.uint8)
    bone[:3] = 1
    directions = list(SPACE["space directions"])
    directions.insert(axis, [np.nan] * 3)
    header = {
        "space directions": directions,
        **segment(0, Name="Femur", LabelValue="1", Layer="0"),
        **segment(1, Name="Tibia", LabelValue="1", Layer="1"),
    }
    array = np.moveaxis(layered(bone, bone[::-1]), 0, axis)
    found = read_label_map(saved(tmp_path / "x.seg.nrrd", array, **header))
    np.testing.assert_array_equal(found.volume.array, bone + 2 * bone[::-1])


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (segment(0, Name="Femur", LabelValue="1", Layer="3"), "missing layer"),
        (
            segment(0, Name="Femur", LabelValue="many", Layer="0"),
            "Segment0 has no valid label value",
        ),
        (segment(0, Name="Femur", LabelValue="1", Layer="-1"), "Segment0 has no valid label value"),
    ],
)
def test_segments_that_cannot_be(tmp_path, fields, said):
    with pytest.raises(InputError, match=said) as caught:
        read_label_map(saved(tmp_path / "x.seg.nrrd", **fields))
    assert "x.seg.nrrd" in str(caught.value)


@pytest.mark.parametrize("zipped", [False, True])
def test_names_in_a_nifti_extension(tmp_path, zipped):
    image = nib.Nifti1Image(LABELS, AFFINE)
    image.set_sform(AFFINE, 1)
    text = (
        "<?xml version='1.0'?><CaretExtension><VolumeInformation><LabelTable>"
        '<Label Key="0" Red="0">unknown</Label><Label Key="75" Red="1">femur_left</Label>'
        '<Label Key="2" Red="1"><![CDATA[tibia]]></Label></LabelTable></VolumeInformation>'
    )
    image.header.extensions.append(nib.nifti1.Nifti1Extension(0, text.encode()))
    path = tmp_path / "x"
    content = image.to_bytes()
    path.write_bytes(gzip.compress(content) if zipped else content)
    found = read_label_map(path)
    assert found.names == {75: "femur_left", 2: "tibia"}
    np.testing.assert_array_equal(found.volume.array, LABELS)


@pytest.mark.parametrize("where", [np.s_[0], np.s_[:, -1], np.s_[1, 1, 1]])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_voxels_that_are_no_number_are_background(tmp_path, where, value):
    array = LABELS.astype(np.float32)
    array[where] = value
    image = nib.Nifti1Image(array, AFFINE)
    image.set_sform(AFFINE, 1)
    nib.save(image, tmp_path / "x.nii")
    found = read_label_map(tmp_path / "x.nii")
    np.testing.assert_array_equal(found.volume.array, np.where(np.isfinite(array), LABELS, 0))
    kind = "not a number (NaN)" if np.isnan(value) else "infinite or not a number"
    assert f"% of the voxels are {kind}: taken as outside the field" in found.volume.doubts[0]


@pytest.mark.parametrize("off", [1e-7, -4e-4, 1e-3])
def test_whole_numbers_may_be_a_little_off(tmp_path, off):
    array = LABELS.astype(np.float64) + np.float64(off) * (LABELS > 0)
    image = nib.Nifti1Image(array, AFFINE)
    image.set_sform(AFFINE, 1)
    nib.save(image, tmp_path / "x.nii")
    found = read_label_map(tmp_path / "x.nii")
    np.testing.assert_array_equal(found.volume.array, LABELS)
    assert found.volume.array.dtype == np.uint16


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (LABELS * np.float32(0.5), "not whole numbers"),
        (LABELS.astype(np.int16) - 1, "from -1"),
        (LABELS.astype(np.int32) * 20_000, "to 80000"),
        (np.full((2, 2, 2), np.nan, np.float32), "no voxel that is a finite number"),
        (np.full((2, 2, 2), -np.inf, np.float32), "no voxel that is a finite number"),
        (LABELS + np.float32(0.002), "not whole numbers"),
    ],
)
def test_what_is_no_label_map(tmp_path, array, said):
    image = nib.Nifti1Image(array, AFFINE)
    image.set_sform(AFFINE, 1)
    nib.save(image, tmp_path / "odd.nii")
    with pytest.raises(InputError, match=said) as caught:
        read_label_map(tmp_path / "odd.nii")
    assert "odd.nii" in str(caught.value)
