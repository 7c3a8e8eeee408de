"""Converts a label map to one knee's labels in the phantom's codes."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from scipy import ndimage

from xr2mri_jax.errors import InputError, printable
from xr2mri_jax.geometry import Volume, checked_side
from xr2mri_jax.io.label_map import LabelMap, read_label_map
from xr2mri_jax.phantom.landmarks import find_side, side_of_shapes
from xr2mri_jax.phantom.tissues import CODES
from xr2mri_jax.simulation.label_names import Meaning, meaning
from xr2mri_jax.simulation.label_tables import (
    AUTO,
    TABLES,
    apply_table,
    candidates,
    find_table,
    without_bones,
)
from xr2mri_jax.simulation.plausible import objection, stray_code

HEADER = "header"
# Two femurs are two knees if each has this share of the labelled voxels, at this distance.
_SHARE, _APART_MM = 0.2, 60.0
_STEP_MM = 2.5


@dataclasses.dataclass(frozen=True, eq=False)
class KneeLabels:
    """One knee's labels.

    Attributes:
      volume: u8, codes of `tissues.TISSUES`.
      side: "left" or "right"; None if unknown.
      table: the name of the table that was used, "header" for the file's own names.
      used: names by the map's codes.
      doubts: decisions, one text each.
    """

    volume: Volume
    side: str | None
    table: str
    used: dict[int, str]
    doubts: tuple[str, ...]


def read_knee(
    path: str | os.PathLike[str], side: str | None = None, table: str = AUTO
) -> KneeLabels:
    """Reads a label map of one knee, or one knee of a map of two; see `knee_of_map`.

    Raises:
      InputError: as `read_label_map` and `knee_of_map`; the message names the file.
    """
    found = read_label_map(Path(path))
    try:
        return knee_of_map(found, side, table)
    except TwoKneesError as error:
        raise TwoKneesError(f"{path}: {error}") from error
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def knee_of_map(found: LabelMap, side: str | None = None, table: str = AUTO) -> KneeLabels:
    """Identifies every label and selects one knee.

    Args:
      found: of any codes.
      side: "left" or "right"; None if the labels determine it (names with sides, a fibula, medial
        and lateral parts).
      table: "auto" uses the names in the file's header, else the first table that makes a
        plausible knee of the map (`label_tables.candidates`, `plausible.objection`); else see
        `find_table`.

    Raises:
      InputError: labels that the table does not know or none of a knee, two knees and no side,
        labels that cannot be a knee by the table, or contradictory sides.
    """
    if side is not None:
        checked_side(side)
    chosen = find_table(table)
    names = {code: meaning(name) for code, name in found.names.items()}
    if chosen is None and {"femur", "tibia"} <= {one.tissue for one in names.values() if one}:
        return _by_names(found, names, side)
    if chosen is None:
        return _by_guess(found, side)
    mapped, used = apply_table(found.volume, chosen)
    try:
        if table in TABLES:
            _require_whole_bones(found.volume, chosen)
        return _one_knee(mapped, side, table, used, found.volume.doubts)
    except _ImplausibleError as error:
        raise InputError(f"--table={table} does not fit the map: {error}") from error


def _by_names(found: LabelMap, names: Mapping[int, Meaning | None], side: str | None) -> KneeLabels:
    """Maps labels by the names in the header; other labels become background."""
    present = [int(code) for code in np.flatnonzero(np.bincount(found.volume.array.ravel()))]
    sides = {one.side for code in present if (one := names.get(code)) and one.side}
    if side is None and len(sides) == 2:
        raise TwoKneesError
    if side is not None and sides and side not in sides:
        raise InputError(
            f"the labels' names say {', '.join(sorted(sides))} knee, found --side={side}, expected "
            "the two to agree"
        )
    side = side or next(iter(sides), None)
    table, doubts = {}, list(found.volume.doubts)
    ignored = []
    for code in filter(None, present):
        one = names.get(code)
        known = one is not None and one.side in (None, side)
        table[code] = one.tissue if one is not None and known else "ignore"
        if one is None:
            ignored.append(printable(found.names.get(code, f"label {code}"))[:40])
    if ignored:
        more = f" and {len(ignored) - 5} more" if len(ignored) > 5 else ""
        doubts.append(f"labels that are not part of the knee: {', '.join(ignored[:5])}{more}")
    doubts.append(f"the labels' names are those of {found.source}")
    mapped, used = apply_table(found.volume, table)
    return _one_knee(mapped, side, HEADER, used, tuple(doubts))


def _by_guess(found: LabelMap, side: str | None) -> KneeLabels:
    """Maps labels by the first table that makes a plausible knee of the map."""
    against: dict[str, list[str]] = {}
    for name in candidates(found.volume):
        mapped, used = apply_table(found.volume, TABLES[name])
        try:
            _require_whole_bones(found.volume, TABLES[name])
            return _one_knee(mapped, side, name, used, found.volume.doubts)
        except _ImplausibleError as error:
            against.setdefault(str(error), []).append(name)
    if not against:
        apply_table(found.volume, None)  # its error names the labels that no table knows
    said = "; ".join(f"as {' or '.join(names)} {reason}" for reason, names in against.items())
    without = without_bones(found.volume)
    also = f" ({', '.join(without)} knows them too, without femur or tibia)" if without else ""
    raise InputError(f"{said}{also}: say --table=NAME, or name a CSV file with code and name")


class TwoKneesError(InputError):
    """A map of two knees, of which none is chosen."""

    def __init__(self, said: str = ""):
        """Takes another message than the default, which helps on the command line."""
        super().__init__(
            said or "the map holds two knees, expected one: give --side=right or --side=left"
        )


class _ImplausibleError(InputError):
    """Labels that cannot be a knee."""


def _require_whole_bones(labels: Volume, table: Mapping[int, str]) -> None:
    against = stray_code(labels, table)
    if against:
        raise _ImplausibleError(against)


def _one_knee(
    mapped: Volume, side: str | None, table: str, used: dict[int, str], doubts: tuple[str, ...]
) -> KneeLabels:
    mapped, two = _cut(mapped, side)
    if two:
        doubts = (*doubts, f"the map holds two knees: the {side} one is used")
    against = objection(mapped)
    if against:
        raise _ImplausibleError(against)
    side = side or find_side(mapped)
    shaped = side_of_shapes(mapped)
    if None not in (side, shaped) and side != shaped:
        doubts = (
            *doubts,
            f"taken as a {side} knee, but its bones have the shapes of a {shaped} one: are medial "
            "and lateral, or left and right in the header, exchanged?",
        )
    return KneeLabels(mapped, side, table, used, doubts)


def _cut(mapped: Volume, side: str | None) -> tuple[Volume, bool]:
    """One knee of a map of two, and whether the map held two.

    Raises:
      InputError: two knees and no side.
    """
    middle = _between(mapped)
    if middle is None:
        return mapped, False
    if side is None:
        raise TwoKneesError
    index = np.argwhere(mapped.array > 0)
    across = mapped.world(index)[:, 0]
    # In RAS, x increases to the patient's right.
    other = index[across < middle] if side == "right" else index[across >= middle]
    array = mapped.array.copy()
    array[tuple(other.T)] = 0
    axis = int(np.abs(mapped.affine[0, :3]).argmax())
    kept = np.flatnonzero(array.any(axis=tuple(a for a in range(3) if a != axis)))
    first, last = int(kept[0]), int(kept[-1]) + 1
    affine = mapped.affine.copy()
    affine[:3, 3] += affine[:3, axis] * first
    part = np.take(array, range(first, last), axis)
    return Volume(part, affine, mapped.doubts), True


def _between(mapped: Volume) -> float | None:
    """x in RAS mm of the midplane between two femurs; None if there are not two."""
    steps = [max(1, int(_STEP_MM / size)) for size in mapped.spacing]
    femur = mapped.array[:: steps[0], :: steps[1], :: steps[2]] == CODES["femur"]
    parts, count = ndimage.label(femur)
    if count < 2:
        return None
    sizes = np.bincount(parts.ravel())[1:]
    largest = np.argsort(-sizes)[:2]
    if sizes[largest].min() < _SHARE * sizes.sum():
        return None
    places = [mapped.world(np.argwhere(parts == number + 1) * steps)[:, 0] for number in largest]
    left, right = sorted(places, key=lambda place: float(place.mean()))
    if right.mean() - left.mean() < _APART_MM:
        return None
    return float((left.max() + right.min()) / 2)
