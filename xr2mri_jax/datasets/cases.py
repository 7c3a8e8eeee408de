"""Writes cases of a prepared dataset back as files: radiograph PNG, MRI NIfTI, a table."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from xr2mri_jax import datasets, output_paths
from xr2mri_jax.datasets.data_origin import is_phantom
from xr2mri_jax.datasets.examples import StoredExamples
from xr2mri_jax.errors import InputError
from xr2mri_jax.files import atomic_path
from xr2mri_jax.geometry import SIDES, from_canonical
from xr2mri_jax.io import write_nifti
from xr2mri_jax.io.tables import write_table


class CaseRow(NamedTuple):
    """One line of cases.csv; `spacing` in mm per pixel; it and the grade are None if unknown."""

    name: str
    side: str
    spacing: float | None
    kl: int | None
    subject: str


def parse_positions(words: Iterable[str]) -> tuple[int, ...]:
    """Positions in a split from words such as "0"; anything else raises InputError."""
    chosen = []
    for word in words:
        if not word.strip().isdecimal():
            raise InputError(f"--cases: found {word!r}, expected positions such as 0,3")
        chosen.append(int(word))
    return tuple(chosen)


def write_cases(
    dataset: str,
    data_dir: str | os.PathLike[str],
    split: str,
    positions: Sequence[int],
    output: str | os.PathLike[str],
) -> list[CaseRow]:
    """Writes chosen cases as a user would have them: the mirroring of left knees is undone.

    For case N of a split: `<split>_N.png` (uint16 grey, bone bright), `<split>_N_mri.nii.gz`
    (float32 in [0, 1], world origin at the joint's centre), and one row in `cases.csv`.

    Args:
      dataset: name with configuration, for example "knee_phantom/quickstart".
      data_dir: folder of the prepared dataset.
      split: name of the split.
      positions: positions in the split.
      output: folder for the files; created if missing.

    Returns:
      The rows of the table.

    Raises:
      InputError: the dataset is missing, the split is unknown or has no such position, or the
        folder cannot be written to.
    """
    output_paths.require_writable(Path(output), "--output")
    builder = datasets.load_builder(dataset, data_dir)
    source = StoredExamples(builder, split)
    folder = Path(output)
    mark = f"simulated, {dataset}" if is_phantom(dataset) else ""
    rows = []
    for position in positions:
        if position >= len(source):
            raise InputError(
                f"{dataset} {split}: found no case {position}, expected 0..{len(source) - 1}"
            )
        rows.append(_write_case(source[position], f"{split}_{position}", folder, mark))
    write_table(folder / "cases.csv", CaseRow._fields, rows)
    return rows


def _write_case(example: dict, name: str, folder: Path, mark: str) -> CaseRow:
    side = SIDES[int(example["side"])]
    pixels = np.asarray(example["xray"])[..., 0]
    if side == "left":
        pixels = pixels[:, ::-1]
    with atomic_path(folder / f"{name}.png") as partial:
        Image.fromarray(np.ascontiguousarray(pixels, np.uint16)).save(partial, format="PNG")
    if "mri" in example:
        volume = np.asarray(example["mri"])[..., 0].astype(np.float32) / 65535.0
        write_nifti(folder / f"{name}_mri.nii.gz", from_canonical(volume, side), description=mark)
    subject, kl = example["subject"], int(example["kl"])
    return CaseRow(
        name,
        side,
        round(float(example["spacing"][-1]), 6) or None,  # stored as 0 if unknown
        None if kl < 0 else kl,
        subject.decode() if isinstance(subject, bytes) else str(subject),
    )
