"""Plans the work on a collection: which knees are paired, their splits, and files read together."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path

from xr2mri_jax.datasets.knee_pairs.film_knees import FilmTask
from xr2mri_jax.datasets.knee_pairs.options import PairOptions
from xr2mri_jax.datasets.pairing import pair_source
from xr2mri_jax.datasets.pairing_report import Pair, Pairing
from xr2mri_jax.datasets.splits import Splits, read_splits, split_subjects
from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import SIDES, KneePlace
from xr2mri_jax.io.records import Source
from xr2mri_jax.io.sources import read_source
from xr2mri_jax.preprocess.knee_positions import read_knee_positions


@dataclasses.dataclass(frozen=True)
class Plan:
    """All knees of the collection, the pairs' splits, and the work by split."""

    pairing: Pairing
    splits: Splits
    tasks: Mapping[str, tuple[FilmTask, ...]]


def make_plan(
    source: Path, options: PairOptions, report: str | os.PathLike[str] | None = None
) -> Plan:
    """Reads the collection's tables, pairs its knees and splits the pairs by subject.

    Only tables and folder listings are read. A radiograph of both knees is one task, so that it is
    decoded once.

    Args:
      source: a collection of any layout, see `io.sources.read_source`.
      options: of the preparation.
      report: CSV file for the rejected knees if no pair is found, or None.

    Raises:
      InputError: tables that cannot be used, no pair, a split without a subject, a subject in two
        splits or in none, a file of two subjects, or an MRI of two knees.
    """
    records = read_source(source, options.grades, options.visit)
    pairing = pair_source(
        records,
        sequence=options.sequence,
        visit_tolerance=options.visit_tolerance,
        duplicates=options.duplicates,
    )
    if not pairing.pairs:
        if report is not None:
            pairing.write_csv(report)
        raise InputError(
            f"--source={source}: found no pair of radiograph and MRI: "
            + "; ".join(line.strip() for line in pairing.summary().splitlines()[1:])
        )
    _require_own_files(pairing)
    pairing = _with_alike_subjects(pairing)
    splits = _splits(pairing, options)
    places = {} if options.places is None else read_knee_positions(options.places)
    _require_use(places, pairing, options)
    noticed = *_unused_places(places, records, options), *_repeated_files(pairing)
    pairing = dataclasses.replace(pairing, problems=(*noticed, *pairing.problems))
    tasks: dict[str, list[FilmTask]] = {name: [] for name in splits.subjects}
    for pairs in _by_radiograph(pairing).values():
        film = pairs[0].radiograph
        given = {
            side: place
            for side in {pair.side for pair in pairs}
            if (place := _place(places, film.path, side)) is not None
        }
        tasks[splits.split_of(film.subject)].append(FilmTask(film, tuple(pairs), given))
    return Plan(pairing, splits, {name: tuple(found) for name, found in tasks.items()})


def _require_own_files(pairing: Pairing) -> None:
    """Refuses a radiograph of two subjects, which may be split, and an MRI of two knees."""
    films: dict[str, str] = {}
    scans: dict[str, tuple[str, str]] = {}
    for pair in sorted(pairing.pairs, key=lambda pair: pair.knee):
        path = os.path.realpath(pair.radiograph.path)
        other = films.setdefault(path, pair.subject)
        if other != pair.subject:
            raise InputError(
                f"{pair.radiograph.path}: is the radiograph of subject {other!r} and of subject "
                f"{pair.subject!r}, expected one subject (one for both knees of a patient)"
            )
        knee = pair.subject, pair.side
        first = scans.setdefault(os.path.realpath(pair.series.path), knee)
        if first != knee:
            raise InputError(
                f"{pair.series.path}: is the MRI of subject {first[0]!r}, {first[1]}, and of "
                f"subject {knee[0]!r}, {knee[1]}, expected one knee"
            )


