"""MetaImage volumes: .mha and .mhd, raw and packed, LPS; and NRRD with its data beside it."""

import bz2
import gzip
import zlib

import numpy as np
import pytest

from xr2mri_jax import io
from xr2mri_jax.errors import InputError

ARRAY = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
RAW = ARRAY.tobytes(order="F")
TEXT = "\n".join(map(str, ARRAY.ravel(order="F"))).encode()
# Axis i grows to LPS +y, j to -z, k to -x: each row of TransformMatrix is an axis's direction.
FIELDS = {
    "ObjectType": "Image",
    "NDims": "3",
    "BinaryData": "True",
    "BinaryDataByteOrderMSB": "False",
    "CompressedData": "False",
    "TransformMatrix": "0 1 0 0 0 -1 -1 0 0",
    "Offset": "10 20 30",
    "CenterOfRotation": "0 0 0",
    "AnatomicalOrientation": "PIL",
    "ElementSpacing": "0.5 0.25 1.5",
    "DimSize": "2 3 4",
    "ElementType": "MET_SHORT",
}


def header(data_file="LOCAL", **changes):
    fields = {**FIELDS, **changes, "ElementDataFile": data_file}
    return "".join(f"{k} = {v}\n" for k, v in fields.items() if v is not None).encode()


def written(folder, data=RAW, name="x.mha", **changes):
    (folder / name).write_bytes(header(**changes) + data)
    return folder / name


def check(path):
    volume = io.read_volume(path)
    np.testing.assert_array_equal(volume.array, ARRAY)
    assert volume.array.dtype == np.int16 and volume.array.dtype.isnative
    assert volume.spacing == (0.5, 0.25, 1.5)
    # LPS (10 - 3 * 1.5, 20 + 0.5, 30 - 2 * 0.25), turned to RAS.
    np.testing.assert_allclose(volume.world([1, 2, 3]), (-5.5, -20.5, 29.5))


@pytest.mark.parametrize(
    ("data", "changes"),
    [
        (RAW, {}),
        (zlib.compress(RAW), {"CompressedData": "True"}),
        (gzip.compress(RAW, mtime=0), {"CompressedData": "True", "CompressedDataSize": "44"}),
        (ARRAY.astype(">i2").tobytes(order="F"), {"BinaryDataByteOrderMSB": "True"}),
        (RAW, {"NDims": "4", "DimSize": "2 3 4 1", "ElementSpacing": "0.5 0.25 1.5 1"}),
        (TEXT, {"BinaryData": "False"}),
        (RAW, {"TransformMatrix": None, "Rotation": FIELDS["TransformMatrix"]}),
        (RAW, {"Offset": None, "Position": "10 20 30"}),
        (RAW, {"DistanceUnits": "mm", "Comment": "made"}),
    ],
)
def test_attached_data(tmp_path, data, changes):
    path = written(tmp_path, data, **changes)
    check(path)
    check(path.rename(tmp_path / "no ending"))


@pytest.mark.parametrize(
    ("files", "data_file", "changes"),
    [
        ({"x.raw": RAW}, "x.raw", {}),
        ({"x.zraw": zlib.compress(RAW)}, "x.zraw", {"CompressedData": "True"}),
        ({"x.raw": b"head!" + RAW}, "x.raw", {"HeaderSize": "5"}),
        ({"x.raw": b"any length" + RAW}, "x.raw", {"HeaderSize": "-1"}),
        ({f"s{k}": RAW[12 * k : 12 * k + 12] for k in range(4)}, "LIST\ns0\ns1\ns2\ns3", {}),
        (
            {f"s{k:03d}.raw": RAW[12 * k : 12 * k + 12] for k in range(4)},
            "s%03d.raw 0 3 1",
            {},
        ),
    ],
)
def test_data_beside_the_header(tmp_path, files, data_file, changes):
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "x.mhd").write_bytes(header(data_file, **changes))
    check(tmp_path / "x.mhd")


def test_without_a_matrix_the_axes_are_those_of_itk_and_it_is_said(tmp_path):
    volume = io.read_volume(written(tmp_path, TransformMatrix=None))
    np.testing.assert_allclose(volume.world([1, 2, 3]), (-10.5, -20.5, 34.5))
    assert volume.doubts == (
        "no TransformMatrix: its axes are taken to point to left, back and head",
    )


@pytest.mark.parametrize(
    ("changes", "data", "said"),
    [
        ({"DimSize": "2 3"}, RAW, "DimSize is"),
        ({"DimSize": "2 3 5"}, RAW, "need 60 bytes, found 48"),
        ({"DimSize": "2 3 3"}, RAW, "need 36 bytes, found 48"),
        ({"DimSize": "2000 3000 4000"}, RAW, "three sizes"),
        ({"DimSize": "2 nan 4"}, RAW, "DimSize is not a list"),
        ({"ElementSpacing": None}, RAW, "ElementSpacing is absent"),
        ({"ElementSpacing": "0.5 0 1.5"}, RAW, "above 0 mm"),
        ({"ElementSpacing": "900 1 1"}, RAW, "voxels of 900"),
        ({"TransformMatrix": "1 0 0 0 1 0 0 0 5"}, RAW, "not a rotation"),
        ({"TransformMatrix": "1 0 0 0 1 0"}, RAW, "has 6 numbers"),
        ({"Offset": "a b c"}, RAW, "Offset is not a list"),
        ({"ElementType": "MET_STRING"}, RAW, "ElementType is absent or unknown"),
        ({"ElementNumberOfChannels": "3"}, RAW, "several channels"),
        ({"BinaryData": "False"}, RAW, "text that is not a number"),
        ({"BinaryData": "False"}, TEXT + b" 7", "need 24 numbers, found 25"),
        ({"BinaryData": "False"}, TEXT[:-2], "need 24 numbers, found 23"),
        ({"BinaryData": "False"}, TEXT.replace(b"23", b"2e9"), "leave the range of int16"),
        ({"BinaryData": "False"}, TEXT.replace(b"23", b"2.5"), "leave the range of int16"),
        ({"BinaryData": "False"}, TEXT.replace(b"23", b"x"), "text that is not a number"),
        ({"CompressedData": "perhaps"}, RAW, "neither True nor False"),
        ({"CompressedData": "True"}, RAW, "cannot be read as MetaImage"),
        ({"CompressedData": "True"}, zlib.compress(RAW)[:-6], "found"),
        ({"CompressedData": "True"}, zlib.compress(RAW + bytes(1000)), "found more"),
        ({"DistanceUnits": "furlong"}, RAW, "unknown unit"),
    ],
)
def test_headers_that_contradict_themselves_or_the_data(tmp_path, changes, data, said):
    with pytest.raises(InputError, match=said) as caught:
        io.read_volume(written(tmp_path, data, "odd.mha", **changes))
    assert "odd.mha" in str(caught.value)


