"""Which examples take part: grades, patients, balance."""

import collections

import numpy as np
import pytest

from xr2mri_jax.data import selection
from xr2mri_jax.data.batches import make_iterator
from xr2mri_jax.errors import InputError


def records(count=120):
    grades = np.random.default_rng(0).choice([0, 0, 0, 1, 2], count)
    return [
        {"xray": np.full((2, 2, 1), i, np.uint16), "kl": int(kl), "subject": b"s%d" % (i // 2)}
        for i, kl in enumerate(grades)
    ]


def chosen(**options):
    found = selection.select(records(), "train", ("xray", "kl", "subject"), **options)
    return [(example["subject"], example["kl"]) for example in found]


def test_only_the_grades_that_are_asked_for():
    grades = collections.Counter(kl for _, kl in chosen(grades=(0, 2)))
    whole = collections.Counter(example["kl"] for example in records())
    assert grades == {0: whole[0], 2: whole[2]} and whole[1] > 0
    assert len(chosen()) == 120


def test_patients_are_held_out_whole():
    train = chosen(grades=(0, 2), part="train", held_out=0.3)
    out = chosen(grades=(0, 2), part="held_out", held_out=0.3)
    assert not {name for name, _ in train} & {name for name, _ in out}
    assert sorted(train + out) == sorted(chosen(grades=(0, 2)))
    assert 0.1 < len(out) / len(train + out) < 0.5
    other = chosen(grades=(0, 2), part="held_out", held_out=0.3, seed=1)
    assert {name for name, _ in other} != {name for name, _ in out}


def test_rarer_classes_are_repeated_evenly():
    plain, balanced = chosen(grades=(0, 1, 2)), chosen(grades=(0, 1, 2), balanced=True)
    counts = collections.Counter(kl for _, kl in balanced)
    assert len(set(counts.values())) == 1 and counts[0] == sum(kl == 0 for _, kl in plain)
    assert balanced[: len(plain)] == plain
    found = selection.select(records(), "train", ("kl",), grades=(0, 1, 2), balanced=True)
    uses = collections.Counter(found.positions.tolist())
    rare = [uses[i] for i in range(120) if records()[i]["kl"] == 1]
    assert max(rare) - min(rare) <= 1


def test_batches_of_a_selection():
    found = selection.select(records(), "train", ("xray", "kl"), grades=(2,))
    batches = list(make_iterator(found, "train", batch_size=8, fields=("xray", "kl"), seed=0))
    real = np.concatenate([b["kl"][b["example_mask"] > 0] for b in batches])
    assert set(real) == {2} and len(real) == len(found)


def test_messages_name_the_position_in_the_split():
    found = selection.select(records(), "train", ("xray", "kl"), grades=(2,), balanced=True)
    (batch,) = make_iterator(found, "train", batch_size=len(found), fields=("kl",))
    assert batch["place"].tolist() == [str(i) for i in found.positions]
    assert batch["index"].tolist() == list(range(len(found)))
    others = selection.Fields(records(), ("kl",))
    joined = selection.Joined((selection.Fields(found, ("kl",)), others), ("a", "b"))
    assert [joined.place(i) for i in (0, 1, 2, 3)] == [
        f"{found.positions[0]} (a)",
        "0 (b)",
        f"{found.positions[1]} (a)",
        "1 (b)",
    ]
    bad = records()
    bad[found.positions[1]]["xray"] = np.full((2, 2, 1), np.nan, np.float32)
    again = selection.select(bad, "train", ("xray", "kl"), grades=(2,))
    with pytest.raises(InputError, match=f"the example at position {found.positions[1]} of"):
        list(make_iterator(again, "train", batch_size=2, fields=("xray",), num_threads=0))


def test_what_leaves_nobody_is_refused():
    with pytest.raises(InputError, match=r"none of its 120 examples has a grade of \[4\]"):
        chosen(grades=(4,))
    with pytest.raises(ValueError, match="held_out 1"):
        chosen(part="train", held_out=1.0)
