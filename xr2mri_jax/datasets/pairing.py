"""Pairing of radiographs with MRI series by subject, side and visit."""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Generic, TypeVar

from xr2mri_jax.datasets.pairing_report import Pair, Pairing, Reason, Rejection
from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import SIDES
from xr2mri_jax.io.oai.names import SEQUENCES, barcode_key, sequence_of
from xr2mri_jax.io.records import (
    Grade,
    Knee,
    MriSeries,
    RadiographFile,
    Source,
    visit_gap,
    visit_months,
)

DUPLICATES = ("choose", "reject")
Item = TypeVar("Item")
Record = TypeVar("Record", RadiographFile, MriSeries)


@dataclasses.dataclass(frozen=True)
class _Choice(Generic[Record]):
    """The record of one visit to use, or None with the reason; `note` describes a choice made."""

    record: Record | None
    reason: Reason | None = None
    note: str = ""


def pair_source(
    source: Source,
    *,
    sequence: str = "dess",
    visit_tolerance: int = 0,
    duplicates: str = "choose",
) -> Pairing:
    """Pairs every knee's MRI with its radiograph, and gives the reason if that is not possible.

    A pair is one knee (subject and side): an MRI series of the sequence, and the radiograph of the
    same visit or, within the tolerance, of the nearest one. Each radiograph of a knee is paired
    with at most one MRI and vice versa; nearer visits come first, at equal distance the earlier
    radiograph. A radiograph of both knees serves both. The grade is that of the radiograph's visit
    (a missing grade rejects no knee).

    Of several candidates at one visit, the choice is: for an MRI the series under the protocol's
    own name, then the one with most files, then the last (by date, barcode, path: a scan is
    repeated because the first was bad); for a radiograph the graded one, then one of this knee
    alone, then the last. The pair's note names the others, and says if the grade is of a radiograph
    with another barcode.

    Args:
      source: the records.
      sequence: "dess", "cor_iw_tse", "sag_iw_tse", "cor_flash", or a protocol's or other name of
        one of these ("SAG_3D_DESS", "COR IW TSE"). A series whose source does not state its
        sequence (a manifest) matches any.
      visit_tolerance: maximum months between the visits of a pair's MRI and radiograph.
      duplicates: "choose" as above, or "reject" knees with several candidates.

    Returns:
      A Pairing: every knee and visit of the source is in exactly one of its `paired` and
      `rejections`.

    Raises:
      InputError: an unknown sequence or value of duplicates, a negative tolerance.
    """
    wanted = sequence_name(sequence)
    if duplicates not in DUPLICATES:
        raise InputError(f"duplicates is {duplicates!r}, expected one of {', '.join(DUPLICATES)}")
    if visit_tolerance < 0:
        raise InputError(f"visit tolerance is {visit_tolerance} months, expected 0 or more")
    grades = _by_knee(source.grades)
    radiographs = _by_visit(
        ((item.subject, side), item.visit, item)
        for item in source.radiographs
        for side in (SIDES if item.side is None else (item.side,))
    )
    series = _by_visit(((scan.subject, scan.side), scan.visit, scan) for scan in source.series)
    graded = _by_visit((knee[:2], knee[2], grade) for knee, grade in grades.items())
    pairs: list[Pair] = []
    rejections: list[Rejection] = []
    for knee in sorted({*radiographs, *series, *graded}):
        scans, films = series.get(knee, {}), radiographs.get(knee, {})
        mri = {visit: _choose_series(scans[visit], wanted, duplicates) for visit in scans}
        xray = {
            visit: _choose_radiograph(films[visit], grades.get((*knee, visit)), duplicates)
            for visit in films
        }
        mine = _match(knee, mri, xray, grades, visit_tolerance)
        pairs.extend(mine)
        used = {visit for pair in mine for visit in (pair.visit, pair.radiograph.visit)}
        for visit in sorted({*mri, *xray, *graded.get(knee, ())} - used, key=_visit_order):
            reason, detail = _why(visit, mri, xray, visit_tolerance)
            rejections.append(Rejection(*knee, visit, reason, detail))
    return Pairing(tuple(pairs), tuple(rejections), wanted, source.problems, dict(source.ignored))


