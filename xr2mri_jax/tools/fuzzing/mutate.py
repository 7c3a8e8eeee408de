"""Damage of every sort: bytes, DICOM elements, NIfTI and NRRD fields, cells of tables, gzip."""

import gzip
import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pydicom
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from xr2mri_jax.tools.fuzzing.seeds import Seed

Files = dict[str, bytes]
Rng = np.random.Generator

_NUMBERS = (0, 1, -1, 2, 7, 255, 256, 4096, 32767, 65535, 2**31 - 1, -(2**31), 1e-30, 1e30)
_WORDS = (
    "",
    "0",
    "-1",
    "nan",
    "inf",
    "1e400",
    "x",
    "\u00e9",
    "A" * 300,
    "1\\2\\3\\4",
    "../../a",
    "=1",
)
# Elements that determine the meaning of the pixels; others are damaged too, less often.
_TAGS = (
    "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
    "SamplesPerPixel", "NumberOfFrames", "PhotometricInterpretation", "PlanarConfiguration",
    "PixelSpacing", "ImagerPixelSpacing", "ImagePositionPatient", "ImageOrientationPatient",
    "RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth", "VOILUTFunction",
    "Modality", "SeriesInstanceUID", "ImageLaterality", "PixelData", "SliceThickness",
)  # fmt: skip
# Offset and struct format of the NIfTI-1 fields that determine the meaning of the voxels.
_NIFTI = {
    "sizeof_hdr": (0, "i"), "dim": (40, "8h"), "datatype": (70, "h"), "bitpix": (72, "h"),
    "pixdim": (76, "8f"), "vox_offset": (108, "f"), "scl_slope": (112, "f"),
    "scl_inter": (116, "f"), "xyzt_units": (123, "B"), "qform_code": (252, "h"),
    "sform_code": (254, "h"), "quatern": (256, "6f"), "srow": (280, "12f"), "magic": (344, "4B"),
}  # fmt: skip


def mutated(seed: Seed, rng: Rng) -> tuple[str, Files]:
    """One broken copy of a seed, and the name of the damage.

    Args:
      seed: a sound input, not changed.
      rng: determines everything.
    """
    files = dict(seed.files)
    name = str(rng.choice(sorted(files)))
    if len(files) > 1 and rng.random() < 0.25:
        return _disorder(files, name, rng)
    choices: list[tuple[str, Callable[[bytes, Rng], bytes]]] = [("bytes", damage_bytes)]
    content = files[name]
    if content[128:132] == b"DICM":
        choices += [("dicom elements", damage_dicom)] * 2
        if b"\xff\xd8\xff" in content or b"\xff\x4f\xff\x51" in content:
            choices += [("compressed frame", damage_frame)]
    if content[:2] == b"\x1f\x8b":
        choices += [("inside gzip", _inside_gzip)] * 2
    if content[344:347] in (b"n+1", b"ni1"):
        choices += [("nifti fields", damage_nifti)] * 2
    if content.startswith(b"NRRD"):
        choices += [("nrrd fields", damage_nrrd)] * 2
    if content.startswith(b"ObjectType"):
        choices += [("metaimage fields", damage_metaimage)] * 2
    if seed.kind == name:
        choices += [("cells", damage_table)] * 2
    if content.startswith(b"\x89PNG"):
        choices += [("png chunks", damage_png)] * 2
    what, damage = choices[rng.integers(len(choices))]
    files[name] = damage(content, rng)
    return what, files


