"""Files of a few megabytes that unpack to gigabytes: each is refused in 1 GiB of memory and 5 s."""

import io
import json
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import FileMetaDataset
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import DeflatedExplicitVRLittleEndian

BLOCK, GIGABYTE = 1 << 22, 1 << 30
READ = """
import gc, json, sys, time
from xr2mri_jax import io
from xr2mri_jax.io import label_map
readers = {"radiograph": io.read_radiograph, "volume": io.read_volume,
           "labels": label_map.read_label_map}
found = {}
for path in sys.argv[2:]:
    gc.collect()
    open("/proc/self/clear_refs", "w").write("5")  # the peak of memory counts anew
    start = time.process_time()
    try:
        readers[sys.argv[1]](path)
        said = ""
    except ValueError as error:
        said = f"{type(error).__name__}: {error}"
    # Of this process alone: getrusage keeps the peak of the one that started it.
    peak = next(
        line for line in open("/proc/self/status", encoding="ascii") if line.startswith("VmHWM")
    )
    memory = int(peak.split()[1]) / 2**20
    found[path] = [said, time.process_time() - start, memory]
print(json.dumps(found))
"""


def deflated(start: bytes, zeros: int, wbits: int) -> bytes:
    """A stream of `start` and so many zero bytes; one packed block stands for all of the zeros."""
    packer = zlib.compressobj(9, zlib.DEFLATED, wbits)
    head = packer.compress(start) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(BLOCK)) + packer.flush(zlib.Z_FULL_FLUSH)
    return head + block * (zeros // BLOCK) + packer.flush()


def nifti(size: int, kind: type) -> Callable[[Path], None]:
    """A cube of so many voxels each way, in a stream of 8 GiB."""

    def make(path: Path) -> None:
        header = nib.Nifti1Header()
        header.set_data_dtype(kind)
        header.set_data_shape((size, size, size))
        header["magic"], header["vox_offset"] = b"n+1", 352
        header.set_sform(np.eye(4), code=1)
        head = header.binaryblock + bytes(4)
        path.write_bytes(deflated(head, 8 * GIGABYTE, zlib.MAX_WBITS | 16))

    return make


def dicom(path: Path) -> None:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    stream = io.BytesIO()
    write_file_meta_info(stream, meta)
    element = struct.pack("<HH2sHI", 0x0009, 0x1001, b"OB", 0, 3 * GIGABYTE)
    packed = deflated(element, 3 * GIGABYTE, -zlib.MAX_WBITS)
    path.write_bytes(bytes(128) + b"DICM" + stream.getvalue() + packed)


def tiff_chain(path: Path) -> None:
    """200,000 directories of no entry but the picture's, each naming the next."""
    picture = io.BytesIO()
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(picture, format="TIFF")
    content = bytearray(picture.getvalue())
    start = struct.unpack_from("<I", content, 4)[0]
    count = struct.unpack_from("<H", content, start)[0]
    directory = bytes(content[start : start + 2 + 12 * count])
    place = start + len(directory)
    for _ in range(200_000):
        struct.pack_into("<I", content, place, len(content))
        content += directory + bytes(4)
        place = len(content) - 4
    path.write_bytes(content)


def png_chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def png(size: int) -> Callable[[Path], None]:
    """A picture of so many pixels each way, in a stream of 7 GiB."""

    def make(path: Path) -> None:
        head = struct.pack(">IIBBBBB", size, size, 16, 0, 0, 0, 0)
        body = deflated(b"", 7 * GIGABYTE, zlib.MAX_WBITS)
        parts = png_chunk(b"IHDR", head), png_chunk(b"IDAT", body), png_chunk(b"IEND", b"")
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))

    return make


def png_text(path: Path) -> None:
    picture = io.BytesIO()
    Image.fromarray(np.arange(4096, dtype=np.uint8).reshape(64, 64)).save(picture, format="PNG")
    content = picture.getvalue()
    bomb = png_chunk(b"zTXt", b"a\0\0" + deflated(b"", 3 * GIGABYTE, zlib.MAX_WBITS))
    path.write_bytes(content[:33] + bomb + content[33:])


def nrrd(path: Path) -> None:
    text = (
        "NRRD0004\ntype: uchar\ndimension: 3\nspace: left-posterior-superior\n"
        "sizes: 584 584 584\nspace directions: (1,0,0) (0,1,0) (0,0,1)\n"
        "encoding: gzip\nendian: little\nspace origin: (0,0,0)\n\n"
    )
    packed = deflated(b"", 8 * GIGABYTE, zlib.MAX_WBITS | 16)
    path.write_bytes(text.encode() + packed)


def metaimage(path: Path) -> None:
    packed = deflated(b"", 8 * GIGABYTE, zlib.MAX_WBITS)
    text = (
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
        f"CompressedData = True\nCompressedDataSize = {len(packed)}\n"
        "TransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 0 0 0\nElementSpacing = 1 1 1\n"
        "DimSize = 584 584 584\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n"
    )
    path.write_bytes(text.encode() + packed)


BOMBS: dict[str, dict[str, Callable[[Path], None]]] = {
    "radiograph": {
        "deflated.dcm": dicom,
        "chain.tif": tiff_chain,
        "pixels.png": png(60_000),
        "allowed.png": png(9_400),
        "text.png": png_text,
        "picture.nii.gz": nifti(1000, np.float64),
    },
    "volume": {
        "large.nii.gz": nifti(1000, np.float64),
        "allowed voxels.nii.gz": nifti(584, np.float64),
        "bytes.nii.gz": nifti(584, np.uint8),
        "on.nii.gz": nifti(64, np.uint8),  # a small volume, after which the stream goes on
    },
    "labels": {"large.nrrd": nrrd, "large.mha": metaimage, "large.nii.gz": nifti(584, np.uint16)},
}


@pytest.mark.parametrize("kind", BOMBS)
def test_what_unpacks_to_gigabytes_is_refused_early(tmp_path, kind):
    for name, make in BOMBS[kind].items():
        make(tmp_path / name)
    paths = [str(tmp_path / name) for name in BOMBS[kind]]
    done = subprocess.run(
        [sys.executable, "-c", READ, kind, *paths], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for path, (said, seconds, gibibytes) in json.loads(done.stdout).items():
        assert said.startswith(f"InputError: {path}: "), (path, said)
        assert seconds < 5 and gibibytes < 1, (path, said, seconds, gibibytes)
