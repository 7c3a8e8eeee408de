"""Tests of the splits by subject."""

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xr2mri_jax.datasets import splits
from xr2mri_jax.errors import InputError

SUBJECTS = st.lists(st.text("0123456789ab-", min_size=1, max_size=8), max_size=60)
SEEDS = st.integers(0, 2**31)


def test_the_hash_is_the_documented_one():
    digest = hashlib.sha256(b"7:9000099").digest()
    expected = int.from_bytes(digest[:8], "big") / 2**64
    assert abs(splits.subject_fraction("9000099", 7) - expected) < 1e-15
    # From an independent tool: printf '0:9000099' | sha256sum begins 17019c523fc1c83a.
    assert splits.subject_fraction("9000099", 0) == pytest.approx(0.08986832626374686, abs=1e-15)


@given(SUBJECTS, SEEDS)
def test_every_subject_is_in_one_split(subjects, seed):
    found = splits.split_subjects(subjects, seed)
    everyone = [subject for members in found.subjects.values() for subject in members]
    assert sorted(everyone) == sorted(set(subjects))
    assert tuple(found.subjects) == ("train", "validation", "test")
    for subject in subjects:
        assert found.split_of(subject) == splits.split_of(subject, seed)


@given(SUBJECTS, SUBJECTS, SEEDS)
def test_others_do_not_move_a_subject(subjects, more, seed):
    alone = splits.split_subjects(subjects, seed)
    together = splits.split_subjects([*more, *subjects], seed)
    assert all(alone.split_of(subject) == together.split_of(subject) for subject in subjects)


def test_fractions_are_met_and_the_seed_matters():
    subjects = [f"{9000000 + number}" for number in range(20_000)]
    found = splits.split_subjects(subjects, 3, {"a": 0.5, "b": 0.3, "c": 0.2, "none": 0.0})
    shares = {name: len(members) / 20_000 for name, members in found.subjects.items()}
    # The standard deviation of a share of 0.5 is 0.0035.
    assert shares["a"] == pytest.approx(0.5, abs=0.015)
    assert shares["b"] == pytest.approx(0.3, abs=0.015)
    assert shares["none"] == 0.0
    other = splits.split_subjects(subjects, 4, {"a": 0.5, "b": 0.3, "c": 0.2})
    same = len(set(found.subjects["a"]) & set(other.subjects["a"])) / 20_000
    assert same == pytest.approx(0.25, abs=0.02)


def test_rounding_of_fractions_loses_nobody(monkeypatch):
    monkeypatch.setattr(splits, "subject_fraction", lambda subject, seed: 1 - 2**-53)
    fractions = {"a": 0.1, "b": 0.2, "c": 0.7 - 1e-9, "d": 0.0}
    assert splits.split_of("x", 0, fractions) == "c"


@pytest.mark.parametrize(
    ("fractions", "message"),
    [
        ({"train": 0.8, "test": 0.1}, "train=0.8, test=0.1: their sum is 0.9, expected 1"),
        ({"train": 1.5, "test": -0.5}, "expected numbers of 0 or more"),
        ({"train": float("nan")}, "expected numbers of 0 or more"),
        ({}, "none: their sum is 0"),
    ],
)
def test_wrong_fractions(fractions, message):
    with pytest.raises(InputError, match=message):
        splits.split_subjects(["1"], 0, fractions)
    with pytest.raises(InputError, match=message):
        splits.split_of("1", 0, fractions)


def test_leakage_names_the_subject_and_the_two_splits():
    splits.check_leakage({"train": ["1", "2", "2"], "test": ["3"]})
    with pytest.raises(InputError, match="subject '2' is in split 'train' and in split 'test'"):
        splits.check_leakage({"train": ["1", "2"], "validation": [], "test": ["3", " 2"]})


@given(
    st.dictionaries(
        st.sampled_from(["a", "b", "c"]), st.sets(st.integers(0, 12).map(str), max_size=5)
    )
)
def test_leakage_is_found_exactly_when_sets_meet(found):
    sets = list(found.values())
    if sum(map(len, sets)) == len(set().union(*sets)):
        splits.check_leakage(found)
    else:
        with pytest.raises(InputError, match="expected each subject in one"):
            splits.check_leakage(found)


def test_json_round_trip_keeps_empty_splits(tmp_path):
    found = splits.split_subjects(["1", "2"], 5, {"train": 1.0, "test": 0.0})
    path = tmp_path / "splits.json"
    splits.write_splits(path, found)
    assert splits.read_splits(path) == found
    assert json.loads(path.read_text())["seed"] == 5


def test_csv_round_trip_and_a_users_own(tmp_path):
    found = splits.split_subjects([f"00{number}" for number in range(40)], 5)
    path = tmp_path / "splits.csv"
    splits.write_splits(path, found)
    assert splits.read_splits(path).subjects == found.subjects
    path.write_text("Split;Subject\ntest;007\ntrain;8\ntest;007\n")
    assert splits.read_splits(path).subjects == {"test": ("007",), "train": ("8",)}


def test_reading_refuses_leakage_and_what_is_no_split(tmp_path):
    path = tmp_path / "splits.csv"
    path.write_text("subject,split\n1,train\n1,test\n")
    with pytest.raises(InputError, match="subject '1' is in split 'train'"):
        splits.read_splits(path)
    path.write_text("subject,split\n,train\n")
    with pytest.raises(InputError, match="row 2, column subject"):
        splits.read_splits(path)
    path = tmp_path / "splits.json"
    for text in ("[]", "{}", '{"subjects": {"train": "1"}}', "{", '{"subjects": {}, "seed": "x"}'):
        path.write_text(text)
        with pytest.raises(InputError, match=r"splits\.json"):
            splits.read_splits(path)
    with pytest.raises(InputError, match="cannot be read"):
        splits.read_splits(tmp_path / "none.json")


def test_unknown_subject_and_empty_split():
    found = splits.split_subjects(["1"], 0, {"train": 1.0, "test": 0.0})
    with pytest.raises(InputError, match="subject '2' is in none of the splits train, test"):
        found.split_of("2")
    with pytest.raises(InputError, match="split 'test' has none of the 1 subjects: change it"):
        found.require_members("change it")


@pytest.mark.parametrize("name", ["all", "val set", "train[:50%]", "a+b", "a/b", "."])
def test_names_that_cannot_be_selected_are_refused(tmp_path, name):
    with pytest.raises(InputError, match=r"split fractions .*expected a name of letters"):
        splits.split_of("1", 0, {"train": 0.5, name: 0.5})
    table = tmp_path / "splits.csv"
    table.write_text(f"subject,split\n1,train\n2,{name}\n")
    with pytest.raises(InputError, match=r"splits\.csv, row 3, column split: .*expected a name of"):
        splits.read_splits(table)
    listed = tmp_path / "splits.json"
    listed.write_text(json.dumps({"subjects": {"train": ["1"], name: ["2"]}}))
    with pytest.raises(InputError, match=r"splits\.json, key 'subjects': .*expected a name of"):
        splits.read_splits(listed)


@pytest.mark.parametrize("name", ["train", "Validation_2", "val-set", "allen"])
def test_other_names_are_accepted(name):
    assert splits.split_of("1", 0, {name: 1.0}) == name