def damage_bytes(content: bytes, rng: Rng) -> bytes:
    """Flips, overwrites, removes, inserts, repeats or cuts off bytes; more often in the header."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        if not data:
            break
        top = len(data) if rng.random() < 0.5 else min(len(data), 600)
        at, n = int(rng.integers(top)), int(rng.integers(1, 40))
        kind = rng.integers(7)
        if kind == 0:
            data[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            data[at : at + n] = rng.bytes(len(data[at : at + n]))
        elif kind == 2:
            del data[at : at + n]
        elif kind == 3:
            data[at:at] = rng.bytes(n)
        elif kind == 4:
            data[at:at] = data[at : at + n]
        elif kind == 5:
            fill = bytes([int(rng.choice([0, 255, 0x7F]))])
            data[at : at + 4] = fill * len(data[at : at + 4])
        elif rng.random() < 0.4:
            del data[at:]
    return bytes(data)


def damage_dicom(content: bytes, rng: Rng) -> bytes:
    """Changes, deletes, copies or swaps elements, or falsifies an element's length."""
    if rng.random() < 0.25:
        return _wrong_length(content, rng)
    with pydicom.config.disable_value_validation():
        try:
            dataset = pydicom.dcmread(io.BytesIO(content))
            for _ in range(int(rng.integers(1, 4))):
                _change_element(dataset, rng)
            stream = io.BytesIO()
            pydicom.dcmwrite(stream, dataset)
            return stream.getvalue()
        except Exception:
            # Elements that pydicom refuses to write are damaged by hand.
            return damage_bytes(content, rng)


def damage_frame(content: bytes, rng: Rng) -> bytes:
    """Damages the compressed pixels of a DICOM file, mainly their header."""
    at = max(content.find(b"\xff\xd8\xff"), content.find(b"\xff\x4f\xff\x51"))
    return content[:at] + damage_bytes(content[at:], rng)


def _change_element(dataset: Dataset, rng: Rng) -> None:
    keyword = str(rng.choice(_TAGS))
    if keyword not in dataset:
        keyword = str(rng.choice([e.keyword for e in dataset if e.keyword]))
    element = dataset[keyword]
    kind = rng.integers(5)
    if kind == 0:
        del dataset[keyword]
    elif kind == 1 and isinstance(element.value, bytes):
        element.value = damage_bytes(element.value, rng)
    elif kind == 2:
        other = dataset[str(rng.choice([e.keyword for e in dataset if e.keyword]))]
        dataset[keyword] = DataElement(element.tag, element.VR, other.value)
    elif kind == 3 and isinstance(element.value, int):
        element.value = abs(int(element.value) + int(rng.choice([-1, 1, 8, 1000, 65000]))) % 65536
    else:
        word: object = rng.choice(_WORDS) if rng.random() < 0.5 else str(rng.choice(_NUMBERS))
        whole = int(rng.choice([0, 1, 3, 7, 8, 12, 16, 17, 32, 64, 255, 65535]))
        element.value = whole if element.VR == "US" else word


def _wrong_length(content: bytes, rng: Rng) -> bytes:
    """Overwrites the length of one explicit element, found by its VR's letters."""
    places = [
        at for at in range(136, len(content) - 8)
        if content[at : at + 2] in (b"US", b"DS", b"UI", b"CS", b"OW", b"IS", b"SQ")
    ]  # fmt: skip
    if not places:
        return damage_bytes(content, rng)
    at, data = int(rng.choice(places)), bytearray(content)
    long = content[at : at + 2] in (b"OW", b"SQ")
    value = int(rng.choice([0, 1, 2, 3, 4, 8, 255, 65534, 65535, 2**31, 2**32 - 2, 2**32 - 1]))
    packed = struct.pack("<I", value) if long else struct.pack("<H", value & 0xFFFF)
    start = at + 4 if long else at + 2
    data[start : start + len(packed)] = packed
    return bytes(data)


