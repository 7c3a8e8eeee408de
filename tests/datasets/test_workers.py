"""Tests of work on several processes: order, errors, what a worker loads."""

import functools
import os
import signal
import sys

import numpy as np
import pytest
import threadpoolctl

from xr2mri_jax.datasets.workers import AHEAD, on_one_thread, ordered_map
from xr2mri_jax.errors import WorkError


def square(number):
    return number * number


def process(_):
    return os.getpid(), "jax" in sys.modules


def threads(_):
    return [pool["num_threads"] for pool in threadpoolctl.threadpool_info()]


def refuse(at, number):
    if number == at:
        raise ValueError(f"no {number}")
    return number


def die(number):
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def mark(folder, rank, count):
    (folder / f"{rank} of {count}").touch()


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_items(workers):
    assert list(ordered_map(square, range(20), workers)) == [n * n for n in range(20)]


def test_workers_are_other_processes_that_load_what_they_need():
    found = set(ordered_map(process, range(8), 2))
    assert os.getpid() not in {number for number, _ in found}
    assert {loaded for _, loaded in found} == {False}


def test_linear_algebra_is_kept_to_one_thread():
    assert np.ones((2, 2)).sum() == 4  # numpy is loaded, with its pool of threads
    assert set(on_one_thread(threads, None)) == {1}


def test_an_error_comes_at_its_item():
    results = ordered_map(functools.partial(refuse, 3), range(9), 2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="no 3"):
        next(results)


def test_a_killed_worker_is_one_line():
    with pytest.raises(WorkError, match=r"worker processes was killed.*memory.*--num_workers"):
        list(ordered_map(die, range(9), 2))


def test_items_are_taken_only_a_little_ahead():
    taken = []

    def items():
        for number in range(100):
            taken.append(number)
            yield number

    results = ordered_map(square, items(), 2)
    assert next(results) == 0
    assert len(taken) <= 2 * AHEAD + 1
    results.close()


def test_every_worker_is_started_with_its_number(tmp_path):
    list(ordered_map(square, range(12), 2, functools.partial(mark, tmp_path)))
    assert {path.name for path in tmp_path.iterdir()} <= {"0 of 2", "1 of 2"}
    assert list(tmp_path.iterdir())
