"""Runs a benchmark suite by its name: checks the flags, prints the table, writes the JSON."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xr2mri_jax.errors import InputError
from xr2mri_jax.files import write_json
from xr2mri_jax.output_paths import require_ending, require_file_place

NAMES = (
    "anatomy",
    "film",
    "folder",
    "frontal",
    "generator",
    "gpu",
    "grade",
    "input",
    "joint_centre",
    "joint_space",
    "knee_finder",
    "latency",
    "long_run",
    "prepare",
    "siamese_gap",
    "siamese_gap_epoch",
    "unlikeness",
    "volume_grade",
)


def run(
    suite: str | None,
    output: str | os.PathLike[str] | None,
    *,
    repeats: int,
    batch_size: int | None = None,
    volume_shape: Sequence[str | int],
    image_size: int = 224,
    films: int = 200,
    real: str | os.PathLike[str] | None = None,
    pictures: str | os.PathLike[str] | None = None,
    pairs: int = 200,
    num_workers: int = 1,
    images: int = 500,
    model: str | None = None,
    steps: int | None = None,
    seconds: int = 540,
    tiny: bool = False,
) -> dict[str, Any]:
    """Runs `suite` and writes its report to `output`.

    Args:
      suite: one of `NAMES`.
      output: path of the JSON file, written atomically.
      repeats: timed calls of each function, 1 or more.
      batch_size: of the training step, 1 or more; None: 2 for the generator, else 32.
      volume_shape: (d, h, w) in voxels, as numbers or their text; of the generator.
      image_size: pixels of the radiograph each way; for input, siamese_gap and
        siamese_gap_epoch.
      films: phantom films for the suites "knee_finder" and "unlikeness", 1 or more.
      real: folder of real files for the suite "knee_finder", see `benchmarks.knee_finder.run`;
        for "folder", "grade" and "latency" a folder of radiographs, for "joint_space" and
        "volume_grade" one with GRADE/NAME.png, for "unlikeness" as for "knee_finder", for
        "anatomy", "film" and "frontal" one with label maps, see `benchmarks.anatomy.run`.
      pictures: folder for pictures of the suite "knee_finder".
      pairs: for the preparation, 2 or more.
      num_workers: processes of the preparation, 1 or more.
      images: radiographs for the suites "grade", "folder" and "unlikeness", 1 or more.
      model: for the suite "grade", see `benchmarks.grade.run`.
      steps: of an epoch of siamese_gap_epoch (None: a whole one), or of the training of
        "long_run" (None: 3000), 1 or more.
      seconds: time for the suite "gpu", 1 or more.
      tiny: for the suite "gpu": tiny sizes, as without an accelerator.

    Raises:
      InputError: an unknown suite, another ending than .json, or a number that cannot be used.
    """
    if not output:
        raise InputError("--output is missing: expected the path of a JSON file")
    require_ending(Path(output), ".json", "--output")
    require_file_place(Path(output), "--output")
    if suite not in NAMES:
        raise InputError(f"--suite: found {suite!r}, expected one of {', '.join(NAMES)}")
    if batch_size is None:
        batch_size = 2 if suite == "generator" else 32
    numbers = {
        "repeats": repeats,
        "batch_size": batch_size,
        "image_size": image_size,
        "films": films,
        "num_workers": num_workers,
        "images": images,
        "steps": steps,
        "seconds": seconds,
    }
    for name, value in numbers.items():
        if value is not None and value < 1:
            raise InputError(f"--{name}: found {value}, expected 1 or more")
    shape = _shape(volume_shape)
    if suite == "anatomy":
        from xr2mri_jax.tools.benchmarks import anatomy

        report = anatomy.run(None if real is None else Path(real))
        print(anatomy.table(report))
    elif suite == "film":
        from xr2mri_jax.tools.benchmarks import film

        report = film.run(None if real is None else Path(real))
        print(film.table(report))
    elif suite == "frontal":
        from xr2mri_jax.tools.benchmarks import frontal

        report = frontal.run(None if real is None else Path(real))
        print(frontal.table(report))
    elif suite == "gpu":
        from xr2mri_jax.tools.benchmarks import gpu

        report = gpu.run(seconds, tiny)
        print(gpu.table(report))
        Path(output).with_suffix(".md").write_text(gpu.table(report) + "\n", encoding="utf-8")
    elif suite == "input":
        from xr2mri_jax.tools.benchmarks import input as input_share
        from xr2mri_jax.training import parallel

        parallel.divide_cores(0, batch_size)
        report = input_share.run(image_size, repeats, batch_size)
        print(input_share.table(report))
    elif suite == "joint_centre":
        from xr2mri_jax.tools.benchmarks import joint_centre

        report = joint_centre.run()
        print(joint_centre.table(report))
    elif suite == "joint_space":
        from xr2mri_jax.tools.benchmarks import joint_space

        report = joint_space.run(None if real is None else Path(real))
        print(joint_space.table(report))
    elif suite == "long_run":
        from xr2mri_jax.tools.benchmarks import long_run

        report = long_run.run(steps)
        print(long_run.table(report))
    elif suite == "prepare":
        from xr2mri_jax.tools.benchmarks import prepare

        report = prepare.run(pairs, num_workers)
        print(prepare.table(report))
    elif suite == "siamese_gap":
        from xr2mri_jax.tools.benchmarks import siamese_gap
        from xr2mri_jax.training import parallel

        parallel.divide_cores(0, batch_size)
        report = siamese_gap.run(image_size, repeats, batch_size)
        print(siamese_gap.table(report))
    elif suite == "siamese_gap_epoch":
        from xr2mri_jax.tools.benchmarks import siamese_gap_epoch

        report = siamese_gap_epoch.run(image_size, repeats, batch_size, steps)
        print(siamese_gap_epoch.table(report))
    elif suite == "grade":
        from xr2mri_jax.tools.benchmarks import grade

        report = grade.run(images, None if real is None else Path(real), model)
        print(grade.table(report))
    elif suite == "latency":
        from xr2mri_jax.tools.benchmarks import latency

        report = latency.run(repeats, None if real is None else Path(real), int(volume_shape[-1]))
        print(latency.table(report))
    elif suite == "folder":
        from xr2mri_jax.tools.benchmarks import latency

        report = latency.run_folder(images, repeats, None if real is None else Path(real))
        print(latency.folder_table(report))
    elif suite == "unlikeness":
        from xr2mri_jax.tools.benchmarks import unlikeness

        report = unlikeness.run(None if real is None else Path(real), films, images)
        print(unlikeness.table(report))
    elif suite == "volume_grade":
        from xr2mri_jax.tools.benchmarks import volume_grade

        report = volume_grade.run(None if real is None else Path(real))
        print(volume_grade.table(report))
    elif suite == "knee_finder":
        from xr2mri_jax.tools.benchmarks import knee_finder

        seen, drawn = (None if folder is None else Path(folder) for folder in (real, pictures))
        report = knee_finder.run(films, seen, drawn)
        print(knee_finder.table(report))
    else:
        from xr2mri_jax.tools.benchmarks import generator

        report = generator.run(shape, repeats, batch_size)
        print(generator.table(report))
    write_json(output, report)
    return report


def _shape(words: Sequence[str | int]) -> tuple[int, int, int]:
    try:
        depth, height, width = (int(word) for word in words)
    except ValueError:
        found = ",".join(str(word) for word in words)
        raise InputError(
            f"--volume_shape: found {found}, expected d,h,w such as 64,128,128"
        ) from None
    return depth, height, width
