"""Uploads in progress: their states, their folders and the removal of the folders."""

import concurrent.futures
import dataclasses
import os
import secrets
import shutil
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from absl import logging

from xr2mri_jax import files
from xr2mri_jax.errors import InputError, failure_line, printable
from xr2mri_jax.inference.predictor import Predictor
from xr2mri_jax.serving import predict_upload

WORKERS = 2  # radiographs processed at the same time
MOST_WAITING = 16  # further uploads are rejected until some are done
SECONDS_KEPT = 1800.0  # a result is removed this long after the last request for it
SECONDS_BETWEEN = 20.0  # between two searches for expired results
STEPS = ("waiting", "reading", "predicting", "writing files", "done")
LONGEST_LINE = 500


class _RemovedError(Exception):
    """The owner has deleted the upload."""


@dataclasses.dataclass(eq=False)
class Job:
    """An upload.

    Attributes:
      name: secret name, known only to its owner: 128 random bits in hexadecimal digits.
      folder: folder of the radiograph and the results.
      file: name of the radiograph, for display.
      side, spacing: values given by the owner, or None.
      step: one of STEPS.
      error: reason of a failure in one line, or "".
      cases: titles of the knees that are ready to show, by case.
      downloads: names of the files that are ready, by case.
      asked: time of the last request for it.
      removed: whether its owner has deleted it; a job in progress then ends at its next step.
    """

    name: str
    folder: Path
    file: str
    side: str | None
    spacing: float | None
    step: str = STEPS[0]
    error: str = ""
    cases: dict[str, str] = dataclasses.field(default_factory=dict)
    downloads: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    asked: float = dataclasses.field(default_factory=time.monotonic)
    removed: bool = False

    @property
    def upload(self) -> Path:
        """The radiograph's file."""
        return self.folder / "upload" / self.file

    @property
    def ended(self) -> bool:
        """Whether the job is done or has failed."""
        return bool(self.error) or self.step == STEPS[-1]

    def state(self) -> dict[str, Any]:
        """The state for its owner, JSON-able."""
        return {
            "step": self.step,
            "progress": STEPS.index(self.step) / (len(STEPS) - 1),
            "error": self.error,
            "cases": [{"name": name, "title": title} for name, title in self.cases.items()],
            "downloads": {
                case: [{"name": name, "text": predict_upload.DOWNLOADS[name]} for name in names]
                for case, names in self.downloads.items()
            },
        }


class Jobs:
    """All uploads of a server; a context manager that removes every folder at the end."""

    def __init__(self, predictor: Predictor, keep: Path | None = None) -> None:
        """Takes the model, and the folder that keeps the results (None: they are not kept)."""
        self._predictor = predictor
        self._keep = keep
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()

    def __enter__(self) -> "Jobs":
        self._root = tempfile.TemporaryDirectory(prefix="xr2mri-serve-")
        self._pool = concurrent.futures.ThreadPoolExecutor(WORKERS)
        threading.Thread(target=self._remove_old, daemon=True).start()
        return self

    def __exit__(self, *error: Any) -> None:
        self._ended.set()
        self._pool.shutdown(cancel_futures=True)
        self._root.cleanup()

    def new(self, file: str, side: str | None, spacing: float | None) -> Job | None:
        """Creates a job, whose upload must then be written; None if too many are waiting."""
        name = secrets.token_hex(16)
        job = Job(name, Path(self._root.name) / name, file, side, spacing)
        with self._lock:
            if sum(not one.ended for one in self._jobs.values()) >= MOST_WAITING:
                return None
            job.folder.mkdir(mode=0o700)
            job.upload.parent.mkdir()
            self._jobs[name] = job
        return job

    def start(self, job: Job) -> None:
        """Queues a job whose upload was written."""
        self._pool.submit(self._run, job)

    def find(self, name: str) -> Job | None:
        """The job of this name, or None; extends the time until its removal."""
        with self._lock:
            job = self._jobs.get(name)
            if job is not None:
                job.asked = time.monotonic()
            return job

    def remove(self, name: str) -> None:
        """Forgets a job and removes its folder; of a job in progress nothing is kept."""
        with self._lock:
            job = self._jobs.pop(name, None)
            if job is not None:
                job.removed = True
        if job is not None:
            shutil.rmtree(job.folder, ignore_errors=True)

    def _remove_old(self) -> None:
        """Until the server ends, removes ended jobs whose last request is SECONDS_KEPT ago."""
        while not self._ended.wait(SECONDS_BETWEEN):
            latest = time.monotonic() - SECONDS_KEPT
            with self._lock:
                old = [one.name for one in self._jobs.values() if one.ended and one.asked < latest]
            for name in old:
                self.remove(name)

    def _run(self, job: Job) -> None:
        try:
            self._work(job)
        except _RemovedError:
            pass
        except InputError as error:
            text = str(error)
            for folder in (job.upload.parent, job.folder):
                text = text.replace(f"{folder}{os.sep}", "")
            job.error = one_line(text)
        except Exception as error:
            job.error = failure_line(error) or "processing failed; see the server's log"
            if not job.removed:
                logging.exception("an upload failed")
        finally:
            job.upload.unlink(missing_ok=True)
            if job.removed and job.step != STEPS[-1]:
                # Written since the removal of the folder.
                shutil.rmtree(job.folder, ignore_errors=True)
                if self._keep is not None:
                    shutil.rmtree(self._keep / job.name, ignore_errors=True)

    def _enter(self, job: Job, step: str) -> None:
        with self._lock:
            if job.removed:
                raise _RemovedError
            job.step = step

    def _work(self, job: Job) -> None:
        self._enter(job, "reading")
        found = list(predict_upload.knees(job.upload, job.side, job.spacing))
        job.upload.unlink()
        made = {}
        for knee in found:
            self._enter(job, "predicting")
            name = f"{job.name[:8]}-{knee.side}"
            made[name] = predict_upload.predicted(self._predictor, knee, job.upload)
            shown = predict_upload.show(job.folder, made[name], name, job.file)
            job.cases[name] = shown.title
        for name, prediction in made.items():
            self._enter(job, "writing files")
            folder = job.folder / "files" / name
            folder.mkdir(parents=True)
            job.downloads[name] = predict_upload.write_downloads(folder, prediction, name, job.file)
        if self._keep is not None:
            with files.replaced_folder(self._keep / job.name) as partial:
                shutil.copytree(job.folder / "files", partial, dirs_exist_ok=True)
                self._enter(job, job.step)
        self._enter(job, "done")


def one_line(text: str) -> str:
    """A message as one line of limited length without terminal control characters."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= LONGEST_LINE else f"{line[: LONGEST_LINE - 4]} ..."
