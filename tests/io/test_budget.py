"""Files that promise far more than they hold are refused early: bytes, parts and seconds."""

import gzip
import io
import subprocess
import sys
import tarfile
import time
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest

from xr2mri_jax.errors import InputError
from xr2mri_jax.io import budget
from xr2mri_jax.io.oai.extract import extract

GIGABYTE, MADE = 1 << 30, 1 << 27


def zeros(count: int) -> bytes:
    """A gzip stream of `count` zero bytes, made in pieces."""
    return b"".join(gzip_pieces([b""], count))


def gzip_pieces(parts: list[bytes], count: int):
    packer = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    for part in parts:
        yield packer.compress(part)
    block = bytes(1 << 22)
    for _ in range(count // len(block)):
        yield packer.compress(block)
    yield packer.flush()


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


def slices(count: int, content: bytes = b"x" * 300) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for k in range(count):
            info = tarfile.TarInfo(f"{k:06d}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


HOSTILE = {
    "GNU long name": lambda: gzip_pieces([header("././@LongLink", 3 * GIGABYTE, b"L")], MADE),
    "PAX header": lambda: gzip_pieces([header("pax", 3 * GIGABYTE, b"x")], MADE),
    "a large member": lambda: gzip_pieces([header("001", 3 * GIGABYTE)], MADE),
    "an end that goes on": lambda: gzip_pieces([slices(2)], MADE),
    "many empty members": lambda: [gzip.compress(slices(8_000, b""), 1)],
    "many members": lambda: [gzip.compress(slices(4_200), 1)],
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_archives_are_refused_and_leave_nothing(tmp_path, kind):
    path = tmp_path / "series.tar.gz"
    with path.open("wb") as stream:
        stream.writelines(HOSTILE[kind]())
    folder = tmp_path / "out"
    folder.mkdir()
    start = time.thread_time()
    with pytest.raises(InputError, match=str(path)):
        extract(path, folder)
    assert time.thread_time() - start < 5
    assert not list(folder.iterdir())


def test_hostile_archives_take_little_memory(tmp_path):
    """Measured in a process of its own: a long name of 3 GB took as much before."""
    path = tmp_path / "series.tar.gz"
    with path.open("wb") as stream:
        stream.writelines(HOSTILE["GNU long name"]())
    program = (
        "import resource, sys, pathlib\n"
        "from xr2mri_jax.io.oai.extract import extract\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: extract(sys.argv[1], sys.argv[2])\n"
        "except ValueError as error: print(error)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, path, tmp_path], capture_output=True, text=True, check=True
    )
    said, grown = done.stdout.splitlines()
    assert "expected at most" in said
    assert int(grown) < 64 * 1024  # KiB


def test_a_whole_archive_is_read_within_the_budget(tmp_path):
    path = tmp_path / "series.tar.gz"
    path.write_bytes(gzip.compress(slices(160)))
    assert len(extract(path, tmp_path)) == 160


def npz(**arrays: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def zipped(content: bytes, name: str = "a.npy") -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return stream.getvalue()


def with_shape(shape: str) -> bytes:
    """An .npy file whose header states a shape that its data have not."""
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}"
    text = text.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + bytes(16)


def test_npz_reads_what_numpy_wrote():
    arrays = {
        "a/b": np.arange(6, dtype=np.float16).reshape(2, 3),
        "c": np.asfortranarray(np.eye(3)),
    }
    found = budget.read_npz("w.npz", npz(**arrays))
    assert set(found) == set(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (lambda: npz(a=np.zeros(1 << 27, np.uint8)), "more than"),
        (lambda: zipped(with_shape("(1000000000000,)")), "needs 4000000000000 bytes, found 16"),
        (lambda: zipped(with_shape("(2,)")), "needs 8 bytes, found 16"),
        (lambda: npz(a=np.array([{}], object)), "holds objects"),
        (lambda: zipped(b"no array"), "as .npz"),
        (lambda: b"PK\x03\x04" + bytes(40), "as .npz"),
        (lambda: b"\x80\x04K\x01.", "as .npz"),
        (lambda: npz(**{f"a{k}": np.zeros(1) for k in range(5000)}), "more than 4096 parts"),
    ],
)
def test_npz_of_any_other_content_is_refused(content, match):
    with pytest.raises(InputError, match=match) as error:
        budget.read_npz("w.npz", content())
    assert str(error.value).startswith("w.npz: ")


def test_files_longer_than_the_limit_are_not_read(tmp_path):
    path = tmp_path / "w.npz"
    with path.open("wb") as stream:
        stream.truncate(budget.MODEL_BYTES + 1)
    with pytest.raises(InputError, match="expected at most"):
        budget.read_bytes(path)
    with pytest.raises(InputError, match="cannot be read"):
        budget.read_bytes(Path(tmp_path / "none"))


def test_time_is_bounded():
    one = budget.Budget("f", most_seconds=0.05)
    with pytest.raises(InputError, match=r"f: takes longer than 0\.05 s"):
        while True:
            one.take(0)


def test_inflated_stops_at_the_limit():
    assert budget.inflated(zlib.compress(b"abc"), 3) == (b"abc", True)
    data, ended = budget.inflated(zlib.compress(bytes(10_000)), 100)
    assert len(data) == 101 and not ended
