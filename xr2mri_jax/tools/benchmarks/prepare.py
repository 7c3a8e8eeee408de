"""Measures the preparation of knee_pairs: time by kind of work, and memory per worker."""

import os
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from xr2mri_jax import datasets
from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import SIDES
from xr2mri_jax.phantom.bilateral import simulate_bilateral
from xr2mri_jax.phantom.case import simulate_case
from xr2mri_jax.tools.benchmarks import timing
from xr2mri_jax.tools.benchmarks.phantom_files import dess_volume, write_film, write_series

SEED, SUBJECTS, SLICES = 7, 2, 160


class SubjectFiles(NamedTuple):
    """One subject's bilateral radiograph, and the folder of each knee's MRI series by side."""

    film: Path
    series: Mapping[str, Path]


def make_files(folder: Path, slices: int = SLICES, subjects: int = SUBJECTS) -> list[SubjectFiles]:
    """Simulates a few subjects: radiographs of 2500 x 3000 pixels, series of 384 x 384 x slices."""
    made = []
    for subject in range(subjects):
        film = simulate_bilateral(SEED, subject)
        write_film(folder / f"{subject}", film.image, film.spacing)
        series = {}
        for knee in (2 * subject, 2 * subject + 1):
            case = simulate_case(SEED, knee, (64, 128, 128))
            side = SIDES[case["side"]]
            series[side] = folder / f"{subject}_{side}"
            write_series(series[side], dess_volume(case, slices), f"SAG_3D_DESS_{side.upper()}")
        made.append(SubjectFiles(folder / f"{subject}", series))
    return made


def measure(
    files: Sequence[SubjectFiles], pairs: int, num_workers: int, config: str = "default"
) -> dict[str, Any]:
    """Prepares knee_pairs from `pairs` pairs, for which links to the files repeat.

    Repeated files come from the operating system's cache: the numbers do not include reading from a
    slow disk or a network.

    Args:
      files: of one subject or more.
      pairs: number of pairs, 2 or more; rounded up to even, since a radiograph serves two knees.
      num_workers: processes.
      config: of the dataset.

    Returns:
      JSON-able: seconds from the command to the complete dataset, and per pair, processor seconds
      per pair, seconds by kind of work, summed over the processes, with their shares, and the peak
      memory (bytes) of each worker.

    Raises:
      InputError: fewer than 2 pairs.
    """
    if pairs < 2:
        raise InputError(f"--pairs: found {pairs}, expected 2 or more")
    with tempfile.TemporaryDirectory(prefix="prepare-") as folder:
        manifest = Path(folder) / "manifest.csv"
        rows = ["subject,side,visit,xray,mri,kl"]
        for number in range((pairs + 1) // 2):
            film, series = _linked(files[number % len(files)], Path(folder) / f"{number}")
            rows += [f"made{number:05d},{side},V00,{film},{series[side]}," for side in SIDES]
        manifest.write_text("\n".join(rows) + "\n")
        start, before = time.perf_counter(), os.times()
        builder = datasets.prepare(
            f"knee_pairs/{config}",
            Path(folder) / "data",
            num_workers,
            manifest,
            {"split_shares": {"train": 1.0}, "max_broken": 0.0},
        )
        seconds = time.perf_counter() - start
        # Of this process and its finished workers: other work on the machine adds nothing.
        processor = sum(os.times()[:4]) - sum(before[:4])
    tally = builder.tally
    total = sum(tally.costs.values())
    return {
        "machine": timing.machine(),
        "dataset": f"knee_pairs/{config}",
        "num_workers": num_workers,
        "pairs": len(tally.usable),
        "seconds": seconds,
        "seconds_per_pair": seconds / len(tally.usable),
        "processor_s_per_pair": processor / len(tally.usable),
        "work_s": dict(sorted(tally.costs.items())),
        "share": {kind: spent / total for kind, spent in sorted(tally.costs.items())},
        "worker_peak_bytes": [tally.workers[process] for process in sorted(tally.workers)],
    }


def _linked(files: SubjectFiles, folder: Path) -> SubjectFiles:
    """Hard links to a subject's files: a dataset has each file only once."""
    folder.mkdir()
    for side, series in files.series.items():
        shutil.copytree(series, folder / side, copy_function=_link)
    _link(files.film, folder / "film")
    return SubjectFiles(folder / "film", {side: folder / side for side in files.series})


def _link(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """A hard link, or a copy on a file system without them."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def run(pairs: int, num_workers: int) -> dict[str, Any]:
    """Makes the files and measures with them."""
    with tempfile.TemporaryDirectory(prefix="phantom-files-") as folder:
        return measure(make_files(Path(folder)), pairs, num_workers)


def table(report: Mapping[str, Any]) -> str:
    """The report as lines of text."""
    peak = max(report["worker_peak_bytes"]) / 2**30
    lines = [
        f"{report['dataset']}: {report['pairs']} pairs on {report['num_workers']} workers in "
        f"{report['seconds']:.1f} s, {report['seconds_per_pair']:.2f} s per pair "
        f"({report['processor_s_per_pair']:.2f} s of processor time); at most {peak:.2f} GiB per "
        "worker"
    ]
    for kind, share in sorted(report["share"].items(), key=lambda item: -item[1]):
        lines.append(f"  {kind:<14} {share:6.1%}  {report['work_s'][kind]:8.1f} s")
    return "\n".join(lines)
