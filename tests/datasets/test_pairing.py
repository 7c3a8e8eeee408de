"""Tests of pairing: who goes with whom, why not, and that nobody is lost."""

import csv
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xr2mri_jax.datasets.pairing import pair_source, sequence_name
from xr2mri_jax.datasets.pairing_report import COLUMNS, Reason
from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import SIDES
from xr2mri_jax.io.records import Grade, MriSeries, RadiographFile, Source, visit_gap


def film(subject="1", visit="V00", side=None, name="x", **more):
    return RadiographFile(subject, visit, Path(f"/{subject}/{visit}/{name}"), side, **more)


def scan(subject="1", visit="V00", side="right", sequence="dess", name="m", **more):
    path = Path(f"/{subject}/{visit}/{side}/{sequence}/{name}")
    return MriSeries(subject, visit, side, path, sequence, **more)


def outcome(source, **options):
    """(subject, side, visit) -> the radiograph's visit of a pair, or the reason."""
    pairing = pair_source(source, **options)
    found = {pair.knee: pair.radiograph.visit for pair in pairing.pairs}
    found.update({rejection.knee: rejection.reason for rejection in pairing.rejections})
    return found


def detail(source, **options):
    (rejection,) = pair_source(source, **options).rejections
    return rejection.detail


def test_one_bilateral_radiograph_serves_two_knees():
    pairing = pair_source(Source((film(),), (scan(), scan(side="left"))))
    assert [pair.knee for pair in pairing.pairs] == [("1", "left", "V00"), ("1", "right", "V00")]
    assert {pair.radiograph for pair in pairing.pairs} == {film()}
    assert pairing.rejections == ()


def test_a_radiograph_of_one_knee_serves_that_knee():
    source = Source((film(side="left"),), (scan(), scan(side="left")))
    assert outcome(source) == {
        ("1", "left", "V00"): "V00",
        ("1", "right", "V00"): Reason.NO_RADIOGRAPH,
    }


def test_grade_is_the_one_of_the_radiographs_visit_and_missing_is_no_rejection():
    source = Source(
        (film(), film("2"), film("3", "V01")),
        (scan(), scan("2"), scan("3")),
        (
            Grade("1", "right", "V00", 3),
            Grade("2", "right", "V00", None),
            Grade("3", "right", "V00", 1),
            Grade("3", "right", "V01", 2),
        ),
    )
    pairing = pair_source(source, visit_tolerance=12)
    assert [pair.kl for pair in pairing.pairs] == [3, None, 2]


@pytest.mark.parametrize(
    ("source", "reason", "words"),
    [
        (Source((), (scan(),)), Reason.NO_RADIOGRAPH, "no radiograph of this knee"),
        (Source((film(side="right"),), ()), Reason.NO_MRI, "no MRI of this knee"),
        (Source((), (), (Grade("1", "right", "V00", 2),)), Reason.NO_IMAGES, "neither"),
        (
            Source(
                (film(side="right"),),
                (scan(sequence="other", description="MP_LOCATOR_RIGHT"),),
            ),
            Reason.SEQUENCE_MISSING,
            "no dess, found MP_LOCATOR_RIGHT",
        ),
        (
            Source((film(side="right"),), (scan(problem="row 7: gone"),)),
            Reason.MRI_UNUSABLE,
            "row 7: gone",
        ),
        (
            Source((film(side="right", problem="row 8: gone"),), (scan(),)),
            Reason.RADIOGRAPH_UNUSABLE,
            "row 8: gone",
        ),
        (
            Source((film(side="right", problem="row 8: gone"),), ()),
            Reason.RADIOGRAPH_UNUSABLE,
            "row 8: gone",
        ),
    ],
)
def test_reasons_at_one_visit(source, reason, words):
    (rejection,) = pair_source(source).rejections
    assert rejection.reason == reason and words in rejection.detail
    assert pair_source(source).pairs == ()


def test_visits_of_other_months_need_a_tolerance():
    source = Source((film(visit="V01", side="right"),), (scan(visit="V00"),))
    assert outcome(source) == {
        ("1", "right", "V00"): Reason.VISIT_TOO_FAR,
        ("1", "right", "V01"): Reason.VISIT_TOO_FAR,
    }
    assert outcome(source, visit_tolerance=11) == outcome(source)
    pairing = pair_source(source, visit_tolerance=12)
    (pair,) = pairing.pairs
    assert (pair.visit, pair.radiograph.visit, pair.gap) == ("V00", "V01", 12)
    assert pairing.seen == pairing.paired == {("1", "right", "V00"), ("1", "right", "V01")}
    texts = [rejection.detail for rejection in pair_source(source).rejections]
    assert texts[0] == "the nearest radiograph is of V01, 12 months away, allowed 0"


