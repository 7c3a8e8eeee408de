"""Tests of the count of usable and unusable items."""

import pytest

from xr2mri_jax.datasets.outcomes import SHOWN, Outcome, Tally, require_some, this_worker
from xr2mri_jax.errors import InputError


def broken(number):
    return Outcome(f"item{number}", None, "file", f"detail {number}")


def test_a_share_is_borne_and_one_more_ends_the_run():
    tally = Tally(100, 0.02, "files")
    for outcome in (broken(1), Outcome("good", {"x": 1}), broken(2)):
        tally.add(outcome)
        tally.check()
    tally.add(broken(3))
    with pytest.raises(InputError, match=r"3 of 100 files unusable.*2.0%.*item1: detail 1"):
        tally.check()
    assert tally.usable == {"good"}
    assert [row[0] for row in tally.rows()] == ["item1", "item2", "item3"]


def test_no_share_bears_nothing():
    tally = Tally(1000, 0.0, "files")
    tally.check()
    tally.add(broken(0))
    with pytest.raises(InputError, match="1 of 1000 files"):
        tally.check()


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_a_share_is_a_number_in_0_to_1(share):
    with pytest.raises(InputError, match="--max_broken"):
        Tally(1, share, "files")


def test_the_screen_shows_the_first_and_counts_the_rest():
    tally = Tally(50, 1.0, "files")
    assert tally.summary() == ""
    for number in range(SHOWN + 3):
        tally.add(broken(number))
    lines = tally.summary().splitlines()
    assert lines[0] == f"{SHOWN + 3} of 50 files could not be used:"
    assert lines[1] == "  item0: detail 0" and lines[-1] == "  and 3 more, see the report"
    assert len(lines) == SHOWN + 2


def test_doubts_of_what_is_used_are_shown_beside_what_is_not():
    tally = Tally(50, 1.0, "files")
    tally.add(broken(1))
    for number in range(SHOWN + 2):
        tally.add(Outcome(f"good{number}", {"x": 1}, doubts=("odd", "turned")))
    tally.add(Outcome("plain", {"x": 1}))
    lines = tally.summary().splitlines()
    assert lines[:2] == ["1 of 50 files could not be used:", "  item1: detail 1"]
    assert lines[2:4] == [f"{SHOWN + 2} of 50 files are used with doubts:", "  good0: odd; turned"]
    assert lines[-1] == "  and 2 more, see the report"
    assert len(lines) == 2 + 1 + SHOWN + 1
    assert "plain" not in tally.doubts and len(tally.usable) == SHOWN + 3


def test_the_report_has_the_unusable_items_and_those_used_with_doubts(tmp_path):
    tally = Tally(3, 1.0, "files")
    for outcome in (Outcome("good", {"x": 1}), Outcome("odd", {"x": 1}, doubts=("a", "b"))):
        tally.add(outcome)
    tally.add(broken(1))
    tally.write_csv(tmp_path / "report.csv")
    assert (tmp_path / "report.csv").read_text().splitlines() == [
        "key,status,reason,detail",
        "item1,unusable,file,detail 1",
        "odd,used,,a; b",
    ]


def test_costs_add_up_and_a_workers_peak_is_its_largest():
    tally = Tally(3, 0.0, "files")
    for cost, worker in (({"a": 1.0}, (7, 10)), ({"a": 2.0, "b": 1.0}, (7, 30)), ({}, (8, 5))):
        tally.add(Outcome("k", {}, cost=cost, worker=worker))
    assert dict(tally.costs) == {"a": 3.0, "b": 1.0}
    assert tally.workers == {7: 30, 8: 5}


def test_this_process_has_used_memory():
    process, peak = this_worker()
    assert process > 0 and 2**20 < peak < 2**36


def test_a_split_of_unusable_items_is_refused():
    require_some("train", 1, [1, 2])
    with pytest.raises(InputError, match="split 'test': all of its 2 items are unusable"):
        require_some("test", 0, [1, 2])
