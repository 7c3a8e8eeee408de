"""Measures how long users wait: `predict` and `grade` of one radiograph, `predict` of a folder.

The default networks are also timed alone, as generators of other projects are timed.
"""

import statistics
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xr2mri_jax import samples
from xr2mri_jax.tools.benchmarks import cube, grade, process_usage, timing


def run(repeats: int, real: Path | None = None, size: int = 128) -> dict[str, Any]:
    """One radiograph: the first call without compiled programs on disk, then further calls.

    Args:
      repeats: further calls of each command.
      real: folder whose first file is used; None: the sample.
      size: edge length in voxels for the networks alone, see `cube.run`.

    Returns:
      The report, JSON-able: machine, networks (`cube.run`), and by command ("predict" with labels,
      meshes and picture; "grade") first_s, seconds (of the further calls),
      median_s, processor_s (the median) and peak_bytes.

    Raises:
      InputError: the folder has no files.
      RuntimeError: a command failed.
    """
    report: dict[str, Any] = {"machine": timing.machine()}
    with tempfile.TemporaryDirectory(prefix="latency-") as scratch:
        root = Path(scratch)
        (root / "in").mkdir()
        xray = samples.KNEE
        if real is not None:
            grade.link_files(root / "in", real, 1)
            xray = next((root / "in").iterdir())
        outputs = f"--output={root / 'v.nii.gz'}", f"--labels={root / 'l.nii.gz'}"
        commands = {
            "predict": ["predict", f"--xray={xray}", *outputs, f"--meshes={root / 'meshes'}"],
            "grade": ["grade", f"--xray={xray}", f"--output={root / 'grades.csv'}"],
        }
        for name, words in commands.items():
            first, *further = (
                process_usage.run_command(words, root / f"compiled-{name}")
                for _ in range(1 + repeats)
            )
            report[name] = {
                "first_s": first.seconds,
                "seconds": [one.seconds for one in further],
                "median_s": statistics.median(one.seconds for one in further),
                "processor_s": statistics.median(one.processor_s for one in further),
                "peak_bytes": max(one.peak_bytes for one in (first, *further)),
            }
    report["networks"] = cube.run(size, 2 * repeats + 1)
    return report


def table(report: Mapping[str, Any]) -> str:
    """The report of `run` in lines."""
    lines = [
        f"{name}: first {row['first_s']:.1f} s, then {row['median_s']:.1f} s "
        f"({min(row['seconds']):.1f} to {max(row['seconds']):.1f}; {row['processor_s']:.1f} s of "
        f"processor time), {row['peak_bytes'] / 2**20:.0f} MiB at most"
        for name, row in report.items()
        if name not in ("machine", "networks")
    ]
    row = report["networks"]
    lines.append(
        f"networks alone, {row['parameters']:,} parameters, {row['voxels'][0]} voxels each way: "
        f"{row['median_s']:.3f} s ({min(row['seconds']):.3f} to {max(row['seconds']):.3f})"
    )
    return "\n".join(lines)


def run_folder(images: int, repeats: int, real: Path | None = None) -> dict[str, Any]:
    """`predict --xray=FOLDER`, with volumes and their uncertainty written as .nii.gz.

    Args:
      images: number of radiographs; the first ones of `real`.
      repeats: calls, after one that compiles and is not counted.
      real: folder of radiographs; None: simulated ones are made.

    Returns:
      The report, JSON-able: machine, images, source, volumes (written per call), seconds,
      median_s, images_per_s (by the median), processor_s (the median), peak_bytes.

    Raises:
      InputError: the folder has no files.
      RuntimeError: the command failed.
    """
    with tempfile.TemporaryDirectory(prefix="folder-") as scratch:
        root = Path(scratch)
        xrays = root / "in"
        xrays.mkdir()
        made = (
            grade.make_radiographs(xrays, images)
            if real is None
            else grade.link_files(xrays, real, images)
        )
        runs, volumes = [], 0
        for number in range(1 + repeats):
            output = root / f"out{number}"
            words = "predict", f"--xray={xrays}", f"--output={output}"
            runs.append(process_usage.run_command(words, root / "compiled"))
            names = [path.name for path in output.glob("*.nii.gz")]
            volumes = sum(not name.endswith("_uncertainty.nii.gz") for name in names)
        counted = runs[1:]
        median = statistics.median(one.seconds for one in counted)
        return {
            "machine": timing.machine(),
            "images": made,
            "source": "phantom" if real is None else "real",
            "volumes": volumes,
            "seconds": [one.seconds for one in counted],
            "median_s": median,
            "images_per_s": made / median,
            "processor_s": statistics.median(one.processor_s for one in counted),
            "peak_bytes": max(one.peak_bytes for one in counted),
        }


def folder_table(report: Mapping[str, Any]) -> str:
    """The report of `run_folder` in lines."""
    return (
        f"{report['images']} {report['source']} radiographs to {report['volumes']} volumes: "
        f"{report['median_s']:.1f} s, {report['images_per_s']:.1f} per second, "
        f"{report['processor_s']:.1f} s of processor time, "
        f"{report['peak_bytes'] / 2**20:.0f} MiB at most"
    )
