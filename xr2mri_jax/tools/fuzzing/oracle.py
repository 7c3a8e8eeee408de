"""Checks the result for an accepted input against the bytes by independent means."""

import gzip
import io
import re
import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from PIL import Image

from xr2mri_jax import io as readers
from xr2mri_jax.geometry import Radiograph, Volume
from xr2mri_jax.io import formats
from xr2mri_jax.io.label_map import LabelMap, read_label_map
from xr2mri_jax.io.manifest import read_manifest
from xr2mri_jax.io.oai import extract, read_archive, read_grades, read_release
from xr2mri_jax.io.records import Source
from xr2mri_jax.preprocess.knee_positions import read_knee_positions


def read(kind: str, folder: Path, names: list[str]) -> Any:
    """Reads the content of `folder` as the package does; see `seeds.Seed.kind`."""
    only = folder / names[0] if names else folder
    if kind == "radiograph":
        return readers.read_radiograph(only)
    if kind == "volume":
        return readers.read_volume(only)
    if kind == "labels":
        return read_label_map(only)
    if kind == "series":
        return readers.read_volume(folder)
    if kind == "archive":
        target = folder / "extracted"
        target.mkdir()
        return extract(only, target)
    tables: dict[str, Callable[[Path], Any]] = {
        "manifest.csv": read_manifest,
        "places.csv": read_knee_positions,
        "contents.csv": lambda path: read_release(path.parent),
        "image03.txt": lambda path: read_archive(path.parent),
        "kxr_sq_bu00.txt": lambda path: read_grades([path]),
    }
    return tables[kind](only)


def complaint(result: Any, files: dict[str, bytes]) -> str:
    """The error in an accepted result, or "".

    The shape must be the header's, the bytes of uncompressed pixels must be complete, and the
    geometry must be finite, regular and of a plausible size.
    """
    if isinstance(result, Volume):
        return _geometry(result) or _volume(result, files)
    if isinstance(result, LabelMap):
        if result.volume.array.dtype != np.uint16 or not all(
            isinstance(k, int) for k in result.names
        ):
            return "no labels"
        return _geometry(result.volume) or _volume(result.volume, files)
    if isinstance(result, Radiograph):
        return _radiograph(result, next(iter(files.values())))
    if isinstance(result, Source):
        return "" if all(s.side in ("left", "right") for s in result.series) else "no side"
    return ""


def same(first: Any, second: Any) -> bool:
    """Whether two results have the same pixels and geometry."""
    if isinstance(first, Volume) and isinstance(second, Volume):
        place = np.allclose(first.affine, second.affine, atol=1e-4)
        return place and _equal(first.array, second.array)
    if isinstance(first, LabelMap) and isinstance(second, LabelMap):
        return first.names == second.names and same(first.volume, second.volume)
    if isinstance(first, Radiograph) and isinstance(second, Radiograph):
        return first.spacing == second.spacing and _equal(first.array, second.array)
    return False


def _equal(first: np.ndarray, second: np.ndarray) -> bool:
    return first.shape == second.shape and bool(np.array_equal(first, second))


def _geometry(volume: Volume) -> str:
    spacing = np.array(volume.spacing)
    if not np.isfinite(volume.affine).all():
        return "affine not finite"
    if spacing.min() < formats.VOXEL_MM[0] or spacing.max() > formats.VOXEL_MM[1]:
        return f"spacing {spacing.tolist()}"
    if (spacing * volume.shape).max() > formats.FIELD_MM:
        return "field too long"
    return ""


