"""Runs the fuzzer: supervised worker processes read broken files; returns a summary."""

import dataclasses
import multiprocessing
import multiprocessing.connection
import os
import resource
import shutil
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from xr2mri_jax.errors import InputError
from xr2mri_jax.tools.fuzzing import oracle
from xr2mri_jax.tools.fuzzing.contradictions import contradictions
from xr2mri_jax.tools.fuzzing.mutate import mutated
from xr2mri_jax.tools.fuzzing.seeds import Seed, made_seeds, seeds_of_folder
from xr2mri_jax.tools.fuzzing.seeds_of_programs import program_seeds

LONGEST_MESSAGE = 1000
MEMORY = 3 * 1024**3  # address space of a worker: a reader that asks for more fails
CONTRADICTING = 0.25  # share of the files with a declared contradiction
# Kinds of faults that a run must not find.
FAULTS = ("traceback", "bad message", "wrong", "contradiction accepted", "hang", "crash")


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The outcome for one broken file.

    Attributes:
      index: its number in the run.
      seed, what: the sound input, and the damage.
      kind: "refused", "accepted", "equal" (accepted, and the same as the sound one), or a fault.
      detail: the message.
      seconds: of reading.
    """

    index: int
    seed: str
    what: str
    kind: str
    detail: str
    seconds: float


def run(
    files: int,
    seed: int = 0,
    workers: int = 2,
    seconds: float = 5.0,
    extra: str | Path | None = None,
) -> dict[str, Any]:
    """Breaks and reads `files` inputs.

    Args:
      files: number of files.
      seed: with a file's number, determines the damage.
      workers: processes; one that dies or hangs is replaced and counted.
      seconds: a file that takes longer hangs; it is tried once more with four times as long before
        it counts, since the machine may have been busy.
      extra: a folder with the user's own files to break, in addition to the made ones.

    Returns:
      JSON-able: files, seed, seconds, refused, accepted, equal, the number of each fault,
      "by_damage" (refused and accepted by kind of input and damage), "slowest" ([seconds, input,
      damage]) and "findings" (the first fifty faults).
    """
    if files < 1 or workers < 1 or not seconds > 0:
        raise InputError(
            f"found {files} files, {workers} workers, {seconds} s: expected positive numbers"
        )
    start = time.perf_counter()
    crew = [_Worker(seed, extra) for _ in range(min(workers, files))]
    outcomes: list[Outcome] = []
    todo = iter(range(files))
    try:
        for worker in crew:
            worker.give(next(todo, None), seconds)
        while any(worker.index is not None for worker in crew):
            busy = [worker for worker in crew if worker.index is not None]
            multiprocessing.connection.wait([w.pipe for w in busy], timeout=0.2)
            for worker in busy:
                outcome = worker.take(seconds)
                if outcome is not None:
                    outcomes.append(outcome)
                    worker.give(next(todo, None), seconds)
    finally:
        for worker in crew:
            worker.stop()
    return _summary(outcomes, seed, time.perf_counter() - start)


class _Worker:
    """One process, and its current file."""

    def __init__(self, seed: int, extra: str | Path | None) -> None:
        self._arguments = (seed, None if extra is None else str(extra))
        self.index: int | None = None
        self._deadline = 0.0
        self._again = False
        self._start()

    def _start(self) -> None:
        # Spawned, not forked: the parent may have threads.
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        self._process = context.Process(target=_work, args=(other, *self._arguments), daemon=True)
        self._process.start()
        other.close()
        if not self.pipe.poll(120) or self.pipe.recv() != "ready":
            raise RuntimeError("a worker process did not start within 120 s")

    def give(self, index: int | None, seconds: float) -> None:
        self.index = index
        if index is not None:
            self.pipe.send(index)
            self._deadline = time.monotonic() + seconds

    def take(self, seconds: float) -> Outcome | None:
        """The outcome of its current file, None while it is unknown."""
        index = self.index
        assert index is not None
        try:
            if self.pipe.poll():
                self._again = False
                return self.pipe.recv()
        except (EOFError, ConnectionResetError):
            self._process.join()
            code = self._process.exitcode
            self._start()
            return Outcome(index, "", "", "crash", f"worker ended with {code}", 0.0)
        if time.monotonic() < self._deadline:
            return None
        self.stop()
        self._start()
        if not self._again:
            self._again = True
            self.give(index, 4 * seconds)
            return None
        self._again = False
        return Outcome(index, "", "", "hang", f"longer than {4 * seconds:g} s", 4 * seconds)

    def stop(self) -> None:
        self._process.kill()
        self._process.join()
        self.pipe.close()


def _work(pipe: Any, seed: int, extra: str | None) -> None:
    seeds = made_seeds() + program_seeds() + (seeds_of_folder(extra) if extra else [])
    seeds = [one for one in seeds if _is_readable(one)]
    # C decoders print messages on standard error; only exceptions count here.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    pipe.send("ready")
    while True:
        try:
            index = pipe.recv()
        except EOFError:
            return
        pipe.send(attempt(seeds, seed, index))


def _is_readable(seed: Seed) -> bool:
    """Whether the sound input can be read; the user's own files may be unreadable."""
    try:
        _read(seed.kind, seed.files)
    except (InputError, ImportError):
        return False
    return True


