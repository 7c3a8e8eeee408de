"""Makes one knee of a family, or its radiographs, as examples; runs in worker processes."""

import dataclasses
import functools
import hashlib
import time
from pathlib import Path

from absl import logging

from xr2mri_jax.datasets.outcomes import Outcome, checked_share, this_worker
from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import SIDES, checked_side
from xr2mri_jax.io import label_map
from xr2mri_jax.simulation import atlas, family, family_radiographs
from xr2mri_jax.simulation.knee_labels import KneeLabels, TwoKneesError, read_knee
from xr2mri_jax.simulation.population import Population, population

# Strangeness of the held-out knees, see `family.draw_case`.
STRANGE = 1.6
# Version of the atlas: changes if `atlas.build` makes something else of the same maps.
_FORM = 2


@dataclasses.dataclass(frozen=True)
class FamilyOptions:
    """The options, recorded with the dataset.

    Attributes:
      max_broken: maximum fraction of the knees that may fail to be drawn.
      departures: whether bone surfaces and cartilage depart from the mixed maps as measured in
        segmented knees; false if there are many maps, whose shapes are the variety.
      side: "left" or "right" of the maps whose labels do not state it; None: there are none.
    """

    max_broken: float = 0.01
    departures: bool = True
    side: str | None = None

    def __post_init__(self) -> None:
        if self.side is not None:
            checked_side(self.side)
        checked_share(self.max_broken)


def map_files(source: Path) -> list[Path]:
    """The label maps of a folder, sorted; raises InputError if there is none."""
    found = label_map.map_files(source)
    if not found:
        raise InputError(
            f"--source={source}: found no label map, expected {', '.join(label_map.ENDINGS)}"
        )
    return found


def atlas_file(files: list[Path], folder: Path, side: str | None = None) -> Path:
    """The path where `prepared_atlas` keeps the atlas of these maps."""
    digest = hashlib.sha256("".join(map(label_map.digest, files)).encode())
    digest.update((side or "").encode())
    return folder / f"atlas{_FORM}_{digest.hexdigest()[:16]}.npz"


def prepared_atlas(files: list[Path], folder: Path, side: str | None = None) -> Path:
    """The file of the maps' atlas in `folder`, made if it does not exist.

    Args:
      files: label maps, see `knee_labels.read_knee`; the first must have all parts.
      folder: where atlases are kept.
      side: of the maps whose labels do not state it; None: there are none.

    Raises:
      InputError: a map cannot be read, does not state its side, or shows no such knee.
    """
    kept = atlas_file(files, folder, side)
    if not kept.is_file():
        atlas.save(_built(files, side), kept)
    return kept


def make_knee(
    kept: Path,
    seed: int,
    shape: tuple[int, int, int],
    trained: int,
    departures: bool,
    index: int,
) -> list[Outcome]:
    """The outcome of knee `index` of the atlas in the file `kept`; its key is its number.

    Knees from number `trained` on are held out, and are drawn with greater strangeness.
    """
    start = time.perf_counter()
    key = f"knee_{index:07d}"
    bred = _loaded(kept)
    strange = 1.0 if index < trained else STRANGE
    try:
        example = family.draw_case(bred, seed, index, shape, strange, _measured(departures))
    except Exception as error:  # a knee that cannot be drawn is listed
        return [Outcome(key, None, "not_drawn", f"{type(error).__name__}: {error}")]
    cost = {"knee": time.perf_counter() - start}
    return [Outcome(key, example, cost=cost, worker=this_worker())]


def make_radiographs(
    kept: Path, seed: int, pixels: int, departures: bool, index: int
) -> list[Outcome]:
    """The outcomes of knee `index` with each grade; the keys are its number and the grade."""
    start = time.perf_counter()
    key = f"knee_{index:07d}"
    try:
        measured = _measured(departures)
        examples = family_radiographs.draw_radiographs(_loaded(kept), seed, index, pixels, measured)
    except Exception as error:  # a knee that cannot be drawn is listed
        reason = f"{type(error).__name__}: {error}"
        return [
            Outcome(f"{key}_{kl}", None, "not_drawn", reason) for kl in family_radiographs.GRADES
        ]
    cost = {"radiograph": (time.perf_counter() - start) / len(examples)}
    return [
        Outcome(f"{key}_{example['kl']}", example, cost=cost, worker=this_worker())
        for example in examples
    ]


_loaded = functools.lru_cache(maxsize=1)(atlas.load)


def _measured(departures: bool) -> Population:
    return population() if departures else population().without_shapes()


def _built(files: list[Path], side: str | None) -> atlas.Atlas:
    maps, sides = [], []
    for path in files:
        for knee in _knees(path):
            for doubt in knee.doubts:
                logging.warning("%s: %s", path.name, doubt)
            known = knee.side or side
            if known is None:
                raise InputError(f"{path}: its labels do not state the side: give --side")
            maps.append(knee.volume)
            sides.append(known)
    return atlas.build(maps, sides)


def _knees(path: Path) -> list[KneeLabels]:
    """The knee of a map, or both of one that holds two."""
    try:
        return [read_knee(path)]
    except TwoKneesError:
        return [read_knee(path, side) for side in SIDES]
