"""Whether the knees of a dataset are real, simulated, or unknown."""

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

from xr2mri_jax import files
from xr2mri_jax.datasets.examples import StoredExamples
from xr2mri_jax.errors import InputError
from xr2mri_jax.io.label_map import stem
from xr2mri_jax.io.nifti import read_description

REAL, SIMULATED, UNKNOWN = "real", "simulated", "unknown"
_SIMULATED = ("knee_phantom", "knee_family")


def is_phantom(name: str) -> bool:
    """Whether a dataset, "DATASET" or "DATASET/CONFIG", has simulated knees only."""
    return name.partition("/")[0] in _SIMULATED


class Origin(NamedTuple):
    """The origin of the knees of a split: "real", "simulated" or "unknown", and doubts about it."""

    knees: str
    doubts: list[str]


def origin(name: str, source: Any, split: str) -> Origin:
    """The origin of the knees of a split, from the dataset's name or the records of its cases.

    Args:
      name: "DATASET" or "DATASET/CONFIG".
      source: its TFDS builder.
      split: a split of it.

    Returns:
      "simulated" for phantoms, and if the radiograph or the MRI of every case was made by
      `xr2mri simulate`; "real" if all files are others; "unknown" if a file no longer exists, or,
      with a doubt, if real and simulated knees are mixed.

    Raises:
      InputError: if the dataset has no such split.
    """
    if is_phantom(name):
        return Origin(SIMULATED, [])
    if not hasattr(source, "as_data_source") or "record" not in source.info.features:
        return Origin(UNKNOWN, [])
    cases = _undecoded(source, split)
    found = [_origin_of_case(cases[i]["record"]) for i in range(len(cases))]
    if SIMULATED in found and REAL in found:
        doubt = (
            f"real and simulated knees are mixed in the split {split!r}: {found.count(SIMULATED)} "
            f"of {len(found)} are simulated"
        )
        return Origin(UNKNOWN, [doubt])
    return Origin(found[0] if len(set(found)) == 1 else UNKNOWN, [])


def _undecoded(source: Any, split: str) -> StoredExamples:
    """The examples of a split without decoding their images."""
    import tensorflow_datasets as tfds

    features = source.info.features
    return StoredExamples(source, split, {name: tfds.decode.SkipDecoding() for name in features})


def _origin_of_case(record: str | bytes) -> str:
    """Simulated if the radiograph or the MRI is, real if both are."""
    try:
        known = json.loads(record)
        found = {origin_of_file(known["radiograph"]["file"])}
        if "mri" in known:
            found.add(origin_of_mri(known["mri"]["file"]))
    except (ValueError, KeyError, TypeError):
        return UNKNOWN
    return next(one for one in (SIMULATED, UNKNOWN, REAL) if one in found)


def origin_of_file(path: str | os.PathLike[str]) -> str:
    """The origin of a radiograph's file: "simulated" if the record beside it says so."""
    path = Path(path)
    if not path.exists():
        return UNKNOWN
    return _origin_by_record(path.with_suffix(".json"))


def origin_of_mri(path: str | os.PathLike[str]) -> str:
    """The origin of an MRI: "simulated" if its header says so, or its pair's record.

    Files that `simulate` wrote before it marked their headers are recognised by the record, which
    lies beside them or, in the folder of a simulated collection, in xray/.
    """
    path = Path(path)
    if not path.exists():
        return UNKNOWN
    if not path.name.endswith((".nii", ".nii.gz")):
        return REAL  # simulated MRIs are NIfTI
    try:
        if read_description(path).startswith(SIMULATED):
            return SIMULATED
    except InputError:
        return UNKNOWN
    record = f"{stem(path)}.json"
    found = {_origin_by_record(path.parent / record)}
    found.add(_origin_by_record(path.parent.parent / "xray" / record))
    return next(one for one in (SIMULATED, UNKNOWN, REAL) if one in found)


def _origin_by_record(record: Path) -> str:
    """ "simulated" if the record says so; "real" without a record."""
    if not record.is_file():
        return REAL
    try:
        said = files.read_json(record).get("statement", "")
    except InputError:  # a foreign file of the same name
        return UNKNOWN
    return SIMULATED if str(said).startswith(SIMULATED) else REAL


def origin_adjective(knees: str) -> str:
    """The adjective of a reference volume in reports: "real", "simulated", or "true" if unknown."""
    return "true" if knees == UNKNOWN else knees