def _with_alike_subjects(pairing: Pairing) -> Pairing:
    """Notes subjects whose names differ only in letter case: they may be one, in two splits."""
    alike: dict[str, list[str]] = {}
    for subject in pairing.subjects:
        alike.setdefault(subject.casefold(), []).append(subject)
    notes: dict[str, str] = {}
    for names in alike.values():
        if len(names) > 1:
            listed = " and ".join(map(repr, names))
            note = f"the subjects {listed} differ only in letter case and count as {len(names)}"
            notes.update(dict.fromkeys(names, note))
    pairs = tuple(
        dataclasses.replace(
            pair, note="; ".join(filter(None, (pair.note, notes.get(pair.subject))))
        )
        for pair in pairing.pairs
    )
    problems = (*dict.fromkeys(notes.values()), *pairing.problems)
    return dataclasses.replace(pairing, pairs=pairs, problems=problems)


def _repeated_files(pairing: Pairing) -> list[str]:
    """Lines on files that are listed at several visits, so that each visit has a pair with it."""
    lines = []
    ordered = sorted(pairing.pairs, key=lambda pair: pair.knee)
    for kind, records in (
        ("radiographs", [pair.radiograph for pair in ordered]),
        ("MRI series", [pair.series for pair in ordered]),
    ):
        visits: dict[str, dict[str, None]] = {}
        for record in records:
            visits.setdefault(os.path.realpath(record.path), {})[record.visit] = None
        repeated = [(path, seen) for path, seen in visits.items() if len(seen) > 1]
        if repeated:
            path, seen = repeated[0]
            lines.append(
                f"{kind} listed at several visits, each with a pair of its own: {len(repeated)}, "
                f"the first: {path} at {', '.join(visit or '(none)' for visit in seen)}"
            )
    return lines


def _splits(pairing: Pairing, options: PairOptions) -> Splits:
    if options.splits is None:
        shares = {name: share for name, share in options.split_shares.items() if share > 0}
        splits = split_subjects(pairing.subjects, options.split_seed, shares)
        remedy = "change its share or seed (--split_shares, --split_seed)"
    else:
        given = read_splits(options.splits)
        homes = {subject: given.split_of(subject) for subject in pairing.subjects}
        splits = Splits(
            {
                name: tuple(subject for subject, home in homes.items() if home == name)
                for name in given.subjects
            },
            given.seed,
            given.fractions,
        )
        remedy = f"add a subject with a pair to it in --splits={options.splits}, or remove it there"
    splits.require_members(remedy)
    return splits


def _by_radiograph(pairing: Pairing) -> dict[tuple[str, Path], list[Pair]]:
    """Pairs by subject and radiograph, in the order of the subjects."""
    found: dict[tuple[str, Path], list[Pair]] = {}
    for pair in sorted(pairing.pairs, key=lambda pair: pair.knee):
        found.setdefault((pair.subject, pair.radiograph.path), []).append(pair)
    return found


def _place(places: Mapping[tuple[str, str], KneePlace], path: Path, side: str) -> KneePlace | None:
    return places.get((str(path.resolve()), side))


def _require_use(
    places: Mapping[tuple[str, str], KneePlace], pairing: Pairing, options: PairOptions
) -> None:
    """Refuses given places if none matches a radiograph, for example paths of another machine."""
    used = any(_place(places, pair.radiograph.path, pair.side) for pair in pairing.pairs)
    if places and not used:
        file, side = next(iter(places))
        raise InputError(
            f"--places={options.places}: found places of other files, as the {side} knee of {file},"
            f" expected radiographs such as {pairing.pairs[0].radiograph.path}"
        )


def _unused_places(
    places: Mapping[tuple[str, str], KneePlace], records: Source, options: PairOptions
) -> list[str]:
    """A line on the given places of which the collection has no radiograph with that knee."""
    if not places:
        return []
    shown = {
        (str(film.path.resolve()), side)
        for film in records.radiographs
        for side in (SIDES if film.side is None else (film.side,))
    }
    unused = [key for key in places if key not in shown]
    if not unused:
        return []
    file, side = unused[0]
    return [
        f"--places={options.places}: places that match no radiograph of the collection: "
        f"{len(unused)} of {len(places)}, the first: the {side} knee of {file}"
    ]
