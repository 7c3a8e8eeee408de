"""Damage after which a header contradicts the pixels: readers must refuse all of it."""

import gzip
import io
import struct
from collections.abc import Callable

import numpy as np
import pydicom
from pydicom import encaps
from pydicom.dataset import Dataset

from xr2mri_jax.tools.fuzzing.mutate import Files, Rng
from xr2mri_jax.tools.fuzzing.seeds import Seed

Change = Callable[[Dataset, Rng], None]


def contradictions(seed: Seed) -> dict[str, Callable[[Rng], Files]]:
    """The contradictions that apply to a seed, by name."""
    content = next(iter(seed.files.values()))
    if content[128:132] == b"DICM":
        found = {name: _on_one(seed, change) for name, change in _dicom_changes(content).items()}
        if seed.kind == "series":
            found |= {name: _on_one(seed, change) for name, change in _SLICE.items()}
            found |= {
                "slice missing": lambda rng: _without_inner(seed.files, rng),
            }
        return found
    if content.startswith((b"ObjectType", b"NRRD")):
        return _text_changes(seed, content)
    zipped = content[:2] == b"\x1f\x8b"
    if seed.kind == "volume":
        header = gzip.decompress(content) if zipped else content
        if int.from_bytes(header[:4], "little") != 348:
            return {}
        found = {name: _on_nifti(seed, change) for name, change in _NIFTI.items()}
        if zipped:
            found["gzip cut off"] = lambda rng: _only(seed, content[: -int(rng.integers(1, 60))])
            found["gzip check sum"] = lambda rng: _only(seed, _flipped_crc(content))
        return found
    if content.startswith(b"\x89PNG"):
        return {
            "cut off": lambda rng: _only(seed, content[: int(rng.integers(40, len(content) - 16))])
        }
    return {}


def _only(seed: Seed, content: bytes) -> Files:
    """The seed's files with another content of the first file, the header if there are several."""
    return {**seed.files, next(iter(seed.files)): content}


def _set(keyword: str, *values: object) -> Change:
    def change(dataset: Dataset, rng: Rng) -> None:
        setattr(dataset, keyword, values[int(rng.integers(len(values)))])

    return change


def _more(keyword: str) -> Change:
    def change(dataset: Dataset, rng: Rng) -> None:
        setattr(dataset, keyword, int(dataset[keyword].value) + int(rng.integers(1, 9)))

    return change


def _fewer(keyword: str) -> Change:
    def change(dataset: Dataset, rng: Rng) -> None:
        setattr(dataset, keyword, int(dataset[keyword].value) - int(rng.integers(1, 9)))

    return change


