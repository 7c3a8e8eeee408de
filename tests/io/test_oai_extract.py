"""Tests of the extraction of the archives in a package of the NIMH Data Archive."""

import gzip
import io
import tarfile

import pytest
from made_packages import write_tar

from xr2mri_jax.errors import InputError
from xr2mri_jax.io.oai import extract, opened
from xr2mri_jax.io.records import MriSeries, RadiographFile


def series(path):
    return MriSeries("1", "V00", "right", path, "dess")


def radiograph(path):
    return RadiographFile("1", "V00", path)


def test_opened_extracts_and_cleans_up(tmp_path):
    path = write_tar(tmp_path / "a.tar.gz", [("./9/001", b"one"), ("./9/002", b"two" * 700)])
    scratch = tmp_path / "scratch"
    with opened(series(path), scratch) as folder:
        assert {file.name: file.read_bytes() for file in folder.iterdir()} == {
            "001": b"one",
            "002": b"two" * 700,
        }
    assert list(scratch.iterdir()) == []


def test_opened_gives_one_file_and_plain_paths_as_they_are(tmp_path):
    path = write_tar(tmp_path / "a.tgz", [("001", b"one")])
    with opened(radiograph(path), tmp_path / "scratch") as file:
        assert file.read_bytes() == b"one"
    plain = tmp_path / "001"
    plain.write_bytes(b"x")
    with opened(radiograph(plain), tmp_path / "other") as file:
        assert file == plain
    assert not (tmp_path / "other").exists()


def test_opened_cleans_up_after_an_error(tmp_path):
    path = write_tar(tmp_path / "a.tar.gz", [("001", b"one"), ("002", b"two")])
    with (
        pytest.raises(InputError, match="found 2 files, expected one radiograph"),
        opened(radiograph(path), tmp_path / "scratch"),
    ):
        pass
    with pytest.raises(RuntimeError, match="mine"), opened(series(path), tmp_path / "scratch"):
        raise RuntimeError("mine")
    assert list((tmp_path / "scratch").iterdir()) == []


def test_opened_refuses_a_record_with_a_problem(tmp_path):
    record = RadiographFile("1", "V00", tmp_path, problem="row 3: not there")
    with pytest.raises(InputError, match="row 3: not there"), opened(record, tmp_path):
        pass


def special(name, kind):
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = "/etc/passwd"
    return info


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("001", b"x"), ("../evil", b"x")], "leads out"),
        ([("001", b"x"), ("/tmp/evil", b"x")], "leads out"),
        ([("001", b"x"), ("a/../../evil", b"x")], "leads out"),
        ([("001", b"x"), ("a\\evil", b"x")], "leads out"),
        ([("001", b"x"), special("link", tarfile.SYMTYPE)], "link or device"),
        ([("001", b"x"), special("hard", tarfile.LNKTYPE)], "link or device"),
        ([("001", b"x"), special("pipe", tarfile.FIFOTYPE)], "link or device"),
        ([("a/001", b"x"), ("b/001", b"x")], "files in 2 folders"),
        ([("001", b"x"), ("001", b"y")], "cannot be extracted"),
        ([], "found no file"),
        ([("001", b"x" * 2000)], "more than 1000 bytes"),
    ],
)
def test_unsafe_and_useless_archives_leave_nothing_behind(tmp_path, members, message):
    archive = write_tar(tmp_path / "a.tar.gz", members)
    folder = tmp_path / "out" / "inner"
    folder.mkdir(parents=True)
    with pytest.raises(InputError, match=message) as caught:
        extract(archive, folder, max_bytes=1000)
    assert "a.tar.gz" in str(caught.value)
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []


def raw_tar(sizes):
    """The bytes of a tar without compression, with incompressible-like members of these sizes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for number, size in enumerate(sizes):
            info = tarfile.TarInfo(f"{number:03d}")
            info.size = size
            tar.addfile(
                info, io.BytesIO(bytes((7 * index + number) % 251 for index in range(size)))
            )
    return buffer.getvalue()


def test_every_truncation_of_the_tar_is_refused(tmp_path):
    whole = raw_tar([700, 512, 100])
    assert len(whole) == 10240  # three members end at 3584: the rest is the end of the archive
    for length in [*range(0, 3584 + 512, 128), 3584 + 511]:
        for suffix, data in ((".tar", whole[:length]), (".tar.gz", gzip.compress(whole[:length]))):
            path = tmp_path / f"a{suffix}"
            path.write_bytes(data)
            with pytest.raises(InputError, match=r"a\.tar"):
                extract(path, tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} == {".tar", ".gz"}


def test_every_truncation_of_the_gzip_is_refused(tmp_path):
    whole = gzip.compress(raw_tar([700, 512, 100]), mtime=0)
    path = tmp_path / "a.tar.gz"
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"a\.tar\.gz"):
            extract(path, tmp_path)
    path.write_bytes(whole)
    assert [file.stat().st_size for file in extract(path, tmp_path)] == [700, 512, 100]


def test_a_flipped_bit_is_refused(tmp_path):
    whole = gzip.compress(raw_tar([3000, 512]), mtime=0, compresslevel=0)
    path = tmp_path / "a.tar.gz"
    for position in range(600, 3000, 97):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 4]) + whole[position + 1 :])
        with pytest.raises(InputError, match=r"a\.tar\.gz"):
            extract(path, tmp_path)


def test_no_archive_at_all(tmp_path):
    path = tmp_path / "a.tar.gz"
    with pytest.raises(InputError, match="No such file"):
        extract(path, tmp_path)
    path.write_bytes(b"not a tar archive" * 100)
    with pytest.raises(InputError, match="no tar archive"):
        extract(path, tmp_path)