def _volume(volume: Volume, files: dict[str, bytes]) -> str:
    content = next(iter(files.values()))
    if content[128:132] == b"DICM":
        return _series(volume, files)
    total = sum(map(len, files.values()))
    content = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    if content.startswith(b"NRRD"):
        lines = content.partition(b"\n\n")[0].decode("latin-1").lower().split("\n")
        sizes = [line.split(":")[1] for line in lines if line.startswith("sizes:")]
        stated = [int(float(n)) for n in sizes[-1].split()][-3:]
    elif b"ElementDataFile" in content:
        sizes = re.findall(rb"^DimSize *= *(.*)$", content, re.MULTILINE)
        stated = [int(float(n)) for n in sizes[0].split()][:3]
    elif formats.is_mgh(content):
        stated = list(struct.unpack(">3i", content[4:16]))
        if len(content) < volume.array.nbytes:
            return "more bytes of voxels than bytes"
    else:
        order = "<" if content[0] in (0x5C, 0x1C) else ">"
        two = struct.unpack(f"{order}i", content[:4])[0] == 540
        dim = struct.unpack(f"{order}8q", content[16:80]) if two else None
        dim = dim or struct.unpack(f"{order}8h", content[40:56])
        stated = [n for k, n in enumerate(dim[1 : dim[0] + 1]) if k < 3 or n != 1]
        if max(total, len(content)) < volume.array.size:
            return "more voxels than bytes"
    return "" if list(volume.shape) == stated else f"shape {volume.shape}, header {stated}"


def _series(volume: Volume, files: dict[str, bytes]) -> str:
    images = [c for c in files.values() if pydicom.dcmread(io.BytesIO(c), force=True).get("Rows")]
    # The reader reports ignored files.
    if volume.doubts:
        return ""
    if len(images) == 1:
        return _frames(volume, pydicom.dcmread(io.BytesIO(images[0]), force=True))
    if volume.shape[2] != len(images):
        return f"{volume.shape[2]} slices of {len(images)} files"
    positions = []
    for content in images:
        dataset = pydicom.dcmread(io.BytesIO(content), force=True)
        if volume.shape[:2] != (dataset.Columns, dataset.Rows):
            return f"shape {volume.shape}, header {dataset.Rows} x {dataset.Columns}"
        if said := _bytes_of(dataset):
            return said
        positions.append([float(v) for v in dataset.ImagePositionPatient])
    steps = np.linalg.norm(np.diff(sorted(positions), axis=0), axis=1)
    if np.ptp(steps) > 0.03 * np.median(steps):
        return f"steps {steps.round(3).tolist()}"
    return ""


def _frames(volume: Volume, dataset: pydicom.Dataset) -> str:
    frames = int(dataset.get("NumberOfFrames") or 1)
    if volume.shape != (dataset.Columns, dataset.Rows, frames):
        return f"shape {volume.shape}, header {dataset.Rows} x {dataset.Columns} x {frames}"
    return _bytes_of(dataset, frames)


def _bytes_of(dataset: pydicom.Dataset, frames: int = 1) -> str:
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax is not None and syntax.is_encapsulated:
        return ""
    samples = int(dataset.get("SamplesPerPixel") or 1)
    pixel = dataset.BitsAllocated // 8 * samples
    needed = frames * dataset.Rows * dataset.Columns * pixel
    found = len(dataset.PixelData)
    # Less than a row or a column after the pixels is ignored.
    spare = min(dataset.Rows, dataset.Columns) * pixel
    return "" if 0 <= found - needed <= spare else f"{found} bytes of pixels, header {needed}"


def _radiograph(radiograph: Radiograph, content: bytes) -> str:
    if not np.isfinite(radiograph.array).all():
        return "pixels not finite"
    if radiograph.spacing and not (
        formats.PIXEL_MM[0] <= min(radiograph.spacing)
        and max(radiograph.spacing) <= formats.PIXEL_MM[1]
    ):
        return f"spacing {radiograph.spacing}"
    if content[128:132] == b"DICM":
        dataset = pydicom.dcmread(io.BytesIO(content), force=True)
        if radiograph.shape != (dataset.Rows, dataset.Columns):
            return f"shape {radiograph.shape}, header {dataset.Rows} x {dataset.Columns}"
        return _bytes_of(dataset)
    if content[:4] in (b"\x89PNG", b"II*\0", b"MM\0*") or content[:2] == b"\xff\xd8":
        stated = _page_sizes(content)
        if set(radiograph.shape) not in [set(size) for size in stated]:
            return f"shape {radiograph.shape}, header {stated}"
    return ""


def _page_sizes(content: bytes) -> list[tuple[int, int]]:
    with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(content)) as image:
        sizes = [image.size]
        while len(sizes) < 64:
            try:
                image.seek(len(sizes))
            except Exception:  # no more pages, or a broken one after the relevant ones
                return sizes
            sizes.append(image.size)
    return sizes
