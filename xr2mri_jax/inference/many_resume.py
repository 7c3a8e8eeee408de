"""Resumes an interrupted prediction of many radiographs: the rows that are finished."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xr2mri_jax import __version__
from xr2mri_jax.errors import InputError
from xr2mri_jax.files import read_json, write_json
from xr2mri_jax.inference import many_page
from xr2mri_jax.inference.earlier_outputs import RUN
from xr2mri_jax.inference.export import SUFFIXES, OutputFiles
from xr2mri_jax.inference.listing import Listed
from xr2mri_jax.inference.many_options import COLUMNS, TABLE, ManyOptions, Rows
from xr2mri_jax.inference.predictor import SHIPPED_MODEL, Predictor
from xr2mri_jax.inference.row_file import partial_path
from xr2mri_jax.inference.shapes import table_path
from xr2mri_jax.io.tables import as_read, read_table

# The key of the input in RUN, without which folders of earlier versions are continued: files of
# equal names in two inputs would replace each other's results.
_XRAY = "xray"


def key(one: Listed, options: ManyOptions) -> tuple[str, str]:
    """A file's name in the table, and a digest of its state and of its stated side and spacing.

    The state is its size and modification time, and its own name if the table has another.
    """
    try:
        stat = one.path.stat()
        state: tuple[Any, ...] = (stat.st_size, stat.st_mtime_ns)
    except OSError:
        state = ()
    stated = (*state, one.side or options.side, one.spacing or options.spacing)
    name = as_read(one.name)
    if name != one.name:
        stated = (*stated, one.name)
    return name, hashlib.sha256(repr(stated).encode()).hexdigest()[:16]


def finished_rows(options: ManyOptions, predictor: Predictor) -> dict[tuple[str, str], Rows]:
    """The rows of an earlier run whose files all exist, by `key`; writes RUN.

    Raises:
      InputError: the folder's RUN describes another input, another model or other options.
    """
    run = {
        _XRAY: os.fspath(options.xray.absolute()),
        "version": __version__,
        "model": os.path.abspath(options.model) if options.model else SHIPPED_MODEL,
        "step": predictor.step,
        **predictor.identity(),
        "force": options.force,
        "labels": None if options.labels is None else os.fspath(options.labels.absolute()),
        "meshes": None if options.meshes is None else os.fspath(options.meshes.absolute()),
        "pictures": options.pictures,
        "page": None if options.page is None else os.fspath(options.page.absolute()),
    }
    described = options.output / RUN
    if not described.exists():
        write_json(described, run)
        return {}
    try:
        before = json.loads(described.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{described}: cannot be read as JSON ({error})") from error
    if isinstance(before, dict) and _XRAY not in before:
        del run[_XRAY]
    for name, value in run.items():
        if not isinstance(before, dict) or before.get(name) != value:
            found = before.get(name) if isinstance(before, dict) else before
            raise InputError(
                f"--output: {options.output} holds predictions made with {name}={found!r}, found "
                f"{value!r} now, expected another folder"
            )
    table = options.output / TABLE
    unfinished = partial_path(table)
    source = unfinished if unfinished.exists() else table
    if not source.exists():
        return {}
    rows: dict[tuple[str, str], Rows] = {}
    for read in read_table(source, required=COLUMNS):
        row = {column: read[column] for column in COLUMNS}
        rows.setdefault((row["file"], row["input"]), []).append(row)
    return {one: group for one, group in rows.items() if all(_is_there(options, r) for r in group)}


def _is_there(options: ManyOptions, row: Mapping[str, str]) -> bool:
    """Whether every file that the run wrote for a row exists; true for rows without a volume."""
    if not row["volume"]:
        return True
    if options.page is not None and not many_page.is_there(options.page, row):
        return False
    files = options.files(row["volume"].removesuffix(SUFFIXES[0]))
    try:
        record = read_json(files.record)
    except InputError:
        return False
    return all(path.exists() for path in _written(files, record))


def _written(files: OutputFiles, record: Mapping[str, Any]) -> list[Path]:
    """The files of a knee; its record names those that not every model gives."""
    uncertain = _names(record, "uncertainty")
    paths = [*files.named(), *(path for path in files.uncertain() if path.name in uncertain)]
    if files.labels is not None:
        paths += [files.labels, table_path(files.labels)]
    if files.meshes is not None:
        paths += [files.meshes, *(files.meshes / name for name in _names(record, "meshes"))]
    return paths


def _names(record: Mapping[str, Any], part: str) -> list[str]:
    """The names of the files in a part of the record; [] without it."""
    about = record.get(part)
    names = about.get("files") if isinstance(about, dict) else None
    return [Path(str(name)).name for name in names] if isinstance(names, list) else []