def damage_nifti(content: bytes, rng: Rng) -> bytes:
    """Overwrites fields of a NIfTI-1 header; for a NIfTI-2 header, bytes."""
    if int.from_bytes(content[:4], "little") != 348:
        return damage_bytes(content[:540], rng) + content[540:]
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 3))):
        offset, form = _NIFTI[str(rng.choice(list(_NIFTI)))]
        count, code = int(form[:-1] or 1), form[-1]
        place = offset + struct.calcsize(code) * int(rng.integers(count))
        number = rng.choice([*_NUMBERS, float("nan"), float("inf")])
        if code == "f":
            with np.errstate(over="ignore"):
                packed = np.float32(number).tobytes()
        else:
            bits = 8 * struct.calcsize(code)
            whole = int(np.nan_to_num(number, posinf=1, neginf=1)) % 2**bits
            packed = whole.to_bytes(bits // 8, "little")
        data[place : place + len(packed)] = packed
    return bytes(data)


def damage_nrrd(content: bytes, rng: Rng) -> bytes:
    """Changes, repeats, drops or moves a line of the header, or a number in it."""
    head, gap, voxels = content.partition(b"\n\n")
    return _damaged_lines(head, b": ", rng) + gap + voxels


def damage_metaimage(content: bytes, rng: Rng) -> bytes:
    """The same for a MetaImage header."""
    end = content.find(b"\n", content.find(b"ElementDataFile"))
    return _damaged_lines(content[:end], b" = ", rng) + content[end:]


def _damaged_lines(head: bytes, between: bytes, rng: Rng) -> bytes:
    lines = head.split(b"\n")
    at = int(rng.integers(1, len(lines)))
    kind = rng.integers(5)
    if kind == 0:
        del lines[at]
    elif kind == 1:
        lines.insert(int(rng.integers(1, len(lines))), lines[at])
    elif kind == 2:
        key = lines[at].partition(between.strip())[0].rstrip()
        lines[at] = key + between + str(rng.choice(_WORDS)).encode()
    elif kind == 3:
        lines[at] = damage_bytes(lines[at], rng)
    else:
        words = lines[at].split(b" ")
        words[int(rng.integers(len(words)))] = str(rng.choice(_NUMBERS)).encode()
        lines[at] = b" ".join(words)
    return b"\n".join(lines)


def damage_table(content: bytes, rng: Rng) -> bytes:
    """Changes, drops, adds or swaps cells and rows."""
    delimiter = max(b",\t|", key=content.count).to_bytes(1, "little")
    rows = [line.split(delimiter) for line in content.split(b"\n")]
    row = rows[int(rng.integers(len(rows)))]
    at = int(rng.integers(len(row)))
    kind = rng.integers(6)
    if kind == 0:
        row[at] = str(rng.choice(_WORDS)).encode("latin-1" if rng.random() < 0.5 else "utf-8")
    elif kind == 1:
        row[at] = str(rng.choice(_NUMBERS)).encode()
    elif kind == 2:
        del row[at]
    elif kind == 3:
        row.insert(at, rng.choice([b'"', b"", b"\0", b"\r", delimiter, b"a"]))
    elif kind == 4:
        row.reverse()
    else:
        rows.insert(int(rng.integers(len(rows))), rows[int(rng.integers(len(rows)))])
    return b"\n".join(delimiter.join(cells) for cells in rows)


def damage_png(content: bytes, rng: Rng) -> bytes:
    """Rewrites one field of the header chunk, and corrects its checksum."""
    data = bytearray(content)
    at = 16 + int(rng.integers(13))
    data[at] = int(rng.choice([0, 1, 2, 3, 4, 6, 8, 16, 40, 127, 255]))
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    return bytes(data)


def _inside_gzip(content: bytes, rng: Rng) -> bytes:
    inside = gzip.decompress(content)
    damage = damage_nifti if inside[344:347] == b"n+1" and rng.random() < 0.6 else damage_bytes
    return gzip.compress(damage(inside, rng), 1, mtime=0)


def _disorder(files: Files, name: str, rng: Rng) -> tuple[str, Files]:
    """Damages folders: files missing, duplicated, swapped, foreign, empty."""
    other = str(rng.choice(sorted(files)))
    kind = int(rng.integers(5))
    if kind == 0:
        del files[name]
    elif kind == 1:
        files[name + "b"] = files[name]
    elif kind == 2:
        files[name], files[other] = files[other][: len(files[other]) // 2], files[name]
    elif kind == 3:
        files["notes.txt"] = b"slices of the right knee"
    else:
        files[name] = b""
    return "folder", files
