"""Simulates the pair of one label map and writes its files."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from xr2mri_jax.errors import InputError
from xr2mri_jax.files import atomic_paths
from xr2mri_jax.geometry import Volume
from xr2mri_jax.io import write_nifti
from xr2mri_jax.io.label_map import LabelMap, digest, whole_labels
from xr2mri_jax.output_paths import require_apart, require_ending, require_file_place
from xr2mri_jax.phantom.label_map import SimulatedPair, simulate_pair
from xr2mri_jax.simulation.knee_labels import KneeLabels, knee_of_map, read_knee
from xr2mri_jax.simulation.label_tables import AUTO, TABLES

LEVELS = 4095  # of the stored MRI: 12 bits, as scanners use
MARK = "simulated from a label map"  # in the MRI's header, for `datasets.data_origin`


class PairFiles(NamedTuple):
    """Output paths of a pair: 16-bit PNG, its record, and the MRI as NIfTI."""

    xray: Path
    record: Path
    mri: Path

    @classmethod
    def named(cls, xray: str | os.PathLike[str], mri: str | os.PathLike[str]) -> "PairFiles":
        """Raises InputError for endings other than .png, and .nii.gz or .nii."""
        xray, mri = Path(xray), Path(mri)
        require_ending(xray, ".png", "--xray")
        if not mri.name.endswith((".nii.gz", ".nii")):
            raise InputError(f"--mri: found {mri}, expected a name ending in .nii.gz or .nii")
        return cls(xray, xray.with_suffix(".json"), mri)

    def exist(self) -> bool:
        return all(path.is_file() for path in self)


def inputs_digest(labels: Path, table: str) -> str:
    """SHA-256 of a map, and of the table of its labels if that is a file."""
    found = hashlib.sha256(digest(labels).encode())
    if table not in (AUTO, *TABLES) and Path(table).is_file():
        found.update(Path(table).read_bytes())
    return found.hexdigest()


def simulate_file(
    labels: str | os.PathLike[str],
    files: PairFiles,
    side: str | None = None,
    table: str = "auto",
    seed: int = 0,
) -> dict[str, Any]:
    """Reads a label map, simulates and writes PNG, record and NIfTI: all of them or none.

    Args:
      labels: NIfTI, NRRD, MetaImage or MGH, see `io.label_map`.
      files: the output paths.
      side: "left" or "right"; None if the labels determine it (fibula, or medial and lateral
        parts).
      table: see `knee_labels.knee_of_map`.
      seed: random seed, 0 or more.

    Returns:
      The record, as written: that of `label_map.simulate_pair`, plus the files, the table, the
      radiograph's spacing_mm and centre_px, and the MRI's scale.

    Raises:
      InputError: the map or an argument cannot be used; nothing has been written.
    """
    if seed < 0:
        raise InputError(f"--seed: found {seed}, expected 0 or more")
    for flag, file in zip(("--xray", "--xray", "--mri"), files, strict=True):
        require_apart(file, (labels, table), flag)
        require_file_place(file, flag)
    knee = read_knee(labels, side, table)
    try:
        pair = _pair(knee, seed)
    except InputError as error:
        raise InputError(f"{labels}: {error}") from error
    record = _record(pair, Path(labels), files, table, knee)
    _write(files, pair, record)
    return record


def simulate_labels(
    labels: Volume, side: str | None = None, table: str = "auto", seed: int = 0
) -> tuple[SimulatedPair, dict[int, str]]:
    """Simulates the pair of a label map.

    Args:
      labels: integers, any orientation and voxel size.
      side, table, seed: as for `simulate_file`.

    Returns:
      The pair, and the meanings of the map's codes.

    Raises:
      InputError: as `simulate_file`.
    """
    if seed < 0:
        raise InputError(f"--seed: found {seed}, expected 0 or more")
    knee = knee_of_map(LabelMap(whole_labels(labels)), side, table)
    return _pair(knee, seed), knee.used


def _pair(knee: KneeLabels, seed: int) -> SimulatedPair:
    if knee.side is None:
        raise InputError("the labels do not state the side, give --side=right or --side=left")
    return simulate_pair(knee.volume, knee.side, seed)


def _record(
    pair: SimulatedPair, labels: Path, files: PairFiles, table: str, knee: KneeLabels
) -> dict[str, Any]:
    rows, columns = pair.radiograph.shape
    details = {
        "file": os.fspath(labels),
        "sha256": inputs_digest(labels, table),
        "table": table,
        "table_used": knee.table,
        "names": knee.used,
        "doubts": [*knee.doubts, *pair.doubts],
    }
    return {
        **pair.record,
        "labels": {**pair.record["labels"], **details},
        "radiograph": {
            "file": files.xray.name,
            "spacing_mm": list(pair.radiograph.spacing or ()),
            "centre_px": [(rows - 1) / 2, (columns - 1) / 2],
            "values": "0..65535 for 0..1, bone bright",
        },
        "mri": {
            "file": os.fspath(files.mri),
            "grid": "the label map's",
            "values": f"0..{LEVELS} for 0..1",
        },
    }


def _write(files: PairFiles, pair: SimulatedPair, record: dict[str, Any]) -> None:
    pixels = np.rint(pair.radiograph.array * 65535).astype(np.uint16)
    voxels = np.rint(pair.mri.array * np.float32(LEVELS)).astype(np.uint16)
    text = json.dumps(record, indent=2, allow_nan=False)
    # If the record exists, so do the other files.
    with atomic_paths(files.record, files.xray, files.mri) as (note, xray, mri):
        Image.fromarray(pixels).save(xray, format="PNG")
        write_nifti(mri, Volume(voxels, pair.mri.affine), description=MARK)
        note.write_text(text + "\n", encoding="utf-8")
