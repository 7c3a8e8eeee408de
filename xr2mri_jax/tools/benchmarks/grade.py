"""Measures how fast the command, as a separate process, grades a folder of radiographs."""

import csv
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from PIL import Image

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import Radiograph
from xr2mri_jax.inference import novelty
from xr2mri_jax.inference.framing import FramedKnee, frame_knees
from xr2mri_jax.inference.knee_grader import file_format, load
from xr2mri_jax.inference.knee_grader.file_format import Calibration, KneeGrader
from xr2mri_jax.inference.row_file import partial_path
from xr2mri_jax.models import classifiers
from xr2mri_jax.preprocess.contrast import contrast_with_clahe
from xr2mri_jax.preprocess.radiograph import DEFAULT_CONTRAST
from xr2mri_jax.tools.benchmarks import process_usage, timing
from xr2mri_jax.tools.benchmarks.knee_finder import films

# Number of phantom subjects whose knees the made radiographs repeat, each with other noise.
SUBJECTS, SIZE = 3, 224
FEATURES = 480


def run(images: int, real: Path | None = None, model: str | None = None) -> dict[str, Any]:
    """Grades a folder twice: without compiled programs on disk, then with those of the first run.

    Args:
      images: number of radiographs; the first ones of `real`.
      real: folder of radiographs; None: simulated ones of 224 pixels are made.
      model: as for `xr2mri grade`; None: the shipped one, or if none is shipped the full-size
        network with random weights, which takes as long.

    Returns:
      The report, JSON-able: machine, images, source, weights, and the results of `measure` for
      "cold" and "warm".

    Raises:
      InputError: the folder has no files.
    """
    with tempfile.TemporaryDirectory(prefix="grade-") as scratch:
        root = Path(scratch)
        folder = root / "radiographs"
        folder.mkdir()
        if real is None:
            made = make_radiographs(folder, images)
        else:
            made = link_files(folder, real, images)
        weights = model or "shipped"
        if model is None and not (load.SHIPPED / file_format.DESCRIPTION).is_file():
            weights = "random"
            model = str(root / "model")
            Path(model).mkdir()
            file_format.write(Path(model), random_grader())
        report: dict[str, Any] = {
            "machine": timing.machine(),
            "images": made,
            "source": "phantom" if real is None else "real",
            "weights": weights,
        }
        for name in ("cold", "warm"):
            report[name] = measure(folder, root / f"{name}.csv", model, root / "cache")
    return report


def table(report: Mapping[str, Any]) -> str:
    """The report in lines."""
    lines = [f"{report['images']} {report['source']} radiographs, weights: {report['weights']}"]
    for name in ("cold", "warm"):
        row = report[name]
        lines.append(
            f"  {name}: {row['images_per_s']:.1f} images/s, {row['seconds']:.1f} s in all "
            f"({row['processor_s']:.1f} s of processor time), first row after "
            f"{row['first_row_s']:.1f} s, {row['peak_bytes'] / 2**20:.0f} MiB at most, "
            f"{row['graded']} knees graded, {row['refused']} files not"
        )
    return "\n".join(lines)


def measure(folder: Path, output: Path, model: str | None, cache: Path) -> dict[str, Any]:
    """Runs the command once and measures it.

    Args:
      folder: of the radiographs.
      output: the table, new.
      model: for --model, None for the shipped one.
      cache: folder of compiled programs.

    Returns:
      seconds (from start to end of the process), first_row_s (until the first row is on disk),
      images_per_s (files over total seconds, start included), processor_s (of all its threads),
      peak_bytes (resident; 0 if the system does not report it), graded (knees), refused (files).

    Raises:
      RuntimeError: the command failed.
    """
    command = ["grade", f"--xray={folder}", f"--output={output}"]
    command += [f"--model={model}"] if model else []
    first: list[float] = []

    def look(seconds: float) -> None:
        if not first and _rows(partial_path(output)) > 0:
            first.append(seconds)

    took = process_usage.run_command(command, cache, look)
    with output.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    graded = sum(bool(row["probability_kl2"]) for row in rows)
    return {
        "seconds": took.seconds,
        "first_row_s": first[0] if first else took.seconds,
        "images_per_s": len({row["file"] for row in rows}) / took.seconds,
        "processor_s": took.processor_s,
        "peak_bytes": took.peak_bytes,
        "graded": graded,
        "refused": len(rows) - graded,
    }


def make_radiographs(folder: Path, images: int) -> int:
    """Writes PNG files of simulated knees, each with its own noise; returns their number."""
    knees = []
    for film, _ in films(SUBJECTS, 64):
        answers = frame_knees(Radiograph(film.image), (SIZE, SIZE), DEFAULT_CONTRAST)
        knees += [answer for answer in answers if isinstance(answer, FramedKnee)]
    rng = np.random.default_rng(0)
    for number in range(images):
        knee = knees[number % len(knees)]
        pixels = knee.displayed + rng.normal(0, 0.01, (SIZE, SIZE))
        grey = np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)
        Image.fromarray(grey).save(folder / f"{number:05d}{knee.side[0].upper()}.png")
    return images


def link_files(folder: Path, real: Path, images: int) -> int:
    """Links to the first files of a folder and its subfolders; returns their number."""
    found = sorted(path for path in real.rglob("*") if path.is_file())[:images]
    if not found:
        raise InputError(f"--real={real}: found no files, expected a folder of radiographs")
    for number, path in enumerate(found):
        (folder / f"{number:05d}_{path.name}").symlink_to(path.resolve())
    return len(found)


def random_grader() -> KneeGrader:
    """The full-size network with random weights and a dummy calibration."""
    spec = classifiers.full_spec({})
    module = classifiers.make(spec)
    xray = np.zeros((1, *spec["image_shape"], 1), np.float32)
    variables = jax.device_get(jax.jit(module.init)(jax.random.key(0), xray))
    noise = np.random.default_rng(0).random((2 * FEATURES, FEATURES))
    row = {"sensitivity_wanted": file_format.SENSITIVITY, "probability": 0.5}
    bins = {"count": [1.0], "probability": [0.5], "frequency": [0.5]}
    return KneeGrader(
        spec,
        (0, file_format.POSITIVE_GRADE),
        file_format.rounded(variables["params"]),
        file_format.rounded(variables["batch_stats"]),
        contrast_with_clahe(None),
        {"weights": "random"},
        Calibration(1.0, [{**row, "sensitivity": 0.5, "specificity": 0.5}], bins, 0.0, 0.0, 1, 1),
        novelty.fit(noise[FEATURES // 2 :], noise[: FEATURES // 2]),
    )


def _rows(path: Path) -> int:
    """Number of rows of a table below its header, 0 if the table does not exist."""
    try:
        return path.read_bytes().count(b"\n") - 1
    except OSError:
        return 0
