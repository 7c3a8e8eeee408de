"""Base class of builders of datasets from files: processes or Beam, broken files, provenance."""

import contextlib
import dataclasses
import datetime
import functools
import importlib.metadata
import itertools
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds
from etils import epath

from xr2mri_jax import files
from xr2mri_jax.datasets.input_tables import Digests, require_unchanged, table_digests
from xr2mri_jax.datasets.outcomes import Outcome, Tally, require_some
from xr2mri_jax.datasets.preparation_record import PROVENANCE, read_preparation
from xr2mri_jax.datasets.workers import on_one_thread, ordered_map
from xr2mri_jax.errors import InputError
from xr2mri_jax.runtime.progress import progress

REPORT = "report.csv"
_PACKAGES = (
    "xr2mri_jax",
    "numpy",
    "scipy",
    "scikit-image",
    "pydicom",
    "nibabel",
    "pillow",
    "tensorflow-datasets",
    "array-record",
)


@dataclasses.dataclass(frozen=True)
class Work:
    """The work of a split: `function(task)` returns the outcomes of one task's items.

    Attributes:
      function: can be pickled, like the tasks and the outcomes.
      tasks: by split, none empty.
      total: number of items in all tasks.
      what: the items' name in messages, in the plural.
    """

    function: Callable[[Any], list[Outcome]]
    tasks: Mapping[str, Sequence[Any]]
    total: int
    what: str


