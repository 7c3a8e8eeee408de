"""Label maps: whole numbers on a grid, with the label names from the file."""

import dataclasses
import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from xr2mri_jax import geometry
from xr2mri_jax.errors import InputError
from xr2mri_jax.io import formats, metaimage, mgh, nifti, nrrd

# In any letter case; the voxels of .nhdr, .mhd and .hdr may lie in a file of the same stem.
ENDINGS = (
    *(".nii.gz", ".nii", ".seg.nrrd", ".nrrd", ".nhdr", ".mha", ".mhd", ".hdr"),
    *(".mgz", ".mgh"),
)
_DETACHED = (".nhdr", ".mhd", ".hdr")
MOST_SEGMENTS = 4096
_OFF = 1.001e-3
_SLICER = "the 3D Slicer header"
_SEGMENT = re.compile(r"Segment(\d{1,5})_(Name|LabelValue|Layer|Tags)")


@dataclasses.dataclass(frozen=True, eq=False)
class LabelMap:
    """A label map from a file.

    Attributes:
      volume: u16 labels; its `doubts` state the reader's decisions.
      names: by label, from the file; empty if it has none.
      source: origin of the names.
    """

    volume: geometry.Volume
    names: Mapping[int, str] = dataclasses.field(default_factory=dict)
    source: str = ""


def map_files(folder: Path) -> list[Path]:
    """The files of a folder with endings of label maps, sorted, without hidden ones."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_file() and path.name.lower().endswith(ENDINGS) and not path.name.startswith(".")
    )


def stem(path: Path) -> str:
    """A label map's name without its ending."""
    name = path.name
    for ending in ENDINGS:
        if name.lower().endswith(ending):
            name = name[: -len(ending)]
    return name


def digest(path: Path) -> str:
    """SHA-256 of a label map's file and of those that may hold its voxels."""
    files = [path]
    if path.name.lower().endswith(_DETACHED):
        files = sorted(p for p in path.parent.iterdir() if p.is_file() and _begins(p, stem(path)))
    found = hashlib.sha256()
    for file in files:
        found.update(file.read_bytes())
    return found.hexdigest()


def _begins(path: Path, name: str) -> bool:
    return path.name.split(".")[0] == name.split(".")[0]


def read_label_map(path: str | os.PathLike[str]) -> LabelMap:
    """Reads a label map: NIfTI, NRRD (3D Slicer's segmentations with layers too), MetaImage or MGH.

    Voxels that are not numbers are background. Segments of several layers become labels of one map;
    where they overlap, the thinner one, which has fewer voxels, is kept.

    Raises:
      InputError: as the formats' readers, another format, values that are not whole numbers, or a
        label above 65535.
    """
    path = Path(path)
    kind = formats.sniff(path)
    if kind == "nrrd":
        return _of_nrrd(path)
    if kind == "nifti":
        volume = nifti.read_nifti(path)
        names = nifti.read_label_names(path)
        return LabelMap(whole_labels(volume, path), names, "the NIfTI header" if names else "")
    if kind == "metaimage":
        return LabelMap(whole_labels(metaimage.read_metaimage(path), path))
    if kind == "mgh":
        return LabelMap(whole_labels(mgh.read_mgh(path), path))
    raise InputError(
        f"{path}: {formats.NAMES[kind]}, expected a label map (NIfTI, NRRD, MetaImage, MGH)"
    )


def whole_labels(
    volume: geometry.Volume, path: str | os.PathLike[str] | None = None
) -> geometry.Volume:
    """The volume with u16 labels; voxels that are not numbers become background.

    Values may be off whole numbers by a thousandth, as after resampling or scaling.

    Raises:
      InputError: values that are not whole numbers, or outside 0..65535; `path` names the file.
    """
    where = "" if path is None else f"{path}: "
    array, doubts = volume.array, volume.doubts
    if array.dtype.kind == "f":
        gaps = np.isnan(array)
        array = np.where(gaps, 0, array)
        whole = np.rint(array)
        if np.abs(array - whole).max() > _OFF:
            raise InputError(
                f"{where}found values that are not whole numbers, expected a map of labels"
            )
        array = whole
    low, high = int(array.min()), int(array.max())
    if low < 0 or high > 65535:
        raise InputError(f"{where}found labels from {low} to {high}, expected 0 to 65535")
    return geometry.Volume(array.astype(np.uint16), volume.affine, doubts)


