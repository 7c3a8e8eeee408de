"""Many radiographs to volumes: a folder or a table of them, and a table of what was done."""

import concurrent.futures
import dataclasses
import functools
import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from xr2mri_jax import __version__
from xr2mri_jax.errors import InputError
from xr2mri_jax.files import require_writable, write_json
from xr2mri_jax.inference import many_page, reading
from xr2mri_jax.inference.export import OutputFiles, write_prediction
from xr2mri_jax.inference.listing import Listed, list_files, list_table, output_name
from xr2mri_jax.inference.predict import predict_found, require_surfaces, with_source
from xr2mri_jax.inference.prediction import Prediction
from xr2mri_jax.inference.predictor import Predictor, load_predictor
from xr2mri_jax.inference.row_file import RowFile, partial_path
from xr2mri_jax.io.tables import read_table
from xr2mri_jax.preprocess.answers import Asked, FoundKnee, RefusedKnee, named_side
from xr2mri_jax.preprocess.knees import knees_of
from xr2mri_jax.runtime import lock

TABLE, RUN = "predictions.csv", "predictions.json"
COLUMNS = (
    "file", "side", "volume", "labels", "meshes", "spacing_mm", "spacing_source", "unlike",
    "warnings", "error", "input",
)  # fmt: skip

Rows = list[dict[str, str]]


@dataclasses.dataclass(frozen=True)
class ManyOptions:
    """What is predicted, and where it goes.

    Attributes:
      xray: a folder of radiographs, or a CSV table with the column `file` and, where known, `side`
        and `spacing`; paths are relative to the table.
      output: folder for NAME_SIDE.nii.gz with its record NAME_SIDE.json, and for TABLE.
      model: see `load_generator`.
      side: which knee is meant in every file, or None: every knee that is seen.
      spacing: mm a pixel in every file whose row states none, or None.
      force: take the middle of a picture in which no knee is seen.
      labels: folder for label maps NAME_SIDE.nii.gz, or None.
      meshes: folder for a folder NAME_SIDE of STL files, or None.
      pictures: whether NAME_SIDE.png is drawn too.
      page: folder of the page with a viewer, or None.

    Raises:
      InputError: a spacing that is not positive, or folders in each other's way.
    """

    xray: Path
    output: Path
    model: str | None = None
    side: str | None = None
    spacing: float | None = None
    force: bool = False
    labels: Path | None = None
    meshes: Path | None = None
    pictures: bool = False
    page: Path | None = None

    def __post_init__(self) -> None:
        if self.spacing is not None and not 0 < self.spacing < math.inf:
            raise InputError(
                f"--spacing: found {self.spacing:g}, expected a positive number, mm a pixel"
            )
        if self.labels is not None and self.labels.absolute() == self.output.absolute():
            raise InputError(
                f"--labels: found {self.labels}, the folder of the volumes, expected another one"
            )
        if self.page is not None:
            many_page.require_folder(self.page)

    def folders(self) -> dict[str, Path]:
        """The folders of the outputs by flag."""
        known = {
            "--output": self.output,
            "--labels": self.labels,
            "--meshes": self.meshes,
            "--page": self.page,
        }
        return {flag: folder for flag, folder in known.items() if folder is not None}

    def holds(self, path: Path) -> bool:
        """Whether a path lies in one of the outputs' folders."""
        parents = path.absolute().parents
        return any(folder.absolute() in parents for folder in self.folders().values())


def is_many(xray: str | os.PathLike[str]) -> bool:
    """Whether a path names a folder or a table, rather than one radiograph."""
    return Path(xray).is_dir() or Path(xray).suffix.lower() == ".csv"


def predict_many(options: ManyOptions) -> Rows:
    """Predicts every knee of many radiographs; files are read and written in several threads.

    A run that was cut off is continued: files whose row is there and that have not changed are left
    alone. A file that cannot be used has a row with the reason.

    Args:
      options: what, and where to.

    Returns:
      The rows of the table by COLUMNS, those of an earlier run first.

    Raises:
      InputError: an input, an option or the model cannot be used; the folder holds predictions of
        another model or of other options; or not one knee could be predicted.
    """
    listed = _listed(options)
    for flag, folder in options.folders().items():
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{flag}: found the file {folder}, expected a folder")
        require_writable(folder, flag)
    predictor = load_predictor(options.model)
    if options.labels or options.meshes:
        require_surfaces(predictor, "--labels, --meshes")
    for folder in options.folders().values():
        folder.mkdir(parents=True, exist_ok=True)
    with lock.hold(options.output, "a prediction of many radiographs"):
        kept = _kept(options, predictor)
        rows = [row for one in listed for row in kept.get(_key(one, options), [])]
        rest = [one for one in listed if _key(one, options) not in kept]
        with RowFile(options.output / TABLE, COLUMNS, map(_cells, rows)) as table:
            for found in _predicted(options, predictor, listed, rest):
                table.write(*map(_cells, found))
                rows += found
        if options.page is not None:
            many_page.write(options.page, rows)
    if not any(row["volume"] for row in rows):
        raise InputError(
            f"--xray={options.xray}: none of {len(listed)} files could be used, expected frontal "
            f"knee radiographs: {rows[0]['file']}: {rows[0]['error']} (all reasons: "
            f"{options.output / TABLE})"
        )
    return rows


