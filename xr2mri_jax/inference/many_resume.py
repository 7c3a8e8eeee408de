"""Resumes an interrupted prediction of many radiographs: the rows that are finished."""

import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any

from xr2mri_jax import __version__
from xr2mri_jax.errors import InputError
from xr2mri_jax.files import write_json
from xr2mri_jax.inference import many_page
from xr2mri_jax.inference.earlier_outputs import RUN
from xr2mri_jax.inference.listing import Listed
from xr2mri_jax.inference.many_options import COLUMNS, TABLE, ManyOptions, Rows
from xr2mri_jax.inference.predictor import SHIPPED_MODEL, Predictor
from xr2mri_jax.inference.row_file import partial_path
from xr2mri_jax.io.tables import as_read, read_table


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
      InputError: the folder's RUN describes another model or other options.
    """
    run = {
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
    outputs = [row[name] for name in ("volume", "labels", "meshes") if row[name]]
    if options.page is not None and not many_page.is_there(options.page, row):
        return False
    return all((options.output / name).exists() for name in outputs)