def sequence_name(text: str) -> str:
    """Parses the name of a sequence from a flag.

    Raises:
      InputError: not one of SEQUENCES.
    """
    name = text.strip().lower()
    if name not in SEQUENCES:
        name, _ = sequence_of(text)
    if name not in SEQUENCES:
        raise InputError(f"sequence is {text!r}, expected one of {', '.join(SEQUENCES)}")
    return name


def _choose_series(found: Iterable[MriSeries], wanted: str, duplicates: str) -> _Choice[MriSeries]:
    unique = list(dict.fromkeys(found))
    right = [scan for scan in unique if scan.sequence in (wanted, None)]
    if not right:
        others = sorted({scan.description or scan.sequence or "" for scan in unique})
        return _Choice(None, Reason.SEQUENCE_MISSING, f"no {wanted}, found {', '.join(others)}")
    usable = [scan for scan in right if not scan.problem]
    if not usable:
        return _Choice(None, Reason.MRI_UNUSABLE, "; ".join(scan.problem for scan in right))
    usable.sort(key=lambda scan: (scan.exact, scan.files or 0, *_recency(scan)))
    return _decide(usable, right, duplicates)


def _choose_radiograph(
    found: Iterable[RadiographFile], grade: Grade | None, duplicates: str
) -> _Choice[RadiographFile]:
    unique = list(dict.fromkeys(found))
    usable = [item for item in unique if not item.problem]
    if not usable:
        return _Choice(None, Reason.RADIOGRAPH_UNUSABLE, "; ".join(item.problem for item in unique))
    graded = barcode_key(grade.barcode) if grade else ""
    usable.sort(
        key=lambda item: (
            bool(graded) and barcode_key(item.barcode) == graded,
            item.side is not None,
            *_recency(item),
        )
    )
    return _decide(usable, unique, duplicates)


def _decide(usable: list[Record], found: list[Record], duplicates: str) -> _Choice[Record]:
    """The last of `usable` (sorted), with a note on the others."""
    chosen = usable[-1]
    barcodes = Counter(item.barcode for item in usable)
    labels = [_label(item, by_path=barcodes[item.barcode] > 1) for item in usable]
    notes = [f"{label} is another, not chosen" for label in labels[:-1]]
    if notes and duplicates == "reject":
        return _Choice(None, Reason.AMBIGUOUS, f"{len(usable)} candidates: {', '.join(labels)}")
    notes += [item.problem for item in found if item.problem]
    return _Choice(chosen, note="; ".join(notes))


def _label(item: RadiographFile | MriSeries, by_path: bool) -> str:
    """An image by its barcode, or by its path if that is wanted or there is no barcode."""
    name = item.path if by_path or not item.barcode else item.barcode
    count = f" ({item.files} files)" if isinstance(item, MriSeries) and item.files else ""
    return f"{item.description or type(item).__name__} {name}{count}"


def _recency(item: RadiographFile | MriSeries) -> tuple[str, str, str]:
    return item.date, item.barcode, str(item.path)


def _match(
    knee: tuple[str, str],
    mri: Mapping[str, _Choice[MriSeries]],
    xray: Mapping[str, _Choice[RadiographFile]],
    grades: Mapping[Knee, Grade],
    tolerance: int,
) -> list[Pair]:
    """One knee's pairs, the nearest visits first, in the order of the MRIs' visits."""
    near = []
    for visit, scan in mri.items():
        for other, film in xray.items():
            gap = visit_gap(visit, other)
            if scan.record and film.record and gap is not None and gap <= tolerance:
                later = _visit_order(other) > _visit_order(visit)
                near.append((gap, later, _visit_order(visit), _visit_order(other), visit, other))
    pairs: dict[str, Pair] = {}
    taken: set[str] = set()
    for gap, _, _, _, visit, other in sorted(near):
        scan, film = mri[visit], xray[other]
        if visit in pairs or other in taken or scan.record is None or film.record is None:
            continue
        taken.add(other)
        grade = grades.get((*knee, other))
        note = "; ".join(filter(None, (scan.note, film.note, _grade_note(grade, film.record))))
        kl = grade.kl if grade else None
        pairs[visit] = Pair(*knee, visit, film.record, scan.record, kl, gap, note)
    return [pairs[visit] for visit in sorted(pairs, key=_visit_order)]