def test_visits_that_cannot_be_compared():
    source = Source((film(visit="before", side="right"),), (scan(visit="after"),))
    assert set(outcome(source, visit_tolerance=999).values()) == {Reason.VISIT_UNKNOWN}
    same = Source((film(visit="before", side="right"),), (scan(visit="before"),))
    assert outcome(same) == {("1", "right", "before"): "before"}
    mixed = Source((film(visit="24m", side="right"),), (scan(visit="V03"),))
    assert outcome(mixed) == {("1", "right", "V03"): "V03"}


def test_spellings_of_a_visit_are_one_visit():
    grades = (Grade("1", "right", "v03", 2),)
    for own, others in (("24m", "V03"), ("v03", "24"), ("24", "24m")):
        (pair,) = pair_source(Source((film(visit=own),), (scan(visit=others),), grades)).pairs
        assert (pair.visit, pair.radiograph.visit, pair.kl) == ("V03", "V03", 2)
    series = (scan(visit="V03", name="a"), scan(visit="24m", name="b"))
    twice = Source((film(visit="24", side="right"),), series)
    assert outcome(twice, duplicates="reject") == {("1", "right", "V03"): Reason.AMBIGUOUS}
    half = Source((film(visit="6", side="right"),), (scan(visit="6m"),))
    assert outcome(half) == {("1", "right", "6m"): "6m"}


def test_the_nearest_radiograph_is_taken_and_each_once():
    source = Source(
        (film(visit="V00", side="right"),),
        (scan(visit="V00"), scan(visit="V01")),
    )
    assert outcome(source, visit_tolerance=24) == {
        ("1", "right", "V00"): "V00",
        ("1", "right", "V01"): Reason.RADIOGRAPH_TAKEN,
    }
    films = tuple(film(visit=visit, side="right") for visit in ("V00", "V05"))
    found = outcome(Source(films, (scan(visit="V03"),)), visit_tolerance=24)
    assert found == {("1", "right", "V03"): "V05", ("1", "right", "V00"): Reason.MRI_TAKEN}


def test_at_equal_distance_the_earlier_radiograph_is_taken():
    films = tuple(film(visit=visit, side="right") for visit in ("V05", "V01"))
    found = outcome(Source(films, (scan(visit="V03"),)), visit_tolerance=12)
    assert found[("1", "right", "V03")] == "V01"


def test_a_partner_within_reach_without_the_sequence_is_the_reason():
    source = Source((film(side="right"),), (scan(visit="V01", sequence="cor_flash"),))
    found = outcome(source, visit_tolerance=12)
    assert found[("1", "right", "V00")] == Reason.SEQUENCE_MISSING
    assert outcome(source)[("1", "right", "V00")] == Reason.VISIT_TOO_FAR


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("dess", "dess"),
        ("DESS", "dess"),
        ("SAG_3D_DESS", "dess"),
        ("COR IW TSE", "cor_iw_tse"),
        ("cor_iw_tse", "cor_iw_tse"),
        ("sag_iw_tse", "sag_iw_tse"),
        ("COR FLASH", "cor_flash"),
        ("COR_T1_3D_FLASH", "cor_flash"),
    ],
)
def test_sequence_is_chosen_by_name(text, name):
    assert sequence_name(text) == name
    kinds = ("dess", "cor_iw_tse", "sag_iw_tse", "cor_flash", "other")
    source = Source((film(side="right"),), tuple(scan(sequence=kind) for kind in kinds))
    (pair,) = pair_source(source, sequence=text).pairs
    assert pair.series.sequence == name


