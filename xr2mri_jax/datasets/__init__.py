"""The datasets by name: preparation and loading."""

import contextlib
import dataclasses
import errno
import importlib
import io
import os
import shutil
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import logging

from xr2mri_jax import files, output_paths
from xr2mri_jax.datasets import buckets
from xr2mri_jax.datasets.workers import end_workers
from xr2mri_jax.errors import InputError
from xr2mri_jax.runtime import interruption, lock

# Each is a folder of this package in TFDS's layout, with the module NAME_dataset_builder.
DATASETS = ("knee_phantom", "knee_family", "knee_pairs", "knee_xray")


def make_builder(name: str, data_dir: str | os.PathLike[str]) -> Any:
    """The TFDS builder of a dataset, prepared or not.

    Args:
      name: "DATASET" or "DATASET/CONFIG", for example "knee_phantom/quickstart".
      data_dir: folder of prepared datasets.

    Raises:
      InputError: the dataset or its configuration is unknown, or its description is damaged.
    """
    dataset, _, config = name.partition("/")
    known = _known_datasets()
    if dataset not in known:
        raise InputError(f"dataset: found {dataset!r}, expected one of {', '.join(known)}")
    module = importlib.import_module(f"{__name__}.{dataset}.{dataset}_dataset_builder")
    configs = [c.name for c in module.Builder.BUILDER_CONFIGS]
    if config and config not in configs:
        expected = ", ".join(f"{dataset}/{c}" for c in configs)
        raise InputError(f"dataset: found {name!r}, expected one of {expected}")
    try:
        return module.Builder(
            data_dir=os.fspath(data_dir), config=config or None, file_format="array_record"
        )
    except (AttributeError, ImportError):  # a problem of the installed packages, not of the files
        raise
    except Exception as error:  # TFDS and protobuf may raise anything if the files are damaged
        raise InputError(
            f"{os.path.join(os.fspath(data_dir), name)}: the prepared dataset's dataset_info.json "
            f"or features.json cannot be read ({type(error).__name__}: "
            f"{' '.join(str(error).split())}), expected them as they were prepared"
        ) from error


def is_prepared(name: str, data_dir: str | os.PathLike[str]) -> bool:
    """Whether the dataset is already prepared; InputError if its name is unknown."""
    return bool(make_builder(name, data_dir).info.splits)


def load_builder(name: str, data_dir: str | os.PathLike[str]) -> Any:
    """The TFDS builder of a prepared dataset; `as_data_source(split)` reads it.

    Raises:
      InputError: the dataset is unknown, or not prepared in `data_dir`; the message has the command
        that prepares it.
    """
    builder = make_builder(name, data_dir)
    if not builder.info.splits:
        raise InputError(
            f"{builder.data_dir}: found no prepared dataset {name}, expected one; prepare it with: "
            f"python launch/prepare.py --dataset={name} --data_dir={os.fspath(data_dir)}"
        )
    return builder


def prepare(
    name: str,
    data_dir: str | os.PathLike[str],
    num_workers: int = 1,
    source: str | os.PathLike[str] | None = None,
    options: Mapping[str, Any] | None = None,
    report: str | os.PathLike[str] | None = None,
    beam_runner: str | None = None,
    beam_options: Sequence[str] = (),
) -> Any:
    """Prepares a dataset as array_record files; returns immediately if it is already prepared.

    The dataset is built in a temporary folder and moved when it is complete, so that an interrupted
    preparation leaves no partial dataset. Leftovers of a killed one are removed by the next.

    Args:
      name: "DATASET" or "DATASET/CONFIG".
      data_dir: folder of prepared datasets; created if missing.
      num_workers: number of processes, for datasets that use several.
      source: the source files, for datasets made from files.
      options: options of the dataset, see its `OPTIONS`; omitted ones keep their default.
      report: CSV file for a copy of the dataset's report.csv, written even if the preparation stops
        because too many files are unusable, and if the dataset is already prepared.
      beam_runner: prepare on Apache Beam with this runner, for example "DirectRunner".
      beam_options: options of Beam, "name=value".

    Returns:
      The TFDS builder; for a dataset made from files, with a `report` for the screen.

    Raises:
      InputError: the dataset or an option is unknown, `data_dir` cannot be written, num_workers is
        below 1, `report` cannot be written, the dataset is already prepared with other options, its
        files cannot be used, or another preparation is running in `data_dir`.
    """
    if num_workers < 1:
        raise InputError(f"num_workers: found {num_workers}, expected 1 or more")
    builder = make_builder(name, data_dir)
    _configure(builder, source, dict(options or {}), report, beam_runner)
    if builder.info.splits:
        return _prepared(builder)
    with _locked(os.fspath(data_dir), name):
        # Another process may have prepared it while this one waited for the lock.
        again = make_builder(name, data_dir)
        if again.info.splits:
            _configure(again, source, dict(options or {}), report, beam_runner)
            return _prepared(again)
        with files.naming(Path(data_dir)):
            _build(builder, os.fspath(data_dir), num_workers, source, beam_runner, beam_options)
    return builder


def _prepared(builder: Any) -> Any:
    """The builder of an existing dataset, whose report is copied if `prepare` has a `report`.

    InputError if the dataset was made with other options.
    """
    if hasattr(builder, "require_same_preparation"):
        builder.require_same_preparation()
        builder.copy_report()
    return builder