def _grade_note(grade: Grade | None, film: RadiographFile) -> str:
    """Says that a grade was read in a radiograph with another barcode, if both are known."""
    if grade is None or grade.kl is None or not (grade.barcode and film.barcode):
        return ""
    if barcode_key(grade.barcode) == barcode_key(film.barcode):
        return ""
    return f"KL {grade.kl} was read in radiograph {grade.barcode}, not in {film.barcode}"


def _why(
    visit: str,
    mri: Mapping[str, _Choice[MriSeries]],
    xray: Mapping[str, _Choice[RadiographFile]],
    tolerance: int,
) -> tuple[Reason, str]:
    """Why a visit of a knee is in no pair: the MRI's reason first, then the radiograph's."""
    scan, film = mri.get(visit), xray.get(visit)
    if scan is not None:
        if scan.reason is not None:
            return scan.reason, scan.note
        if film is not None and film.reason is not None:
            return film.reason, film.note
        return _no_partner(visit, xray, tolerance, "radiograph", "MRI")
    if film is not None:
        if film.reason is not None:
            return film.reason, film.note
        return _no_partner(visit, mri, tolerance, "MRI", "radiograph")
    return Reason.NO_IMAGES, "named in a table, with neither radiograph nor MRI at this visit"


def _no_partner(
    visit: str,
    partners: Mapping[str, _Choice[RadiographFile]] | Mapping[str, _Choice[MriSeries]],
    tolerance: int,
    what: str,
    own: str,
) -> tuple[Reason, str]:
    """Why a visit with a good MRI (or radiograph) has no radiograph (or MRI)."""
    missing, taken = Reason.NO_MRI, Reason.MRI_TAKEN
    if what == "radiograph":
        missing, taken = Reason.NO_RADIOGRAPH, Reason.RADIOGRAPH_TAKEN
    if not partners:
        return missing, f"no {what} of this knee at any visit"
    gaps = {other: visit_gap(visit, other) for other in partners}
    known = {other: gap for other, gap in gaps.items() if gap is not None}
    if not known:
        names = ", ".join(sorted(partners))
        return Reason.VISIT_UNKNOWN, f"the {what}'s visits {names} cannot be compared with {visit}"
    nearest = min(known, key=lambda other: (known[other], _visit_order(other)))
    if known[nearest] > tolerance:
        return Reason.VISIT_TOO_FAR, (
            f"the nearest {what} is of {nearest}, {known[nearest]} months away, allowed {tolerance}"
        )
    within = [other for other in sorted(known, key=_visit_order) if known[other] <= tolerance]
    for other in within:
        choice = partners[other]
        if choice.reason is None:
            return taken, f"the {what} of {other} is paired with another visit's {own}"
    choice = partners[within[0]]
    assert choice.reason is not None
    return choice.reason, f"{within[0]}: {choice.note}"


def _by_visit(
    items: Iterable[tuple[tuple[str, str], str, Item]],
) -> dict[tuple[str, str], dict[str, list[Item]]]:
    """Items by (subject, side), and by visit within."""
    found: dict[tuple[str, str], dict[str, list[Item]]] = {}
    for knee, visit, item in items:
        found.setdefault(knee, {}).setdefault(visit, []).append(item)
    return found


def _by_knee(grades: Iterable[Grade]) -> dict[Knee, Grade]:
    """Grades by knee and visit; of several the first with a grade."""
    found: dict[Knee, Grade] = {}
    for grade in grades:
        if grade.knee not in found or found[grade.knee].kl is None:
            found[grade.knee] = grade
    return found


def _visit_order(visit: str) -> tuple[int, str]:
    months = visit_months(visit)
    return (10**6 if months is None else months, visit)
