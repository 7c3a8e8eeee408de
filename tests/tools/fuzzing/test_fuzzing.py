"""Broken files: a small run of the fuzzer, and every declared contradiction for every reader."""

import json

import numpy as np
import pytest

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import Volume
from xr2mri_jax.tools.fuzzing import oracle, run
from xr2mri_jax.tools.fuzzing.contradictions import contradictions
from xr2mri_jax.tools.fuzzing.mutate import mutated
from xr2mri_jax.tools.fuzzing.seeds import by_name, made_seeds
from xr2mri_jax.tools.fuzzing.seeds_of_programs import program_seeds

SEEDS = made_seeds() + program_seeds()
CASES = [(seed.name, what) for seed in SEEDS for what in sorted(contradictions(seed))]


def test_the_sound_files_are_read_and_pass_the_oracle():
    for seed in SEEDS:
        result = run._read(seed.kind, seed.files)
        assert oracle.complaint(result, seed.files) == "", seed.name


def test_the_seeds_are_the_same_in_every_run():
    again = made_seeds() + program_seeds()
    assert [seed.files for seed in again] == [seed.files for seed in SEEDS]
    assert len({seed.name for seed in SEEDS}) == len(SEEDS)


@pytest.mark.parametrize(("name", "what"), CASES, ids=[f"{n}-{w}" for n, w in CASES])
def test_a_header_against_its_pixels_is_refused(name, what):
    seed = by_name(SEEDS, name)
    for turn in range(2):
        files = contradictions(seed)[what](np.random.default_rng(turn))
        assert files != seed.files
        outcome = run.attempt_files(turn, seed, what, files, contradicting=True)
        # Equal: a decoder may not need what was contradicted (JPEG in 16 allocated bits).
        assert outcome.kind == "refused" or (outcome.kind, what) == ("equal", "bits allocated")


def test_three_hundred_broken_files():
    outcomes = [run.attempt(SEEDS, 3, index) for index in range(300)]
    assert [one for one in outcomes if one.kind in run.FAULTS] == []
    assert {one.kind for one in outcomes} >= {"refused", "accepted"}
    assert len({(one.seed, one.what) for one in outcomes}) > 60
    again = run.attempt(SEEDS, 3, 7)
    assert (again.what, again.kind) == (outcomes[7].what, outcomes[7].kind)


def test_own_files_may_have_other_headers():
    made = by_name(SEEDS, "nrrd raw")
    assert len(contradictions(made)) == 7
    own = made._replace(files={"v": made.files["v"].replace(b"sizes: 36", b"sizes:  36")})
    assert len(contradictions(own)) == 5


def test_damage_never_touches_the_seed():
    seed = by_name(SEEDS, "series")
    before = dict(seed.files)
    for index in range(20):
        mutated(seed, np.random.default_rng(index))
    assert seed.files == before


def test_workers_are_watched_and_replaced(monkeypatch, tmp_path):
    report = run.run(12, seed=4, workers=2)
    json.dumps(report, allow_nan=False)
    assert report["files"] == 12
    assert sum(report[kind] for kind in ("refused", "accepted", "equal")) == 12
    assert not report["findings"] and len(report["slowest"]) == 5
    assert "12 broken files, seed 4" in run.table(report)


class FakeProcess:
    """A worker that hangs, or that is dead."""

    exitcode = -11

    def __init__(self, *_, **__):
        self.killed = False

    def start(self):
        pass

    def kill(self):
        self.killed = True

    def join(self):
        pass


class FakePipe:
    def __init__(self, dead):
        self.dead, self.sent = dead, []

    def poll(self, *_):
        if self.dead and self.sent:
            raise EOFError
        return not self.sent

    def recv(self):
        return "ready"

    def send(self, value):
        self.sent.append(value)

    def close(self):
        pass


@pytest.mark.parametrize(("dead", "kind"), [(True, "crash"), (False, "hang")])
def test_a_crash_and_a_hang_are_findings(monkeypatch, dead, kind):
    class Context:
        Process = FakeProcess

        def Pipe(self):
            return FakePipe(dead), FakePipe(dead)

    monkeypatch.setattr(run.multiprocessing, "get_context", lambda _: Context())
    worker = run._Worker(0, None)
    worker.give(5, seconds=0.0)
    outcomes = [worker.take(0.0), worker.take(0.0)]
    found = [one for one in outcomes if one is not None]
    assert found[0].kind == kind and found[0].index == 5
    # A hang counts only where the second, longer try hangs too.
    assert (outcomes[0] is None) == (kind == "hang")


def test_the_oracle_sees_a_wrong_volume():
    seed = by_name(SEEDS, "nifti")
    sound = run._read(seed.kind, seed.files)
    assert oracle.complaint(Volume(sound.array[1:], sound.affine), seed.files).startswith("shape")
    stretched = Volume(sound.array, np.diag((500.0, 1, 1, 1)))
    assert oracle.complaint(stretched, seed.files).startswith("spacing")
    assert not oracle.same(sound, Volume(sound.array + 1, sound.affine))


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        ("/tmp/fuzz-a/x: found 3, expected 4", ""),
        ("/tmp/fuzz-a/x: found\n3", "not one line: "),
        ("found 3", "names no file: "),
        ("/tmp/fuzz-a/x" + "3" * 2000, "too long: "),
    ],
)
def test_a_refusal_is_one_line_that_names_the_file(message, fault):
    assert run._message_fault(message, {}) == fault


def test_numbers_that_cannot_be_used():
    with pytest.raises(InputError, match="positive"):
        run.run(0)
