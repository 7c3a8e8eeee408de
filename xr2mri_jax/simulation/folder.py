"""Simulates the pairs of a folder of label maps, and writes the manifest for preparing them."""

import dataclasses
import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from absl import logging

from xr2mri_jax.errors import InputError, printable
from xr2mri_jax.geometry import SIDES
from xr2mri_jax.io import label_map
from xr2mri_jax.io.tables import Row, read_table, write_table
from xr2mri_jax.runtime.progress import progress
from xr2mri_jax.simulation.files import PairFiles, inputs_digest, simulate_file
from xr2mri_jax.simulation.label_tables import find_table

MANIFEST = "manifest.csv"
BROKEN = "broken.csv"
COLUMNS = ("subject", "side", "visit", "xray", "mri", "kl", "view", "sequence", "spacing")


@dataclasses.dataclass(frozen=True)
class FolderReport:
    """The outcome of every map: names of simulated, previously finished and broken ones.

    `broken` has the reason by file, `doubts` the decisions by name, including finished maps.
    """

    done: tuple[str, ...]
    kept: tuple[str, ...]
    broken: Mapping[str, str]
    doubts: Mapping[str, tuple[str, ...]]


@dataclasses.dataclass(frozen=True)
class _Map:
    name: str
    path: Path
    files: PairFiles
    row: Row | None
    settings: dict[str, Any]


def simulate_folder(
    labels: str | os.PathLike[str],
    output: str | os.PathLike[str],
    side: str | None = None,
    knees: str | os.PathLike[str] | None = None,
    table: str = "auto",
    seed: int = 0,
) -> FolderReport:
    """Simulates a pair for every map of a folder.

    OUTPUT gets xray/NAME.png and .json, mri/NAME.nii.gz, manifest.csv (see `io.manifest`) and, for
    maps without a pair, broken.csv with the reasons. An existing pair of the same map, side, table
    and seed is kept, so that an interrupted run can be resumed.

    Args:
      labels: folder of label maps, see `label_map.map_files`.
      output: created if missing.
      side: "left" or "right" of all; None if `knees` or the labels state it.
      knees: CSV with the columns file (with or without its ending) and, as far as known, side,
        subject, visit, kl of a map. Without a subject, the map's name is the subject.
      table: see `label_tables.find_table`.
      seed: combined with each map's name to seed its random numbers.

    Raises:
      InputError: no folder, no map in it, an invalid table or list of knees, or none of the maps
        gave a pair (the first reason is named).
    """
    find_table(table)
    output = Path(output)
    maps = _maps(Path(labels), output, side, _knees(knees), table, seed)
    done: list[str] = []
    kept: list[str] = []
    broken: dict[str, str] = {}
    doubts: dict[str, tuple[str, ...]] = {}
    rows: dict[str, dict[str, str]] = {}
    for one in progress(maps, "simulating", "map", len(maps)):
        record = _earlier(one)
        if record is not None:
            kept.append(one.name)
        else:
            try:
                record = simulate_file(one.path, one.files, **one.settings)
            except (InputError, MemoryError) as error:
                broken[one.path.name] = str(error) or "not enough memory"
                continue
            done.append(one.name)
        if said := record["labels"].get("doubts"):
            doubts[one.name] = tuple(map(str, said))
        rows[one.name] = _manifest_row(one, record)
        write_manifest(output / MANIFEST, list(rows.values()))
    _write_broken(output / BROKEN, broken)
    if not rows:
        name, reason = next(iter(broken.items()))
        raise InputError(f"none of {len(maps)} maps gave a pair; {name}: {reason}")
    return FolderReport(tuple(done), tuple(kept), broken, doubts)


def write_manifest(path: Path, rows: list[dict[str, str]]) -> None:
    """Writes rows with the keys COLUMNS, atomically."""
    write_table(path, COLUMNS, ([row[name] for name in COLUMNS] for row in rows))


def _maps(
    labels: Path,
    output: Path,
    side: str | None,
    knees: dict[str, Row],
    table: str,
    seed: int,
) -> list[_Map]:
    if not labels.is_dir():
        raise InputError(f"--labels: {labels} is not a folder, expected one of label maps")
    paths = label_map.map_files(labels)
    if not paths:
        raise InputError(
            f"--labels: {labels} has no files ending in {', '.join(label_map.ENDINGS)}"
        )
    found: dict[str, _Map] = {}
    for path in paths:
        name = label_map.stem(path)
        if name in found:
            raise InputError(f"{path}: {found[name].path.name} has the same name, expected one")
        row = knees.get(name)
        own = _side(row) or side
        files = PairFiles.named(output / "xray" / f"{name}.png", output / "mri" / f"{name}.nii.gz")
        settings = {"side": own, "table": table, "seed": zlib.crc32(f"{seed}:{name}".encode())}
        found[name] = _Map(name, path, files, row, settings)
    for name in sorted(set(knees) - set(found)):
        row = knees[name]
        logging.warning("%s, row %d: no map of the name %s", row.table, row.number, printable(name))
    return list(found.values())


def _knees(path: str | os.PathLike[str] | None) -> dict[str, Row]:
    if path is None:
        return {}
    rows: dict[str, Row] = {}
    for row in read_table(Path(path), required=("file",), delimiters=",;\t"):
        name = label_map.stem(Path(row["file"]))
        if name in rows or not name:
            raise row.error("file", row["file"], "every map once")
        _side(row)
        rows[name] = row
    return rows


def _side(row: Row | None) -> str | None:
    text = "" if row is None else row.get("side").lower()
    side = {"r": "right", "l": "left", "1": "right", "2": "left", "": None}.get(text, text)
    if row is not None and side not in (*SIDES, None):
        raise row.error("side", text, "left or right")
    return side


def _earlier(one: _Map) -> dict[str, Any] | None:
    """The record of a pair that was made before with the same settings; None if there is none."""
    if not one.files.exist():
        return None
    try:
        record = json.loads(one.files.record.read_text(encoding="utf-8"))
        same = (
            record["side"] == (one.settings["side"] or record["side"])
            and record["seed"] == one.settings["seed"]
            and record["labels"]["table"] == one.settings["table"]
            and record["labels"]["sha256"] == inputs_digest(one.path, one.settings["table"])
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        return None  # foreign, or of an older version: simulated again
    return record if same else None


def _manifest_row(one: _Map, record: Mapping[str, Any]) -> dict[str, str]:
    row = one.row
    return {
        "subject": (row.get("subject") if row else "") or one.name,
        "side": record["side"],
        "visit": row.get("visit") if row else "",
        "xray": f"xray/{one.files.xray.name}",
        "mri": f"mri/{one.files.mri.name}",
        "kl": row.get("kl") if row else "",
        "view": "single",
        "sequence": "dess",
        "spacing": str(record["radiograph"]["spacing_mm"][0]),
    }


def _write_broken(path: Path, broken: Mapping[str, str]) -> None:
    if not broken:
        path.unlink(missing_ok=True)
        return
    write_table(path, ("file", "reason"), broken.items())
