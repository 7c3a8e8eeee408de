"""The log of a run: metrics.jsonl, TensorBoard files, sample pictures, progress."""

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tqdm
from PIL import Image, ImageDraw
from tensorboardX import SummaryWriter

from xr2mri_jax import files

CAPTION_ROWS = 14


class Sums:
    """Sums and counts of metrics since the last line of metrics.jsonl."""

    def __init__(self, sums: Mapping[str, Any] | None = None):
        """Continues from the result of `to_json`."""
        self._sums = {name: (float(s), float(n)) for name, (s, n) in (sums or {}).items()}

    def add(self, name: str, total: float, count: float) -> None:
        """Adds a sum over `count` values."""
        before = self._sums.get(name, (0.0, 0.0))
        self._sums[name] = (before[0] + float(total), before[1] + float(count))

    def take(self) -> dict[str, float]:
        """Returns the means by name, and resets the sums."""
        means = {name: total / max(count, 1.0) for name, (total, count) in self._sums.items()}
        self._sums = {}
        return means

    def to_json(self) -> dict[str, list[float]]:
        """JSON-able state for the checkpoint, so that a continued run writes the same lines."""
        return {name: list(pair) for name, pair in self._sums.items()}


class NullLog:
    """A log that writes nothing, for every host except the first."""

    def __enter__(self) -> "NullLog":
        return self

    def __exit__(self, *_: Any) -> None:
        pass

    def stepped(self, examples: float) -> None:
        """See `RunLog`."""

    def restart_clock(self, step: int) -> None:
        """See `RunLog`."""

    def train(self, step: int, means: Mapping[str, float]) -> None:
        """See `RunLog`."""

    def evaluation(self, step: int, means: Mapping[str, float]) -> None:
        """See `RunLog`."""

    def pictures(self, step: int, draw: Callable[[], Mapping[str, np.ndarray]]) -> None:
        """See `RunLog`; nothing is drawn."""


class RunLog:
    """Writes the log of one run; a context manager."""

    def __init__(self, workdir: Path, first_step: int, steps: int):
        """Starts or continues a log.

        Args:
          workdir: the run's folder.
          first_step: the step that the run continues from; later lines of the file are removed.
          steps: the run's length.
        """
        self._workdir = workdir
        self._steps = steps
        _cut(workdir / "metrics.jsonl", first_step)
        self._lines = (workdir / "metrics.jsonl").open("a", encoding="utf-8")
        self._board = SummaryWriter(str(workdir / "tensorboard"), purge_step=first_step + 1)
        self._bar = tqdm.tqdm(
            total=steps, initial=first_step, unit="step", disable=not sys.stderr.isatty()
        )
        self._clock = (time.perf_counter(), first_step)
        self._examples = 0.0
        self.loss = float("nan")

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, *_: Any) -> None:
        self._bar.close()
        self._lines.close()
        self._board.close()

    def stepped(self, examples: float) -> None:
        """Counts a step with its number of examples."""
        self._examples += examples
        self._bar.update()

    def restart_clock(self, step: int) -> None:
        """Excludes the time until now (compilation, evaluation) from the speed."""
        self._clock = (time.perf_counter(), step)
        self._examples = 0.0

    def train(self, step: int, means: Mapping[str, float]) -> None:
        """Writes the means over the steps since the last line; shows speed and remaining time."""
        elapsed = time.perf_counter() - self._clock[0]
        taken = step - self._clock[1]
        shown = [f"loss {means['loss']:.4g}"]
        left = ""
        # The step after a start compiles and is not timed: a line about it alone has no speed.
        if taken:
            means = {**means, "examples_per_s": self._examples / elapsed}
            shown.append(f"{means['examples_per_s']:.3g} examples/s")
            left = f"  {_clock_time((self._steps - step) * elapsed / taken)} left"
        self._write("train", step, means)
        self._bar.set_postfix_str(", ".join(shown))
        if self._bar.disable:
            print(f"step {step}/{self._steps}  {'  '.join(shown)}{left}", flush=True)
        self.restart_clock(step)

    def evaluation(self, step: int, means: Mapping[str, float]) -> None:
        """Writes and shows the metrics of the evaluation split."""
        self._write("eval", step, means)
        shown = "  ".join(f"{name} {value:.4g}" for name, value in sorted(means.items()))
        self._bar.write(f"step {step}/{self._steps}  evaluation: {shown}", file=sys.stdout)
        sys.stdout.flush()

    def pictures(self, step: int, draw: Callable[[], Mapping[str, np.ndarray]]) -> None:
        """Writes samples/step_XXXXXX.png: all pictures with their names as captions.

        Args:
          step: the step.
          draw: returns pictures [h, w] or [h, w, 3] in [0, 1] by name.
        """
        sheet = contact_sheet(draw())
        with files.atomic_path(self._workdir / "samples" / f"step_{step:06d}.png") as path:
            Image.fromarray(sheet).save(path)
        self._board.add_image("samples", sheet, step, dataformats="HWC")

    def _write(self, part: str, step: int, values: Mapping[str, float]) -> None:
        line = {"step": step, "part": part, **{name: float(v) for name, v in values.items()}}
        self._lines.write(json.dumps(line) + "\n")
        self._lines.flush()
        for name, value in values.items():
            self._board.add_scalar(f"{part}/{name}", value, step)
        self._board.flush()


