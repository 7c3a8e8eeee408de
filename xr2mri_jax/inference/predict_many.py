"""Predicts the volumes of many radiographs, from a folder or a table, and writes a result table."""

import concurrent.futures
import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xr2mri_jax.errors import InputError
from xr2mri_jax.inference import many_page, many_resume, read_ahead, table_doubts
from xr2mri_jax.inference.export import OutputFiles, write_prediction
from xr2mri_jax.inference.listing import Listed, list_files, list_table, output_name
from xr2mri_jax.inference.many_options import COLUMNS, TABLE, ManyOptions, Rows
from xr2mri_jax.inference.predict import predict_found, require_surfaces, with_source
from xr2mri_jax.inference.prediction import Prediction
from xr2mri_jax.inference.predictor import Predictor, load_predictor
from xr2mri_jax.inference.row_file import RowFile
from xr2mri_jax.output_paths import require_writable
from xr2mri_jax.preprocess.knee_request import FoundKnee, KneeRequest, RefusedKnee, named_side
from xr2mri_jax.preprocess.knees import knees_of
from xr2mri_jax.presentation.pluralise import pluralise
from xr2mri_jax.runtime import lock
from xr2mri_jax.runtime.progress import progress

# Cells of a file whose failure is not the file's fault, such as too little memory: without its
# digest it is not finished, and a repeated run predicts it again.
_TRIED_AGAIN = {"input": ""}


def is_many(xray: str | os.PathLike[str]) -> bool:
    """Whether a path names a folder or a table, rather than one radiograph."""
    return Path(xray).is_dir() or Path(xray).suffix.lower() in (".csv", ".tsv")


def predict_many(options: ManyOptions) -> Rows:
    """Predicts every knee of many radiographs in several threads, and prints the counts.

    An interrupted run is resumed: files that have a row and have not changed are skipped. A file
    that cannot be used has a row with the reason.

    Args:
      options: what to predict, and where to write it.

    Returns:
      The rows of the table by COLUMNS, those of an earlier run first.

    Raises:
      InputError: an input, an option or the model cannot be used; the folder holds predictions of
        another input or model or with other options; or no knee could be predicted.
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
        kept = many_resume.finished_rows(options, predictor)
        rows = [row for one in listed for row in kept.get(many_resume.key(one, options), [])]
        earlier = _knees(rows)
        rest = [one for one in listed if many_resume.key(one, options) not in kept]
        with RowFile(options.output / TABLE, COLUMNS, map(_cells, rows)) as table:
            for found in _predicted(options, predictor, _stems(rest, rows), rest):
                table.write(*map(_cells, found))
                rows += found
        if options.page is not None:
            many_page.write(options.page, rows)
    if not _knees(rows):
        raise InputError(
            f"--xray={options.xray}: none of {len(listed)} files could be used, expected frontal "
            f"knee radiographs: {rows[0]['file']}: {rows[0]['error']} (all reasons: "
            f"{options.output / TABLE})"
        )
    _log_doubts(rows, options.output / TABLE)
    done = _knees(rows)
    said = f"{earlier} kept from an earlier run, " if earlier else ""
    print(
        f"{options.output / TABLE}: {pluralise(done - earlier, 'knee')} synthesised, {said}"
        f"{len(rows) - done} refused - research only, not for diagnosis"
    )
    return rows


def _log_doubts(rows: Rows, table: Path) -> None:
    knees = [
        (f"{row['file']}, {row['side']} knee", row["warnings"], float(row["unlike"] or 0))
        for row in rows
        if row["volume"]
    ]
    table_doubts.log(knees, table, "warnings")


def _knees(rows: Rows) -> int:
    return sum(bool(row["volume"]) for row in rows)


def _listed(options: ManyOptions) -> list[Listed]:
    if options.xray.is_dir():
        return list_files(options.xray, options.holds)
    return list_table(options.xray)


def _cells(row: Mapping[str, str]) -> list[str]:
    return [row[column] for column in COLUMNS]


def _stems(rest: Sequence[Listed], kept: Rows) -> dict[str, str]:
    """The outputs' names by file; none is the name of a kept row."""
    taken = {row["volume"].removesuffix(f"_{row['side']}.nii.gz").lower() for row in kept}
    stems: dict[str, str] = {}
    for one in rest:
        if one.name not in stems:
            stems[one.name] = output_name(one.name, "", taken)
    return stems


def _predicted(
    options: ManyOptions, predictor: Predictor, stems: Mapping[str, str], rest: Sequence[Listed]
) -> Iterator[Rows]:
    """The rows of each remaining file in order, while later files are in progress."""
    if rest:
        predictor.compile()
    workers = read_ahead.workers()
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        made = read_ahead.map_ahead(
            pool,
            lambda one: _of_file(one, stems[one.name], predictor, options),
            rest,
            2 * workers,
        )
        yield from progress(made, "predicted", "file", len(rest))


def _of_file(one: Listed, stem: str, predictor: Predictor, options: ManyOptions) -> Rows:
    """Predicts and writes every knee of a file; the rows report the results or the reasons."""
    _, digest = many_resume.key(one, options)
    blank = dict.fromkeys(COLUMNS, "") | {"file": one.name, "input": digest}
    request = KneeRequest(
        one.side or options.side,
        one.spacing or options.spacing,
        named=named_side(one.path),
        force=options.force,
        side_source="the table's side" if one.side else "--side",
    )

    def read() -> tuple[Any, Sequence[FoundKnee | RefusedKnee]]:
        radiograph = read_ahead.decode_radiograph(one.path)
        return radiograph, knees_of(radiograph, request)

    answer, failed = _result_or_cells(one.path, read)
    if answer is None:
        return [blank | failed]
    radiograph, answers = answer
    rows = []
    for knee in answers:
        row = blank | {"side": knee.side}
        if isinstance(knee, RefusedKnee):
            rows.append(row | {"error": knee.reason})
            continue
        predicted, failed = _result_or_cells(
            one.path, functools.partial(predict_found, predictor, knee)
        )
        if predicted is None:
            rows.append(row | failed)
            continue
        files = options.files(f"{stem}_{knee.side}")
        named = with_source(predicted, radiograph, one.path)
        write_prediction(files, named)
        row |= _row_cells(predicted, files, options.output)
        if options.page is not None:
            many_page.write_case(options.page, row, named)
        rows.append(row)
    if not all(row["input"] for row in rows):
        rows = [row | _TRIED_AGAIN for row in rows]
    return rows


def _result_or_cells(path: Path, work: Callable[[], Any]) -> tuple[Any, dict[str, str]]:
    """The result of `work`, or None and the cells that say why: one file must not end the run."""
    try:
        return work(), {}
    except InputError as error:
        return None, {"error": read_ahead.error_reason(path, error)}
    except Exception as error:
        return None, {"error": read_ahead.error_reason(path, error)} | _TRIED_AGAIN


def _row_cells(predicted: Prediction, files: OutputFiles, folder: Path) -> dict[str, str]:
    """The cells of a predicted knee's row; paths are relative to the table."""
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