class FilesBuilder(
    tfds.core.GeneratorBasedBuilder,
    skip_registration=True,  # type: ignore[call-arg]
):
    """Base of the builders that read files; a subclass defines the work (`plan`).

    Attributes:
      OPTIONS: frozen dataclass of the dataset's options, with a field `max_broken`.
      options: an instance of it.
      source: path of the raw files; None: the manual_dir of TFDS.
      num_workers: processes; those of Beam if `on_beam` is set.
      on_beam: return Beam transforms; `download_config` names the runner.
      scratch: folder for temporary files; None: the machine's.
      report: text for the screen, "" before the preparation.
      tally: the counts of the preparation, None before.
    """

    OPTIONS: ClassVar[Any]
    MANUAL_DOWNLOAD_INSTRUCTIONS = "Give the raw files as --source=PATH."

    options: Any = None
    source: str | os.PathLike[str] | None = None
    num_workers = 1
    on_beam = False
    scratch: str | None = None
    own_progress = True
    report = ""
    report_path: str | os.PathLike[str] | None = None
    tally: Tally | None = None
    _waited = 0.0
    _digests: Digests

    def plan(self, source: Path) -> Work:
        """The work for the source's files; called once, before anything is written."""
        raise NotImplementedError

    def write_report(self, path: Path, tally: Tally) -> str:
        """Writes a report as CSV and returns a summary for the screen.

        By default the report lists the items that are unusable or doubtful.
        """
        tally.write_csv(path)
        return tally.summary()

    def write_records(self, folder: Path) -> None:
        """Writes further files that belong to the dataset (default: none)."""

    def input_tables(self) -> dict[str, list[Path]]:
        """The tables that define the dataset, by the option that gives them (default: none)."""
        return {}

    def require_same_preparation(self) -> None:
        """Refuses a prepared dataset that was made with other options, or from other tables.

        Raises:
          InputError: names the first option that differs, with both values, or the first table; or
            the record of the preparation cannot be read.
        """
        made = read_preparation(self.data_path)
        wanted = recorded(self.options or self.OPTIONS())
        differ = [
            (name, made["options"].get(name), value)
            for name, value in wanted.items()
            if made["options"].get(name) != value
        ]
        source = made.get("source")
        if self.source is not None and os.path.abspath(self.source) != source:
            differ.append(("source", source, os.path.abspath(self.source)))
        if differ:
            name, before, now = differ[0]
            raise InputError(
                f"{self.data_dir}: is prepared with --{name}={before}, asked for {now}: remove the "
                "folder, or prepare into another --data_dir"
            )
        require_unchanged(made.get("tables", {}), table_digests(self.input_tables()), self.data_dir)

    def copy_report(self) -> None:
        """Copies a prepared dataset's report to `report_path`, if that is given.

        Raises:
          InputError: the dataset has no report.
        """
        if self.report_path is None:
            return
        stored = epath.Path(self.data_path) / REPORT
        if not stored.exists():
            raise InputError(f"--report: found no {stored} to copy, expected the dataset's report")
        with files.atomic_path(self.report_path) as partial:
            partial.write_bytes(stored.read_bytes())

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        if self.options is None:
            self.options = self.OPTIONS()
        self.source = os.path.abspath(self._given_source(dl_manager))
        start = time.perf_counter()
        self._digests = table_digests(self.input_tables())
        work = self.plan(Path(self.source))
        self.tally = Tally(work.total, self.options.max_broken, work.what)
        self.tally.costs["planning"] = time.perf_counter() - start
        function = functools.partial(on_one_thread, work.function)
        if self.on_beam:
            return self._beam_transforms(work, function)
        every = list(itertools.chain.from_iterable(work.tasks.values()))
        outcomes = progress(
            ordered_map(function, every, self.num_workers),
            f"preparing {self.name}",
            "file",
            len(every),
        )
        # One stream for all splits, which TFDS reads in this order: the workers start only once.
        return {
            split: self._generate_examples(split, tasks, itertools.islice(outcomes, len(tasks)))
            for split, tasks in work.tasks.items()
        }

    def _given_source(self, dl_manager: tfds.download.DownloadManager) -> Path:
        """The raw files' location; InputError if it was not given, does not exist, or is empty."""
        try:
            path = Path(dl_manager.manual_dir if self.source is None else self.source)
        except AssertionError as error:  # raised by TFDS
            raise InputError(
                "--source: found no folder with files, expected the raw files"
            ) from error
        if not path.exists() or (path.is_dir() and not any(path.iterdir())):
            raise InputError(
                f"--source: found no folder with files at {path}, expected the raw files"
            )
        return path

    def _generate_examples(
        self, split: str, tasks: Sequence[Any], outcomes: Iterator[list[Outcome]]
    ) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yields the split's examples under their keys; the others go to the tally."""
        assert self.tally is not None
        examples = 0
        for outcome in itertools.chain.from_iterable(self._waiting(outcomes)):
            self.tally.add(outcome)
            self.tally.check()  # at once: the rest of the work cannot change it
            if outcome.example is not None:
                examples += 1
                yield outcome.key, outcome.example
        require_some(split, examples, tasks)

    def _waiting(self, outcomes: Iterator[list[Outcome]]) -> Iterator[list[Outcome]]:
        """Yields the same outcomes, and measures how long this process waits for them."""
        while True:
            start = time.perf_counter()
            found = next(outcomes, None)
            self._waited += time.perf_counter() - start
            if found is None:
                return
            yield found

    def _beam_transforms(self, work: Work, function: Callable[[Any], Any]) -> dict[str, Any]:
        from xr2mri_jax.datasets import beam_pipeline

        return {
            split: beam_pipeline.examples(tasks, function, os.fspath(self._failures(split)))
            for split, tasks in work.tasks.items()
        }

    def _failures(self, split: str) -> epath.Path:
        return epath.Path(self.data_path) / f"failures_{split}"

    def _download_and_prepare(self, dl_manager: Any, download_config: Any) -> None:
        """Makes the splits, then checks and records the preparation."""
        start = time.perf_counter()
        self._waited = 0.0
        try:
            self._make_splits(dl_manager, download_config)
            if self.on_beam:
                self._count_failures()
        except InputError:
            if self.tally is not None and self.report_path is not None:
                self.write_report(Path(self.report_path), self.tally)
            raise
        tally = self._tally()
        if not self.on_beam:  # this process's own work, beside the workers'
            spent = time.perf_counter() - start
            tally.costs["writing"] = spent - self._waited - tally.costs["planning"]
        made = sum(split.num_examples for split in self.info.splits.values())
        if made + len(tally.unusable) != tally.total:
            raise RuntimeError(
                f"{made} examples and {len(tally.unusable)} unusable {tally.what}, expected "
                f"{tally.total} together"
            )
        self._store(self.write_records)
        self._store(self._write_provenance)
        self._store(lambda folder: self.write_report(folder / REPORT, tally))
        with tempfile.TemporaryDirectory() as folder:
            self.report = self.write_report(Path(self.report_path or f"{folder}/{REPORT}"), tally)

    def _make_splits(self, dl_manager: Any, download_config: Any) -> None:
        try:
            super()._download_and_prepare(dl_manager, download_config)
        except (RuntimeError, ValueError) as error:
            # The same check as `require_some`; on Beam, TFDS finds the empty split.
            if self.on_beam and "number of generated examples is 0" in str(error):
                raise InputError(
                    "a split is empty: all of its items are unusable, expected some"
                ) from error
            raise

    def _tally(self) -> Tally:
        assert self.tally is not None
        return self.tally

    def _count_failures(self) -> None:
        """Reads failures and doubts from the files of Beam's workers, and removes these files."""
        for path in sorted(epath.Path(self.data_path).glob("failures_*")):
            for line in path.read_text().splitlines():
                self._tally().add(Outcome(**json.loads(line)))
            path.unlink()
        self._tally().check()

    def _store(self, write: Callable[[Path], Any]) -> None:
        """Calls `write` with a folder whose files are then stored in the dataset."""
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder))
            for file in sorted(Path(folder).iterdir()):
                (epath.Path(self.data_path) / file.name).write_bytes(file.read_bytes())

    def _write_provenance(self, folder: Path) -> None:
        (folder / PROVENANCE).write_text(
            json.dumps(
                {
                    "dataset": self.info.full_name,
                    "source": os.fspath(self.source or ""),
                    "options": recorded(self.options),
                    "tables": self._digests,
                    "made": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
                    "items": self._tally().total,
                    "unusable": len(self._tally().unusable),
                    "versions": _versions(),
                },
                indent=2,
            )
            + "\n"
        )


def recorded(options: Any) -> dict[str, Any]:
    """A dataclass of options as stored in JSON."""
    return json.loads(json.dumps(dataclasses.asdict(options), default=os.fspath))


def zipped(shape: tuple[int, ...], dtype: Any) -> tfds.features.Tensor:
    """A Tensor feature stored with zlib, which TFDS can read without TensorFlow."""
    return tfds.features.Tensor(
        shape=shape, dtype=np.dtype(dtype), encoding=tfds.features.Encoding.ZLIB
    )


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found