def best_step(workdir: Path, metric: str, steps: Sequence[int]) -> int | None:
    """The step whose evaluation during training has the highest value of a metric.

    Args:
      workdir: the run's folder, with metrics.jsonl.
      metric: name of a metric in the lines of the part "eval".
      steps: the candidates, whose checkpoints exist.

    Returns:
      The earliest of the best steps; None if none of them was evaluated.
    """
    path = workdir / "metrics.jsonl"
    if not path.is_file():
        return None
    found = {
        line["step"]: line[metric]
        for line in map(_parsed, path.read_bytes().splitlines())
        if line is not None
        and line.get("part") == "eval"
        and isinstance(line.get(metric), float)
        and line["step"] in steps
    }
    return max(found, key=lambda step: found[step]) if found else None


def contact_sheet(pictures: Mapping[str, np.ndarray]) -> np.ndarray:
    """Pictures with captions, stacked vertically: u8[h, w, 3]."""
    width = max(picture.shape[1] for picture in pictures.values())
    rows = []
    for name, picture in pictures.items():
        pixels = np.round(np.clip(picture, 0.0, 1.0) * 255).astype(np.uint8)
        if pixels.ndim == 2:
            pixels = np.repeat(pixels[..., None], 3, axis=2)
        caption = Image.new("RGB", (width, CAPTION_ROWS))
        ImageDraw.Draw(caption).text((2, 1), name, fill=(255, 255, 255))
        rows.append(np.asarray(caption))
        rows.append(np.pad(pixels, ((0, 0), (0, width - pixels.shape[1]), (0, 0))))
    return np.concatenate(rows)


def _cut(path: Path, last_step: int) -> None:
    """Removes lines after a step, an incomplete last line, and damaged lines, which it reports."""
    if not path.exists():
        return
    kept = []
    for number, line in enumerate(path.read_bytes().splitlines(keepends=True), start=1):
        found = _parsed(line)
        if found is not None and line.endswith(b"\n"):
            kept += [line] if found["step"] <= last_step else []
        elif line.endswith(b"\n"):
            print(f"{path}: line {number} is damaged and was removed", flush=True)
    with files.atomic_path(path) as partial:
        partial.write_bytes(b"".join(kept))


def _parsed(line: bytes) -> dict[str, Any] | None:
    """The content of a line; None if `RunLog` cannot have written it."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    valid = isinstance(found, dict) and isinstance(found.get("step"), int) and "part" in found
    return found if valid else None


def _clock_time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