@dataclasses.dataclass(frozen=True)
class _Segment:
    name: str
    value: int
    layer: int


def _of_nrrd(path: Path) -> LabelMap:
    found = nrrd.read_layers(path)
    layers = len(found.array)
    with formats.reading(path, "NRRD"):
        segments = _segments(found.header, layers)
    if not segments:
        return LabelMap(whole_labels(nrrd.read_nrrd(path), path))
    if any(segment.layer >= layers for segment in segments):
        raise InputError(f"{path}: a segment refers to a missing layer, found {layers}")
    if layers == 1:
        volume = geometry.Volume(found.array[0], found.affine)
        names = {segment.value: segment.name for segment in segments if segment.value}
        plausible = formats.require_plausible(volume, path)
        return LabelMap(whole_labels(plausible, path), names, _SLICER)
    return _merged(found, segments, path)


def _segments(header: Mapping[str, object], layers: int) -> list[_Segment]:
    """The segments of 3D Slicer's header, in its order.

    The terminology's name replaces an automatic one. Slicer before 4.11 states no layers: every
    segment has one of its own, in which it has the value 1.
    """
    fields: dict[int, dict[str, str]] = {}
    for key, value in header.items():
        match = _SEGMENT.fullmatch(str(key))
        if match is not None:
            fields.setdefault(int(match[1]), {})[match[2]] = str(value)
    if len(fields) > MOST_SEGMENTS:
        raise InputError(f"its header names more than {MOST_SEGMENTS} segments")
    segments = []
    apart = layers > 1 and not any("Layer" in one for one in fields.values())
    for number in sorted(fields):
        one = fields[number]
        name = one.get("Name", "")
        if re.fullmatch(r"(?i)segment[ _]?\d*|", name.strip()):
            name = _terminology(one.get("Tags", "")) or name
        value = one.get("LabelValue", "1" if apart else str(number + 1))
        layer = str(number) if apart else one.get("Layer", "0")
        if not (value.isdecimal() and layer.isdecimal() and len(value) < 6 and len(layer) < 6):
            raise InputError(f"Segment{number} has no valid label value or layer")
        segments.append(_Segment(name, int(value), int(layer)))
    return segments


def _terminology(tags: str) -> str:
    """A segment's name in its tags: context~category~type~..., a type SCHEME^CODE^MEANING."""
    parts = tags.partition("TerminologyEntry:")[2].split("|")[0].split("~")
    words = parts[2].split("^") if len(parts) > 2 else []
    return words[2] if len(words) > 2 else ""


def _merged(found: nrrd.Nrrd, segments: list[_Segment], path: Path) -> LabelMap:
    """Merges segments of several layers into labels 1, 2, ... of one map; the smaller ones last."""
    masks = {
        number: found.array[segment.layer] == segment.value
        for number, segment in enumerate(segments, 1)
        if segment.value
    }
    sizes = {number: int(mask.sum()) for number, mask in masks.items()}
    labels = np.zeros(found.array.shape[1:], np.uint16)
    covered = 0
    for number in sorted(masks, key=lambda number: -sizes[number]):
        covered += int((labels[masks[number]] > 0).sum())
        labels[masks[number]] = number
    doubts = [f"segments of {len(found.array)} layers are put into one map"]
    if covered:
        doubts.append(f"{covered} voxels lie in several segments: the smaller one is kept")
    volume = geometry.Volume(labels, found.affine, tuple(doubts))
    formats.require_plausible(volume, path)
    names = {number: segments[number - 1].name for number in masks}
    return LabelMap(volume, names, _SLICER)