def attempt(seeds: list[Seed], seed: int, index: int) -> Outcome:
    """Breaks one input and reads it."""
    rng = np.random.default_rng([seed, index])
    chosen = seeds[int(rng.integers(len(seeds)))]
    declared = contradictions(chosen)
    if declared and rng.random() < CONTRADICTING * 1.7:
        what = str(rng.choice(sorted(declared)))
        return attempt_files(index, chosen, f"contradiction: {what}", declared[what](rng), True)
    what, files = mutated(chosen, rng)
    return attempt_files(index, chosen, what, files, False)


def attempt_files(
    index: int, seed: Seed, what: str, files: dict[str, bytes], contradicting: bool
) -> Outcome:
    """Reads broken files and judges the outcome."""
    start = time.perf_counter()

    def outcome(kind: str, detail: str = "") -> Outcome:
        seconds = time.perf_counter() - start
        return Outcome(index, seed.name, what, kind, detail, round(seconds, 4))

    try:
        result = _read(seed.kind, files)
    except InputError as error:
        fault = _message_fault(str(error), files)
        return outcome("bad message" if fault else "refused", f"{fault}{error}")
    except Exception:
        return outcome("traceback", traceback.format_exc()[-1500:])
    if contradicting:
        if oracle.same(result, _read(seed.kind, seed.files)):
            return outcome("equal")
        return outcome("contradiction accepted")
    try:
        fault = oracle.complaint(result, files)
    except Exception as error:
        fault = f"cannot be checked: {type(error).__name__}: {error}"
    return outcome("wrong" if fault else "accepted", fault)


def _read(kind: str, files: dict[str, bytes]) -> Any:
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    try:
        for name, content in files.items():
            (folder / name).write_bytes(content)
        return oracle.read(kind, folder, sorted(files))
    finally:
        shutil.rmtree(folder)


def _message_fault(message: str, files: dict[str, bytes]) -> str:
    """The fault of a refusal: it must be one line, readable, and name the file or folder."""
    if not message or "\n" in message or "\r" in message:
        return "not one line: "
    if len(message) > LONGEST_MESSAGE:
        return "too long: "
    if "fuzz-" not in message:
        return "names no file: "
    return ""


def _summary(outcomes: list[Outcome], seed: int, seconds: float) -> dict[str, Any]:
    kinds = Counter(outcome.kind for outcome in outcomes)
    by_damage: dict[str, Counter[str]] = {}
    for one in outcomes:
        by_damage.setdefault(f"{one.seed}, {one.what}", Counter())[one.kind] += 1
    slowest = sorted(outcomes, key=lambda one: -one.seconds)[:5]
    faults = sorted((one for one in outcomes if one.kind in FAULTS), key=lambda one: one.index)
    return {
        "files": len(outcomes),
        "seed": seed,
        "seconds": round(seconds, 1),
        **{kind: kinds[kind] for kind in ("refused", "accepted", "equal", *FAULTS)},
        "by_damage": {name: dict(count) for name, count in sorted(by_damage.items())},
        "slowest": [[one.seconds, one.seed, one.what] for one in slowest],
        "findings": [dataclasses.asdict(one) for one in faults[:50]],
    }


def table(report: dict[str, Any]) -> str:
    """The report's numbers as lines of text."""
    kinds = ", ".join(f"{report[kind]} {kind}" for kind in ("refused", "accepted", "equal"))
    faults = ", ".join(f"{report[kind]} {kind}" for kind in FAULTS)
    slowest = report["slowest"][0]
    return (
        f"{report['files']} broken files, seed {report['seed']}: {kinds}\nfaults: {faults}\n"
        f"slowest: {slowest[0]:.2f} s ({slowest[1]}, {slowest[2]})"
    )
