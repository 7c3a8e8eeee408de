"""Tests of what the benchmark of a long training says of its samples."""

import pytest

from xr2mri_jax.errors import InputError
from xr2mri_jax.tools.benchmarks import long_run
from xr2mri_jax.tools.benchmarks.long_run import Sample


def test_the_start_is_left_out_and_a_leak_is_seen():
    start = [Sample(5000.0, 9, 9)] * 10
    steady = [Sample(100.0, 20, 30)] * 10
    leaking = [Sample(100.0 + k, 20 + k, 30) for k in range(20)]
    found = long_run.summary(start + steady + leaking)
    assert found["memory_mib"] == {"second_quarter": 100.0, "last_quarter": 114.5, "largest": 5000}
    assert found["files"] == {"second_quarter": 20, "last_quarter": 34.5, "largest": 39}
    assert found["threads"]["last_quarter"] == 30
    report = {"steps": 400, "saves": 40, "seconds": 20.0, **found}
    assert "400 steps, 40 saves" in long_run.table(report)


def test_a_short_training_says_nothing():
    with pytest.raises(InputError, match="--steps"):
        long_run.summary([Sample(1.0, 1, 1)] * 19)