LEADS_OUT = ["/etc/passwd", "../s.raw", "a/../../s.raw", "C:\\s.raw", "..\\s.raw"]


@pytest.mark.parametrize("name", LEADS_OUT)
def test_a_header_names_no_file_elsewhere(tmp_path, name):
    (tmp_path / "s.raw").write_bytes(RAW)
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "x.mhd").write_bytes(header(name))
    (folder / "x.nhdr").write_bytes(nrrd_header(f"data file: {name}\n"))
    for path in (folder / "x.mhd", folder / "x.nhdr"):
        with pytest.raises(InputError, match="leads out of the folder"):
            io.read_volume(path)


def test_a_data_file_that_is_not_there(tmp_path):
    (tmp_path / "x.mhd").write_bytes(header("gone.raw"))
    with pytest.raises(InputError, match=r"x\.mhd: its data file 'gone\.raw' is missing"):
        io.read_volume(tmp_path / "x.mhd")


def test_a_metaimage_is_no_radiograph(tmp_path):
    with pytest.raises(InputError, match="MetaImage, expected a radiograph"):
        io.read_radiograph(written(tmp_path))


def nrrd_header(more="", encoding="raw"):
    return (
        "NRRD0005\ntype: short\ndimension: 3\nspace: left-posterior-superior\nsizes: 2 3 4\n"
        "space directions: (0,0.5,0) (0,0,-0.25) (-1.5,0,0)\nkinds: domain domain domain\n"
        f"endian: little\nencoding: {encoding}\nspace origin: (10,20,30)\n{more}"
    ).encode()


@pytest.mark.parametrize(
    ("files", "more", "encoding"),
    [
        ({"x.raw": RAW}, "data file: x.raw\n", "raw"),
        ({"x.raw": RAW}, "datafile: x.raw\n\n", "raw"),
        ({"x.raw.gz": gzip.compress(RAW, mtime=0)}, "data file: x.raw.gz\n", "gzip"),
        ({"x.bz2": bz2.compress(RAW)}, "data file: x.bz2\n", "bzip2"),
        ({"x.raw": b"12345" + RAW}, "byte skip: 5\ndata file: x.raw\n", "raw"),
        ({"x.raw": b"12345" + RAW}, "byte skip: -1\ndata file: x.raw\n", "raw"),
        ({"x.raw": b"one\ntwo\n" + RAW}, "line skip: 2\ndata file: x.raw\n", "raw"),
        ({"x.gz": gzip.compress(b"12" + RAW, mtime=0)}, "byte skip: 2\ndata file: x.gz\n", "gzip"),
        (
            {f"s{k}": RAW[12 * k : 12 * k + 12] for k in range(4)},
            "data file: LIST\ns0\ns1\ns2\ns3\n",
            "raw",
        ),
        (
            {f"s{k}.gz": gzip.compress(RAW[12 * k : 12 * k + 12], mtime=0) for k in range(1, 5)}
            | {f"s{k + 1}.gz": gzip.compress(RAW[12 * k : 12 * k + 12], mtime=0) for k in range(4)},
            "data file: s%d.gz 1 4 1\n",
            "gzip",
        ),
        ({"sub/x.raw": RAW}, "data file: ./sub/x.raw\n", "raw"),
        ({"x.txt": TEXT}, "data file: x.txt\n", "ascii"),
        ({"x.txt": b"one\ntwo\n" + TEXT}, "line skip: 2\ndata file: x.txt\n", "txt"),
        ({"a": TEXT[:30], "b": TEXT[30:]}, "data file: LIST\na\nb\n", "text"),
    ],
)
def test_nrrd_with_data_beside_it(tmp_path, files, more, encoding):
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    (tmp_path / "x.nhdr").write_bytes(nrrd_header(more, encoding))
    check(tmp_path / "x.nhdr")


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_nrrd_with_lines_of_other_systems(tmp_path, end):
    (tmp_path / "x.nrrd").write_bytes(nrrd_header().replace(b"\n", end) + end + RAW)
    check(tmp_path / "x.nrrd")


def test_data_of_another_length_beside_a_header(tmp_path):
    (tmp_path / "x.raw").write_bytes(RAW[:-2])
    (tmp_path / "x.nhdr").write_bytes(nrrd_header("data file: x.raw\n"))
    with pytest.raises(InputError, match="need 48 bytes, found 46"):
        io.read_volume(tmp_path / "x.nhdr")
