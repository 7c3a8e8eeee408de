"""Phantom knees as files, good ones and bad ones, which the made collections link to."""

import dataclasses
import os
import tarfile
from pathlib import Path

import numpy as np

from xr2mri_jax.geometry import SIDES, KneePlace, Volume
from xr2mri_jax.phantom.bilateral import BilateralRadiograph, simulate_bilateral
from xr2mri_jax.phantom.case import simulate_case
from xr2mri_jax.tools.benchmarks.phantom_files import dess_volume, write_film, write_series

SEED, SUBJECTS, SLICES = 7, 2, 32
SHAPE = (64, 128, 128)
# Films of a third of a detector's rows and columns, and their mm per pixel.
FILM_SHAPE, FILM_SPACING = (1000, 1200), (0.35, 0.35)
# Kinds of series beside the good one: which slices are written, of which grid.
SERIES = {
    "dess": {},
    "odd": {"slices": 35},
    "rows352": {"rows": 352},
    "truncated": {"chosen": range(8)},
    "gap": {"chosen": [*range(15), *range(16, SLICES)]},
}
# What is made of which knee (subject, side), beside "dess" of every one.
SPECIAL = {
    "odd": (0, "right"),
    "rows352": (0, "left"),
    "truncated": (1, "left"),
    "gap": (1, "right"),
    "corrupt": (1, "right"),
}


@dataclasses.dataclass(frozen=True)
class MadeKnees:
    """The files, and the truth about them.

    Attributes:
      folder: holds films/SUBJECT_KIND, series/SUBJECT_SIDE_KIND/ and the same as .tar.gz.
      films: the simulated radiographs by subject; cases: the simulated knees by (subject, side).
    """

    folder: Path
    films: dict[int, BilateralRadiograph]
    cases: dict[tuple[int, str], dict]

    def film(self, subject: int, kind: str) -> Path:
        return self.folder / "films" / f"{subject}_{kind}"

    def series(self, subject: int, side: str, kind: str) -> Path:
        return self.folder / "series" / f"{subject}_{side}_{kind}"

    def packed(self, path: Path) -> Path:
        return path.with_name(path.name + ".tar.gz")

    def place(self, subject: int, side: str) -> KneePlace:
        return self.films[subject].places[side]


def make_knees(folder: Path) -> MadeKnees:
    """Simulates the subjects and writes their files."""
    films = {
        subject: simulate_bilateral(SEED, subject, FILM_SHAPE, FILM_SPACING)
        for subject in range(SUBJECTS)
    }
    cases = {
        (subject, side): simulate_case(SEED, 2 * subject + (side == "left"), SHAPE)
        for subject in range(SUBJECTS)
        for side in SIDES
    }
    made = MadeKnees(folder, films, cases)
    for subject, film in films.items():
        write_film(made.film(subject, "plain"), film.image, film.spacing)
        write_film(made.film(subject, "inverted"), film.image, film.spacing, True, "PixelSpacing")
        write_film(made.film(subject, "no_spacing"), film.image, None)
        broken = made.film(subject, "broken")
        broken.write_bytes(made.film(subject, "plain").read_bytes()[:300_000])
        write_film(made.film(subject, "blank"), np.full_like(film.image, 30000), film.spacing)
    for subject, side in cases:
        _write_series(made, subject, side, "dess")
    for kind, (subject, side) in SPECIAL.items():
        _write_series(made, subject, side, kind)
    for path in [*(folder / "films").iterdir(), *(folder / "series").iterdir()]:
        _pack(path, made.packed(path))
    return made


def _write_series(made: MadeKnees, subject: int, side: str, kind: str) -> None:
    target = made.series(subject, side, kind)
    good = made.series(subject, side, "dess")
    if kind == "corrupt":
        link_folder(good, target)
        (target / "020").unlink()
        (target / "020").write_bytes((good / "020").read_bytes()[:20_000])
        return
    how = SERIES[kind]
    grid = {name: value for name, value in how.items() if name != "chosen"}
    if "chosen" in how:
        target.mkdir(parents=True)
        for number in how["chosen"]:
            name = f"{number + 1:03d}"
            os.link(good / name, target / name)
        return
    fine = dess_volume(made.cases[subject, side], **{"slices": SLICES, **grid})
    # Every second pixel: 192 of 384 rows show the same knee and are read in a third of the time.
    volume = Volume(fine.array[::2, ::2], fine.affine @ np.diag([2, 2, 1, 1]))
    write_series(target, volume, f"SAG_3D_DESS_{side.upper()}")


def _pack(path: Path, archive: Path) -> None:
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        for file in sorted(path.iterdir()) if path.is_dir() else [path]:
            tar.add(file, arcname=f"./{file.name}" if path.is_dir() else "./001")


def link_folder(source: Path, target: Path) -> None:
    """The folder's files under the same names in `target`, as hard links."""
    target.mkdir(parents=True)
    for file in source.iterdir():
        os.link(file, target / file.name)


def link(source: Path, target: Path) -> None:
    """A file, or a folder's files, as hard links."""
    if source.is_dir():
        link_folder(source, target)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    os.link(source, target)