@contextlib.contextmanager
def _locked(data_dir: str, name: str) -> Iterator[None]:
    """Holds the lock of a folder of prepared datasets; a remote folder (gs://...) has none."""
    if "://" in data_dir:
        yield
        return
    _require_writable(Path(data_dir))
    with lock.hold(Path(data_dir), f"the preparation of {name}"):
        yield


def _build(
    builder: Any,
    data_dir: str,
    num_workers: int,
    source: str | os.PathLike[str] | None,
    beam_runner: str | None,
    beam_options: Sequence[str],
) -> None:
    """Prepares the dataset of a builder; arguments as for `prepare`."""
    import tensorflow_datasets as tfds

    config = tfds.download.DownloadConfig(
        manual_dir=None if source is None else os.fspath(source), try_download_gcs=False
    )
    if beam_runner is not None:
        config.beam_runner, config.beam_options = _beam(beam_runner, num_workers, beam_options)
    if hasattr(builder, "num_workers"):
        builder.num_workers = num_workers
    if getattr(builder, "own_progress", False):
        tfds.disable_progress_bar()
    place = _place_to_build(builder, data_dir)
    # TFDS prints the size of a download, although nothing is downloaded.
    quiet = contextlib.redirect_stdout(io.StringIO())
    with place, _termination_as_interrupt(), buckets.without_tensorflow(), quiet:
        builder.download_and_prepare(
            download_dir=os.path.join(data_dir, "downloads"),
            download_config=config,
            file_format="array_record",
        )
    if "://" not in data_dir:
        files.sync_folder(Path(builder.data_dir))
        files.sync(Path(builder.data_dir).parent)


def _configure(
    builder: Any,
    source: str | os.PathLike[str] | None,
    options: Mapping[str, Any],
    report: str | os.PathLike[str] | None,
    beam_runner: str | None,
) -> None:
    """Sets the builder's options and source; refuses unknown options."""
    kind = getattr(builder, "OPTIONS", None)
    known = [] if kind is None else [field.name for field in dataclasses.fields(kind)]
    unknown = [name for name in options if name not in known]
    if kind is None:
        unknown += [
            name
            for name, value in (("report", report), ("beam_runner", beam_runner))
            if value is not None
        ]
    if unknown:
        expected = f"one of {', '.join(known)}" if known else "none"
        raise InputError(f"--{unknown[0]}: {builder.name} has no such option, expected {expected}")
    if kind is not None:
        if report is not None:
            output_paths.require_file_place(Path(report), "--report")
            output_paths.require_apart(report, _input_files(source, options), "--report")
        builder.options = kind(**options)
        builder.source = source
        builder.report_path = report
        builder.on_beam = beam_runner is not None


def _input_files(
    source: str | os.PathLike[str] | None, options: Mapping[str, Any]
) -> list[str | os.PathLike[str]]:
    """The tables that a preparation reads, as far as its arguments name them."""
    # Imported here: it also imports the readers of images.
    from xr2mri_jax.io.sources import MANIFEST

    found = [] if source is None else [source, Path(source, MANIFEST)]
    found += [options[name] for name in ("places", "splits") if options.get(name)]
    return [*found, *(options.get("grades") or ())]


def _beam(runner: str, num_workers: int, options: Sequence[str]) -> tuple[str, Any]:
    try:
        from xr2mri_jax.datasets import beam_pipeline
    except ImportError as error:
        raise InputError(
            f"--beam_runner={runner} needs Apache Beam: in the clone, pip install '.[beam]' "
            f"({error})"
        ) from error
    return beam_pipeline.pipeline_options(runner, num_workers, options)


def _known_datasets() -> tuple[str, ...]:
    here = Path(__file__).parent
    return tuple(name for name in DATASETS if (here / name / "__init__.py").is_file())


@contextlib.contextmanager
def _place_to_build(builder: Any, data_dir: str) -> Iterator[None]:
    """Removes leftovers, and provides a scratch folder beside the dataset during the build.

    A remote folder (gs://...) is left to TFDS, which also moves only complete datasets.
    """
    if "://" in data_dir:
        yield
        return
    place = Path(builder.data_dir)
    _remove_leftovers(place)
    scratch = place.parent / f"incomplete.scratch_{place.name}"
    if hasattr(builder, "scratch"):
        builder.scratch = os.path.abspath(scratch)
    try:
        yield
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _require_writable(root: Path) -> None:
    try:
        root.mkdir(parents=True, exist_ok=True)
        probe = root / f".write-probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        raise InputError(
            f"data_dir {root}: found no folder that can be written ({error.strerror}), expected one"
        ) from error


def _remove_leftovers(place: Path) -> None:
    """Removes the temporary folders of killed preparations beside the dataset."""
    for path in place.parent.glob(f"*incomplete*{place.name}*"):
        logging.warning("removing leftovers of an interrupted preparation: %s", path)
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@contextlib.contextmanager
def _termination_as_interrupt() -> Iterator[None]:
    """Makes SIGTERM act like Ctrl-C, so that the temporary folder is removed."""
    before = signal.getsignal(signal.SIGTERM)
    ours = threading.current_thread() is threading.main_thread() and before is signal.SIG_DFL
    if ours:  # a command has a handler of its own
        signal.signal(signal.SIGTERM, interruption.interrupt)
    try:
        yield
    except KeyboardInterrupt:
        end_workers()
        raise
    finally:
        if ours:
            signal.signal(signal.SIGTERM, before)
