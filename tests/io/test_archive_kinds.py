"""Archives as macOS, Windows and media make them: zip, and files that belong to no series."""

import io
import stat
import struct
import tarfile
import zipfile

import pytest

from xr2mri_jax.errors import InputError
from xr2mri_jax.io.oai import extract, opened
from xr2mri_jax.io.oai.unzip import _DIRECTORY_BYTES
from xr2mri_jax.io.records import MriSeries, RadiographFile

SLICES = [(f"series/{k:03d}", b"slice %d" % k * 300) for k in range(3)]
APPLE_DOUBLE = b"\0\5\x16\7\0\2\0\0Mac OS X        " + bytes(82)


def write_tar(path, members):
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def write_zip(path, members, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


WRITERS = {"a.tar.gz": write_tar, "a.tgz": write_tar, "a.zip": write_zip, "A.ZIP": write_zip}


def contents(path, scratch):
    record = MriSeries("1", "V00", "left", path, None, False)
    with opened(record, scratch) as found:
        files = sorted(found.iterdir()) if found.is_dir() else [found]
        return {file.name: file.read_bytes() for file in files}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize(
    "beside",
    [
        [],
        [("._series", APPLE_DOUBLE), *((f"series/._{k:03d}", APPLE_DOUBLE) for k in range(3))],
        [("__MACOSX/series/._000", APPLE_DOUBLE), ("__MACOSX/._series", APPLE_DOUBLE)],
        [(".DS_Store", b"Bud1")],
        [(".hidden/000", b"x")],
        [("DICOMDIR", b"index")],
        [("README.TXT", b"text"), ("docs/manual.pdf", b"%PDF")],
        [("Thumbs.db", b"thumbs")],
    ],
)
def test_what_lies_beside_a_series_is_passed_over(tmp_path, name, beside):
    path = WRITERS[name](tmp_path / name, [*beside, *SLICES])
    expected = {name.split("/")[1]: content for name, content in SLICES}
    assert contents(path, tmp_path / "scratch") == expected
    assert list((tmp_path / "scratch").iterdir()) == []


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("beside", ["._v.nii.gz", "__MACOSX/._v.nii.gz", "v.json", "README"])
def test_one_volume_or_radiograph_is_found_beside_other_files(tmp_path, name, beside):
    path = WRITERS[name](tmp_path / name, [("v.nii.gz", b"volume"), (beside, b"other")])
    assert contents(path, tmp_path / "scratch") == {"v.nii.gz": b"volume"}
    with opened(RadiographFile("1", "V00", path), tmp_path / "scratch") as file:
        assert file.read_bytes() == b"volume"


@pytest.mark.parametrize("names", ["a\\b\\%03d", "./%03d", "größe ü/%03d", "p/study/series/%03d"])
def test_names_of_members_in_a_zip(tmp_path, names):
    path = write_zip(tmp_path / "a.zip", [(names % k, b"x%d" % k) for k in range(3)])
    assert [file.read_bytes() for file in extract(path, tmp_path)] == [b"x0", b"x1", b"x2"]


def encrypted(content):
    return content.replace(b"PK\1\2\x14\x03\x14\0\0\0", b"PK\1\2\x14\x03\x14\0\1\0")


@pytest.mark.parametrize(
    ("members", "change", "message"),
    [
        ([("../evil", b"x")], None, "leads out"),
        ([("/tmp/evil", b"x")], None, "leads out"),
        ([("a\\..\\..\\evil", b"x")], None, "leads out"),
        ([("a/001", b"x"), ("b/001", b"x")], None, "files in 2 folders"),
        ([("001", b"x" * 2000)], None, "more than 1000 bytes"),
        ([("__MACOSX/._001", b"x")], None, "found no file"),
        ([("001", b"x")], encrypted, "is encrypted"),
        ([("001", b"x" * 500)], lambda c: c[:-30], "truncated or no zip"),
        ([("001", b"x" * 500)], lambda c: c.replace(b"001", b"002", 1), "truncated or no zip"),
        ([("001", b"x" * 500)], lambda c: c[:35] + b"?" + c[36:], "truncated or no zip"),
        ([("001", b"x")], lambda c: b"no archive at all", "truncated or no zip"),
    ],
)
def test_zips_that_are_refused_leave_nothing_behind(tmp_path, members, change, message):
    path = write_zip(tmp_path / "a.zip", members)
    if change is not None:
        whole = path.read_bytes()
        assert change(whole) != whole
        path.write_bytes(change(whole))
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match=message) as caught:
        extract(path, tmp_path / "out", max_bytes=1000)
    assert "a.zip" in str(caught.value)
    assert not [file for file in (tmp_path / "out").rglob("*") if file.is_file()]


def test_links_and_other_methods_in_a_zip_are_refused(tmp_path):
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    path = write_zip(tmp_path / "a.zip", [("001", b"x"), (link, b"/etc/passwd")])
    with pytest.raises(InputError, match="is a link"):
        extract(path, tmp_path)
    path = write_zip(tmp_path / "b.zip", [("001", b"x" * 99)], zipfile.ZIP_LZMA)
    with pytest.raises(InputError, match="method 14, expected deflate"):
        extract(path, tmp_path)


def test_zips_with_many_members_are_refused_before_their_directory_is_read(tmp_path):
    path = write_zip(tmp_path / "a.zip", [(f"{k}", b"") for k in range(4097)])
    with pytest.raises(InputError, match="more than 4096 parts"):
        extract(path, tmp_path)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, _DIRECTORY_BYTES + 1, 0, 0)
    path.write_bytes(bytes(_DIRECTORY_BYTES + 1) + end)
    with pytest.raises(InputError, match="more than 4096 parts"):
        extract(path, tmp_path)


@pytest.mark.parametrize("length", [200, 4000, 60_000])
def test_a_zip_archive_whose_names_differ_is_refused_in_a_short_line(tmp_path, length):
    path = tmp_path / "series.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("0" * length, b"voxels")
    content = path.read_bytes()
    path.write_bytes(content.replace(b"0" * length, b"1" * length, 1))
    with pytest.raises(InputError, match="truncated or no zip archive") as caught:
        extract(path, tmp_path / "out")
    assert len(str(caught.value)) < 300 + len(str(path))