def _cut(dataset: Dataset, rng: Rng) -> None:
    dataset.PixelData = dataset.PixelData[: -2 * int(rng.integers(1, len(dataset.PixelData) // 4))]


def _lengthen(dataset: Dataset, rng: Rng) -> None:
    dataset.PixelData = dataset.PixelData + bytes(2 * int(rng.integers(1, 500)))


def _cut_frame(dataset: Dataset, rng: Rng) -> None:
    (frame,) = encaps.generate_frames(dataset.PixelData, number_of_frames=1)
    left = int(len(frame) * rng.choice([0.03, 0.1, 0.5, 0.8, 0.95]))
    dataset.PixelData = encaps.encapsulate([frame[:left]])


def _two_frames(dataset: Dataset, rng: Rng) -> None:
    (frame,) = encaps.generate_frames(dataset.PixelData, number_of_frames=1)
    dataset.PixelData = encaps.encapsulate([frame, frame])


def _dicom_changes(content: bytes) -> dict[str, Change]:
    dataset = pydicom.dcmread(io.BytesIO(content))
    other_bits = 8 if dataset.BitsAllocated == 16 else 16
    changes = {
        "more rows": _more("Rows"),
        "fewer rows": _fewer("Rows"),
        "more columns": _more("Columns"),
        "fewer columns": _fewer("Columns"),
        "bits allocated": _set("BitsAllocated", other_bits, 32, 0, 7),
        "bits stored": _set("BitsStored", 5, 0, 33),
        "high bit": _set("HighBit", 3, 31),
        "samples": _set("SamplesPerPixel", 3, 0),
        "frames": _set("NumberOfFrames", 2, 40),
        "no pixels": lambda d, rng: delattr(d, "PixelData"),
    }
    if dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        return changes | {"frame cut off": _cut_frame, "two frames": _two_frames}
    return changes | {"pixels cut off": _cut, "pixels too long": _lengthen}


_SLICE: dict[str, Change] = {
    "other orientation": _set("ImageOrientationPatient", [0, 0.996, 0.087, 0, 0.087, -0.996]),
    "other spacing": _set("PixelSpacing", [0.36, 0.5], [0.5, 0.5], [3.6, 3.6]),
    "moved along": lambda d, rng: _move(d, (float(rng.choice([-0.3, 0.2, 0.5])), 0, 0)),
    "moved across": lambda d, rng: _move(d, (0, float(rng.choice([-4, 0.3, 9])), 0)),
    "no position": lambda d, rng: delattr(d, "ImagePositionPatient"),
    "other series": _set("SeriesInstanceUID", "1.2.3.4"),
    "other modality": _set("Modality", "CT", "CR", ""),
    "no orientation": _set("ImageOrientationPatient", [0, 0, 0, 0, 0, 0], [0, 1, 0, 0, 1, 0]),
    "inverted": _set("PhotometricInterpretation", "MONOCHROME1"),
    "other sign": lambda d, rng: setattr(d, "PixelRepresentation", 1 - d.PixelRepresentation),
}


def _move(dataset: Dataset, by: tuple[float, float, float]) -> None:
    dataset.ImagePositionPatient = np.add(dataset.ImagePositionPatient, by).tolist()


def _on_one(seed: Seed, change: Change) -> Callable[[Rng], Files]:
    """Changes one of the DICOM files."""

    def changed(rng: Rng) -> Files:
        files = dict(seed.files)
        name = str(rng.choice(sorted(files)))
        with pydicom.config.disable_value_validation():
            dataset = pydicom.dcmread(io.BytesIO(files[name]))
            change(dataset, rng)
            stream = io.BytesIO()
            pydicom.dcmwrite(stream, dataset)
        files[name] = stream.getvalue()
        return files

    return changed


def _position(content: bytes) -> float:
    dataset = pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True)
    across = np.cross(*np.reshape(dataset.ImageOrientationPatient, (2, 3)))
    return float(across @ np.array(dataset.ImagePositionPatient))


def _without_inner(files: Files, rng: Rng) -> Files:
    order = sorted(files, key=lambda name: _position(files[name]))
    lost = order[int(rng.integers(1, len(order) - 1))]
    return {name: content for name, content in files.items() if name != lost}


def _header(place: int, form: str, *values: float) -> Callable[[bytearray, Rng], None]:
    def change(data: bytearray, rng: Rng) -> None:
        struct.pack_into(f"<{form}", data, place, values[int(rng.integers(len(values)))])

    return change


def _cut_voxels(data: bytearray, rng: Rng) -> None:
    del data[-int(rng.integers(1, 2000)) :]


_NIFTI: dict[str, Callable[[bytearray, Rng], None]] = {
    "dim beyond the file": _header(42, "h", 72, 1000, 32767),
    "fewer in a dim": _header(44, "h", 1, 8, 39),
    "no dim": _header(46, "h", 0, -3),
    "other datatype": _header(70, "h", 2, 64),
    "other bitpix": _header(72, "h", 0, 1, 64, 24),
    "NaN in the sform": _header(280, "f", float("nan"), float("inf")),
    "huge sform": _header(288, "f", 1e30, 7000.0),
    "pixdim against sform": _header(80, "f", 3.6, 0.0, float("nan")),
    "no forms": lambda data, rng: struct.pack_into("<2h", data, 252, 0, 0),
    "metres": lambda data, rng: struct.pack_into("<B", data, 123, int(rng.choice([1, 3]))),
    "voxels cut off": _cut_voxels,
    "voxels start later": _header(108, "f", 368.0, 1e6, float("nan")),
    "slope NaN against inter": lambda data, rng: struct.pack_into("<2f", data, 112, 1e38, 1e38),
}


def _on_nifti(seed: Seed, change: Callable[[bytearray, Rng], None]) -> Callable[[Rng], Files]:
    def changed(rng: Rng) -> Files:
        content = next(iter(seed.files.values()))
        zipped = content[:2] == b"\x1f\x8b"
        data = bytearray(gzip.decompress(content) if zipped else content)
        change(data, rng)
        return _only(seed, gzip.compress(bytes(data), 1, mtime=0) if zipped else bytes(data))

    return changed


def _flipped_crc(content: bytes) -> bytes:
    data = bytearray(content)
    data[-6] ^= 1
    return bytes(data)


_NRRD = {
    "larger sizes": (b"sizes: 36", b"sizes: 360"),
    "smaller sizes": (b"sizes: 36", b"sizes: 35"),
    "other type": (b"type: int16", b"type: int32"),
    "no space": (b"space: left-posterior-superior", b"space: scanner-xyz"),
    "NaN direction": (b"space directions: (", b"space directions: (nan,"),
    "no origin": (b"space origin:", b"spare origin:"),
    "four axes": (b"dimension: 3", b"dimension: 4"),
}


_META = {
    "larger sizes": (b"DimSize = 36", b"DimSize = 360"),
    "smaller sizes": (b"DimSize = 36", b"DimSize = 35"),
    "other type": (b"MET_SHORT", b"MET_INT"),
    "two axes": (b"NDims = 3", b"NDims = 2"),
    "no sizes": (b"DimSize = ", b"Sizes = "),
    "NaN spacing": (b"ElementSpacing = ", b"ElementSpacing = nan "),
    "no rotation": (b"TransformMatrix = -1", b"TransformMatrix = -3"),
    "packed data that are not": (b"CompressedData = False", b"CompressedData = True"),
    "no data file": (b"ElementDataFile", b"ElementFile"),
}
# Text has the same numbers whatever their type, and is never packed.
_OF_BINARY_DATA = ("other type", "packed data that are not")


def _text_changes(seed: Seed, content: bytes) -> dict[str, Callable[[Rng], Files]]:
    """Changes of a text header; the user's own files may have other lines than the made ones."""
    changes = _META if content.startswith(b"ObjectType") else _NRRD
    text = b"BinaryData = False" in content or b"encoding: ascii" in content
    return {
        name: _on_text(seed, *change)
        for name, change in changes.items()
        if change[0] in content and not (text and name in _OF_BINARY_DATA)
    }


def _on_text(seed: Seed, old: bytes, new: bytes) -> Callable[[Rng], Files]:
    content = next(iter(seed.files.values()))
    return lambda rng: _only(seed, content.replace(old, new, 1))