def test_a_series_that_does_not_tell_its_sequence_is_taken_for_any():
    source = Source((film(side="right"),), (scan(sequence=None),))
    assert len(pair_source(source, sequence="cor_flash").pairs) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sequence": "t2"}, "sequence is 't2', expected one of dess, cor_iw_tse"),
        ({"visit_tolerance": -1}, "visit tolerance is -1 months"),
        ({"duplicates": "maybe"}, "duplicates is 'maybe', expected one of choose, reject"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(InputError, match=message):
        pair_source(Source(), **options)


@pytest.mark.parametrize(
    ("best", "other"),
    [
        ({"exact": True, "files": 100}, {"exact": False, "files": 160}),
        ({"files": 160, "date": "2004"}, {"files": 80, "date": "2005"}),
        ({"files": 160, "barcode": "2"}, {"files": 160, "barcode": "1"}),
        ({"date": "20050102"}, {"date": "20050101", "barcode": "9"}),
        ({}, {"files": 160, "problem": "gone"}),
    ],
)
def test_choice_among_several_series(best, other):
    series = (scan(name="best", **best), scan(name="other", **other))
    for order in (series, series[::-1]):
        (pair,) = pair_source(Source((film(side="right"),), order)).pairs
        assert pair.series.path.name == "best"
        assert (
            "other" in pair.note
            or "gone" in pair.note
            or "1 (160 files)" in pair.note
            or (pair.note.startswith("MriSeries 9"))
        )


def test_choice_among_several_radiographs():
    films = (
        film(name="a", barcode="00000002"),
        film(name="b", barcode="00000003"),
        film(name="c", barcode="00000001", side="right"),
    )
    (pair,) = pair_source(Source(films, (scan(),))).pairs[:1]
    assert pair.radiograph.path.name == "c"
    graded = (Grade("1", "right", "V00", 2, barcode="016600000002"),)
    (pair,) = pair_source(Source(films, (scan(),), graded)).pairs
    assert pair.radiograph.path.name == "a" and "00000003 is another, not chosen" in pair.note
    (pair,) = pair_source(Source(films[:2], (scan(),))).pairs
    assert pair.radiograph.path.name == "b"


def test_duplicates_can_be_rejected_but_repeated_records_are_none():
    series = (scan(name="a"), scan(name="b"))
    source = Source((film(side="right"),), series)
    assert outcome(source, duplicates="reject") == {("1", "right", "V00"): Reason.AMBIGUOUS}
    assert "2 candidates" in detail(source, duplicates="reject")
    source = Source((film(side="right"),) * 2, (series[0],) * 2)
    assert outcome(source, duplicates="reject") == {("1", "right", "V00"): "V00"}


VISITS = st.sampled_from(["V00", "V01", "V03", "24m", "v03", "V10", "18m", "", "before"])
FILMS = st.builds(
    film,
    st.sampled_from("12"),
    VISITS,
    st.sampled_from([None, *SIDES]),
    st.sampled_from("ab"),
    problem=st.sampled_from(["", "", "gone"]),
    barcode=st.sampled_from(["", "1", "2"]),
)
SCANS = st.builds(
    scan,
    st.sampled_from("12"),
    VISITS,
    st.sampled_from(SIDES),
    st.sampled_from(["dess", "other", None]),
    st.sampled_from("ab"),
    problem=st.sampled_from(["", "", "gone"]),
)
GRADES = st.builds(
    Grade, st.sampled_from("123"), st.sampled_from(SIDES), VISITS, st.sampled_from([None, 0, 4])
)
SOURCES = st.builds(
    Source,
    st.lists(FILMS, max_size=8).map(tuple),
    st.lists(SCANS, max_size=8).map(tuple),
    st.lists(GRADES, max_size=4).map(tuple),
)


def knees_seen(source):
    films = {
        (item.subject, side, item.visit)
        for item in source.radiographs
        for side in ((item.side,) if item.side else SIDES)
    }
    return (
        films
        | {(item.subject, item.side, item.visit) for item in source.series}
        | {grade.knee for grade in source.grades}
    )


@settings(max_examples=150, deadline=None)
@given(SOURCES, st.sampled_from([0, 12, 30, 200]), st.sampled_from(["choose", "reject"]))
def test_nobody_is_lost_and_nobody_is_there_twice(source, tolerance, duplicates):
    pairing = pair_source(source, visit_tolerance=tolerance, duplicates=duplicates)
    rejected = [rejection.knee for rejection in pairing.rejections]
    assert len(rejected) == len(set(rejected))
    assert not pairing.paired & set(rejected)
    assert pairing.paired | set(rejected) == pairing.seen == knees_seen(source)
    assert [row[:3] for row in pairing.rows()] == sorted(knees_seen(source))
    assert all(rejection.detail for rejection in pairing.rejections)
    for knees in ([pair.knee for pair in pairing.pairs],
                  [pair.radiograph_knee for pair in pairing.pairs]):  # fmt: skip
        assert max(Counter(knees).values(), default=1) == 1


@settings(max_examples=150, deadline=None)
@given(SOURCES, st.sampled_from([0, 12, 30]))
def test_pairs_fit_together(source, tolerance):
    pairing = pair_source(source, visit_tolerance=tolerance)
    for pair in pairing.pairs:
        assert pair.radiograph in source.radiographs and pair.series in source.series
        assert pair.radiograph.subject == pair.series.subject == pair.subject
        assert pair.series.side == pair.side and pair.radiograph.side in (None, pair.side)
        assert pair.gap == visit_gap(pair.visit, pair.radiograph.visit) <= tolerance
        assert not pair.radiograph.problem and not pair.series.problem
        assert pair.series.sequence in ("dess", None)


@settings(max_examples=100, deadline=None)
@given(SOURCES, st.randoms())
def test_the_order_of_the_records_does_not_matter(source, random):
    films, scans = list(source.radiographs), list(source.series)
    random.shuffle(films)
    random.shuffle(scans)
    shuffled = Source(tuple(films), tuple(scans), source.grades)
    first, second = (pair_source(each, visit_tolerance=12) for each in (source, shuffled))
    assert [(pair.knee, pair.radiograph, pair.series) for pair in first.pairs] == [
        (pair.knee, pair.radiograph, pair.series) for pair in second.pairs
    ]


@settings(max_examples=100, deadline=None)
@given(SOURCES, st.data())
def test_pairs_that_fail_later_become_rejections(source, data):
    pairing = pair_source(source, visit_tolerance=12)
    knees = [pair.knee for pair in pairing.pairs]
    lost = data.draw(st.sets(st.sampled_from(knees)) if knees else st.just(set()))
    after = pairing.with_failures(dict.fromkeys(lost, (Reason.MRI_BROKEN, "cut off")))
    assert after.seen == pairing.seen
    assert not after.paired & {rejection.knee for rejection in after.rejections}
    assert {pair.knee for pair in after.pairs} == set(knees) - lost
    assert len(list(after.rows())) == len(pairing.seen)


def example():
    return Source(
        (film(), film("2", "V01", "left"), film("4", side="right")),
        (scan(), scan(side="left"), scan("2", side="left"), scan("3")),
        (Grade("1", "right", "V00", 2),),
        ("a note",),
        {"PA Right Hand": 3},
    )


def test_report_as_csv(tmp_path):
    path = tmp_path / "report" / "pairs.csv"
    pair_source(example(), visit_tolerance=12).write_csv(path)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    cells = [
        (row["subject"], row["side"], row["visit"], row["status"], row["reason"]) for row in rows
    ]
    assert cells == [
        ("1", "left", "V00", "paired", ""),
        ("1", "right", "V00", "paired", ""),
        ("2", "left", "V00", "paired", ""),
        ("2", "left", "V01", "paired", ""),
        ("3", "right", "V00", "rejected", "no_radiograph"),
        ("4", "right", "V00", "rejected", "no_mri"),
    ]
    assert [row["kl"] for row in rows] == ["", "2", "", "", "", ""]
    assert rows[3]["detail"] == "radiograph for the MRI of V00"
    assert rows[2]["gap_months"] == "12" and rows[2]["radiograph_visit"] == "V01"
    assert rows[1]["mri"] == "/1/V00/right/dess/m"
    assert [each.name for each in path.parent.iterdir()] == ["pairs.csv"]


def test_summary_counts_per_reason():
    lines = pair_source(example(), visit_tolerance=12).summary().splitlines()
    assert lines[0] == (
        "3 pairs of radiograph and dess MRI from 2 subjects, 1 with a Kellgren-Lawrence grade"
    )
    assert lines[1] == "6 knees and visits seen: 4 in pairs, 2 rejected"
    assert lines[2].split() == ["1", "no_radiograph", "no", "radiograph", "of", "the", "knee"]
    assert lines[3].split()[:2] == ["1", "no_mri"]
    assert "3 series show no knee" in lines[4] and lines[5].split() == ["3", "PA", "Right", "Hand"]
    assert lines[6:] == ["1 notes on the tables:", "  a note"]


def test_every_reason_has_a_text():
    from xr2mri_jax.datasets.pairing_report import REASON_TEXTS

    assert set(REASON_TEXTS) == set(Reason)
