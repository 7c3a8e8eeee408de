"""One knee of a family to an example; runs in worker processes."""

import dataclasses
import functools
import hashlib
import time
from pathlib import Path

import numpy as np

from xr2mri_jax.datasets.outcomes import Outcome, checked_share, this_worker
from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import Volume
from xr2mri_jax.io import read_volume
from xr2mri_jax.phantom.landmarks import find_side
from xr2mri_jax.simulation import atlas, family, graded

# Of the knees that are held out, see `family.draw_case`.
STRANGE = 1.6
ENDINGS = (".nii.gz", ".nii", ".nrrd")


@dataclasses.dataclass(frozen=True)
class FamilyOptions:
    """The options, recorded with the dataset: the share of knees that may fail to be drawn."""

    max_broken: float = 0.01

    def __post_init__(self) -> None:
        checked_share(self.max_broken)


def map_files(source: Path) -> list[Path]:
    """The label maps of a folder, sorted; raises InputError if there is none."""
    found = sorted(p for p in source.iterdir() if p.name.endswith(ENDINGS))
    if not found:
        raise InputError(f"--source={source}: found no label map, expected {', '.join(ENDINGS)}")
    return found


def prepared_atlas(files: list[Path], folder: Path) -> Path:
    """The file of the maps' atlas in `folder`, made if it does not exist.

    Raises:
      InputError: a map cannot be read, does not tell its side, or shows no such knee.
    """
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
    kept = folder / f"atlas_{digest[:16]}.npz"
    if not kept.is_file():
        atlas.save(_built(files), kept)
    return kept


def make_knee(
    kept: Path, seed: int, shape: tuple[int, int, int], trained: int, index: int
) -> list[Outcome]:
    """The outcome of knee `index` of the atlas in the file `kept`, under a key of its number.

    Knees from number `trained` on, which are held out, are drawn stranger.
    """
    start = time.perf_counter()
    key = f"knee_{index:07d}"
    bred = _loaded(kept)
    try:
        example = family.draw_case(bred, seed, index, shape, 1.0 if index < trained else STRANGE)
    except Exception as error:  # a knee that cannot be drawn is listed
        return [Outcome(key, None, "not_drawn", f"{type(error).__name__}: {error}")]
    cost = {"knee": time.perf_counter() - start}
    return [Outcome(key, example, cost=cost, worker=this_worker())]


def make_radiographs(kept: Path, seed: int, pixels: int, index: int) -> list[Outcome]:
    """The outcomes of knee `index` with each grade, under keys of its number and the grade."""
    start = time.perf_counter()
    key = f"knee_{index:07d}"
    try:
        examples = graded.draw_radiographs(_loaded(kept), seed, index, pixels)
    except Exception as error:  # a knee that cannot be drawn is listed
        reason = f"{type(error).__name__}: {error}"
        return [Outcome(f"{key}_{kl}", None, "not_drawn", reason) for kl in graded.GRADES]
    cost = {"radiograph": (time.perf_counter() - start) / len(examples)}
    return [
        Outcome(f"{key}_{example['kl']}", example, cost=cost, worker=this_worker())
        for example in examples
    ]


_loaded = functools.lru_cache(maxsize=1)(atlas.load)


def _built(files: list[Path]) -> atlas.Atlas:
    maps, sides = [], []
    for path in files:
        read = read_volume(path)
        labels = Volume(np.asarray(read.array).astype(np.uint8), read.affine)
        side = find_side(labels)
        if side is None:
            raise InputError(f"{path}: its labels do not tell the side, expected them to")
        maps.append(labels)
        sides.append(side)
    return atlas.build(maps, sides)
