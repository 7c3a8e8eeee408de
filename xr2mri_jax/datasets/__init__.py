"""The datasets by name: preparing them once, loading them afterwards."""

import contextlib
import importlib
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from absl import logging

from xr2mri_jax.errors import InputError

# Each is a folder of this package in TFDS's form, with NAME_dataset_builder.py inside.
DATASETS = ("knee_phantom", "knee_pairs", "knee_xray")


def make_builder(name: str, data_dir: str | os.PathLike[str]) -> Any:
    """The TFDS builder of a dataset, prepared or not.

    Args:
      name: "DATASET" or "DATASET/CONFIG", for example "knee_phantom/quickstart".
      data_dir: folder of prepared datasets.

    Raises:
      InputError: the dataset or its configuration is unknown.
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
    return module.Builder(
        data_dir=os.fspath(data_dir), config=config or None, file_format="array_record"
    )


def is_prepared(name: str, data_dir: str | os.PathLike[str]) -> bool:
    """Whether the dataset is already there; InputError where its name is unknown."""
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
) -> Any:
    """Prepares a dataset as array_record files; returns at once where it is prepared already.

    It is built in a folder beside its place and moved there when it is whole, so that a preparation
    that was interrupted leaves no half-made dataset; what a killed one left is removed by the next.

    Args:
      name: "DATASET" or "DATASET/CONFIG".
      data_dir: folder of prepared datasets; made where it is missing.
      num_workers: processes, for datasets that use several.
      source: folder of the raw files, for datasets that are made from files.

    Returns:
      The TFDS builder.

    Raises:
      InputError: the dataset is unknown, `data_dir` cannot be written, or num_workers is below 1.
    """
    if num_workers < 1:
        raise InputError(f"num_workers: found {num_workers}, expected 1 or more")
    root = Path(data_dir)
    builder = make_builder(name, root)
    if builder.info.splits:
        return builder
    _require_writable(root)
    _remove_leftovers(Path(builder.data_dir))
    if hasattr(builder, "num_workers"):
        builder.num_workers = num_workers
    import tensorflow_datasets as tfds

    config = tfds.download.DownloadConfig(
        manual_dir=None if source is None else os.fspath(source), try_download_gcs=False
    )
    if getattr(builder, "own_progress", False):
        tfds.disable_progress_bar()
    with _termination_as_interrupt():
        builder.download_and_prepare(
            download_dir=os.fspath(root / "downloads"),
            download_config=config,
            file_format="array_record",
        )
    return builder


def _known_datasets() -> tuple[str, ...]:
    here = Path(__file__).parent
    return tuple(name for name in DATASETS if (here / name / "__init__.py").is_file())


def _require_writable(root: Path) -> None:
    try:
        root.mkdir(parents=True, exist_ok=True)
        probe = root / f".write-probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(
            f"data_dir {root}: found no folder that can be written ({error.strerror}), expected one"
        ) from error


def _remove_leftovers(place: Path) -> None:
    """Removes the temporary folders that killed preparations left beside the dataset's place."""
    for path in place.parent.glob(f"*incomplete*{place.name}*"):
        logging.warning("removing what an interrupted preparation left: %s", path)
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@contextlib.contextmanager
def _termination_as_interrupt() -> Iterator[None]:
    """SIGTERM ends the preparation as Ctrl-C does, so that its temporary folder is cleaned up."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