def _listed(options: ManyOptions) -> list[Listed]:
    if options.xray.is_dir():
        return list_files(options.xray, options.holds)
    return list_table(options.xray)


def _cells(row: Mapping[str, str]) -> list[str]:
    return [row[column] for column in COLUMNS]


def _key(one: Listed, options: ManyOptions) -> tuple[str, str]:
    """A file's name, and a digest of its size, its time of change and what is said of it."""
    try:
        stat = one.path.stat()
        state: tuple[Any, ...] = (stat.st_size, stat.st_mtime_ns)
    except OSError:
        state = ()
    stated = (*state, one.side or options.side, one.spacing or options.spacing)
    return one.name, hashlib.sha256(repr(stated).encode()).hexdigest()[:16]


def _kept(options: ManyOptions, predictor: Predictor) -> dict[tuple[str, str], Rows]:
    """The rows of an earlier run whose files are all there, by `_key`; RUN is written.

    Raises:
      InputError: the folder's RUN describes another model or other options.
    """
    run = {
        "version": __version__,
        "model": predictor.source,
        "step": predictor.step,
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
    for key, value in run.items():
        if not isinstance(before, dict) or before.get(key) != value:
            found = before.get(key) if isinstance(before, dict) else before
            raise InputError(
                f"--output: {options.output} holds predictions made with {key}={found!r}, found "
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
    return {key: group for key, group in rows.items() if all(_is_there(options, r) for r in group)}


def _is_there(options: ManyOptions, row: Mapping[str, str]) -> bool:
    outputs = [row[name] for name in ("volume", "labels", "meshes") if row[name]]
    if options.page is not None and not many_page.is_there(options.page, row):
        return False
    return all((options.output / name).exists() for name in outputs)


def _predicted(
    options: ManyOptions, predictor: Predictor, listed: Sequence[Listed], rest: Sequence[Listed]
) -> Iterator[Rows]:
    """The rows of each remaining file in order, while further files are worked on."""
    taken: set[str] = set()
    stems: dict[str, str] = {}
    for one in listed:
        if one.name not in stems:
            stems[one.name] = output_name(one.name, "", taken)
    if rest:
        predictor.compile()
    workers = reading.workers()
    progress = tqdm(total=len(listed), initial=len(listed) - len(rest), unit="file", disable=None)
    with concurrent.futures.ThreadPoolExecutor(workers) as pool, progress:
        for found in reading.ahead(
            pool,
            lambda one: _of_file(one, stems[one.name], predictor, options),
            rest,
            2 * workers,
        ):
            yield found
            progress.update()


def _of_file(one: Listed, stem: str, predictor: Predictor, options: ManyOptions) -> Rows:
    """Predicts and writes every knee of a file; the rows say what was done or why not."""
    _, digest = _key(one, options)
    blank = dict.fromkeys(COLUMNS, "") | {"file": one.name, "input": digest}
    asked = Asked(
        one.side or options.side,
        one.spacing or options.spacing,
        named=named_side(one.path),
        force=options.force,
    )

    def read() -> tuple[Any, Sequence[FoundKnee | RefusedKnee]]:
        radiograph = reading.decoded(one.path)
        return radiograph, knees_of(radiograph, asked)

    answer, reason = _tried(one.path, read)
    if answer is None:
        return [blank | {"error": reason}]
    radiograph, answers = answer
    rows = []
    for knee in answers:
        row = blank | {"side": knee.side}
        if isinstance(knee, RefusedKnee):
            rows.append(row | {"error": knee.reason})
            continue
        predicted, reason = _tried(one.path, functools.partial(predict_found, predictor, knee))
        if predicted is None:
            rows.append(row | {"error": reason})
            continue
        files = _files(f"{stem}_{knee.side}", options)
        write_prediction(files, with_source(predicted, radiograph, one.path))
        row |= _described(predicted, files, options.output)
        if options.page is not None:
            many_page.write_case(options.page, row, predicted)
        rows.append(row)
    return rows


def _tried(path: Path, work: Callable[[], Any]) -> tuple[Any, str]:
    """What `work` returns, or None and the reason: one file must not end the run."""
    try:
        return work(), ""
    except Exception as error:
        return None, reading.reason(path, error)


def _files(name: str, options: ManyOptions) -> OutputFiles:
    folder = options.output
    return OutputFiles(
        folder / f"{name}.nii.gz",
        folder / f"{name}.json",
        folder / f"{name}.png" if options.pictures else None,
        labels=None if options.labels is None else options.labels / f"{name}.nii.gz",
        meshes=None if options.meshes is None else options.meshes / name,
    )


def _described(predicted: Prediction, files: OutputFiles, folder: Path) -> dict[str, str]:
    """A row's cells of a knee that was predicted; paths are relative to the table."""
    record = predicted.record
    scale = record["knee"]["scale"]
    unlike = record["model"].get("unlike")

    def relative(path: Path | None) -> str:
        return "" if path is None else Path(os.path.relpath(path, folder)).as_posix()

    return {
        "volume": relative(files.volume),
        "labels": relative(files.labels),
        "meshes": relative(files.meshes),
        "spacing_mm": "" if scale is None else f"{np.mean(scale['spacing_mm']):.4f}",
        "spacing_source": "" if scale is None else scale["source"],
        "unlike": "" if unlike is None else f"{unlike:.3f}",
        "warnings": "; ".join(predicted.warnings),
    }
