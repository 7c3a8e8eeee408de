"""Measures memory, open files and threads of a training over thousands of steps and many saves."""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from xr2mri_jax.errors import InputError

DATASET, RECIPE = "knee_phantom/smoke", "cae:smoke"
STEPS, SAVE_EVERY, EVALUATE_EVERY = 3000, 10, 100
_SAMPLE_S = 0.5
_FEWEST = 20  # samples


class Sample(NamedTuple):
    """The resources of a process at one moment: memory in MiB, open files and threads."""

    memory_mib: float
    files: int
    threads: int


def run(steps: int | None = None) -> dict[str, Any]:
    """Trains a small auto-encoder in a separate process and samples it twice per second.

    The first quarter, in which JAX compiles and the caches fill, is left out.

    Args:
      steps: of the training, with a checkpoint every SAVE_EVERY and an evaluation every
        EVALUATE_EVERY steps; None: STEPS.

    Returns:
      JSON-able: steps, saves, seconds, and for memory_mib, files and threads the median of the
      second quarter, of the last quarter and the largest.

    Raises:
      InputError: the training failed, or was too short for sampling.
    """
    steps = steps or STEPS
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        log, data = folder / "log", folder / "data"
        flags = f"--dataset={DATASET}", f"--data_dir={data}", "--num_workers=1"
        _ended(_command(log, "prepare", *flags), log)
        training = _command(
            log, "train", f"--config={RECIPE}", f"--workdir={folder / 'run'}",
            f"--config.data.data_dir={data}", f"--config.steps={steps}",
            f"--config.checkpoint_every={SAVE_EVERY}", f"--config.eval_every={EVALUATE_EVERY}",
            "--config.log_every=100",
        )  # fmt: skip
        start, samples = time.monotonic(), []
        while training.poll() is None:
            samples.append(_sample(training.pid))
            time.sleep(_SAMPLE_S)
        seconds = time.monotonic() - start
        _ended(training, log)
    return {
        "steps": steps,
        "saves": steps // SAVE_EVERY,
        "seconds": round(seconds, 1),
        **summary([sample for sample in samples if sample is not None]),
    }


def summary(samples: Sequence[Sample]) -> dict[str, dict[str, float]]:
    """By field of Sample: "second_quarter" and "last_quarter" (medians), "largest".

    Raises:
      InputError: too few samples.
    """
    if len(samples) < _FEWEST:
        raise InputError(
            f"found {len(samples)} samples of the training, expected {_FEWEST} or more: a larger "
            "--steps"
        )
    quarter = len(samples) // 4
    found = {}
    for index, name in enumerate(Sample._fields):
        values = [float(sample[index]) for sample in samples]
        found[name] = {
            "second_quarter": statistics.median(values[quarter : 2 * quarter]),
            "last_quarter": statistics.median(values[-quarter:]),
            "largest": max(values),
        }
    return found


def table(report: dict[str, Any]) -> str:
    """The report as lines of text."""
    lines = [
        f"{report['steps']} steps, {report['saves']} saves, {report['seconds']:.0f} s",
        f"{'':12}{'2nd quarter':>12}{'last quarter':>14}{'largest':>10}",
    ]
    for name in Sample._fields:
        row = report[name]
        lines.append(
            f"{name:12}{row['second_quarter']:12.0f}{row['last_quarter']:14.0f}"
            f"{row['largest']:10.0f}"
        )
    return "\n".join(lines)


def _command(log: Path, *words: str) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "xr2mri_jax", *words], stdout=output, stderr=output
        )


def _ended(process: subprocess.Popen[bytes], log: Path) -> None:
    """Raises InputError with the last line if the command failed."""
    if process.wait() != 0:
        last = log.read_text(errors="replace").strip().splitlines()[-1:]
        raise InputError(f"a command of the suite ended with {process.returncode}: {last}")


def _sample(pid: int) -> Sample | None:
    """None if the process has just ended."""
    process = Path(f"/proc/{pid}")
    try:
        status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
        files = len(list((process / "fd").iterdir()))
    except (OSError, ValueError):
        return None
    if "VmRSS" not in status:
        return None
    return Sample(int(status["VmRSS"].split()[0]) / 1024, files, int(status["Threads"]))
