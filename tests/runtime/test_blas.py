"""Tests that the matrix products of commands use one thread, and libraries do not change that."""

import os
import subprocess
import sys

import pytest

from xr2mri_jax.runtime import blas


def threads_after(imports, **given):
    """The variable in a process that imported a module."""
    environment = {name: value for name, value in os.environ.items() if name != blas.VARIABLE}
    script = f"import {imports}, os; print(os.environ.get({blas.VARIABLE!r}))"
    command = [sys.executable, "-c", script]
    done = subprocess.run(
        command, env=environment | given, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("imports", "given", "wanted"),
    [
        ("xr2mri_jax.runtime.start_command", {}, "1"),
        ("xr2mri_jax.runtime.start_command", {blas.VARIABLE: "3"}, "3"),
        ("xr2mri_jax.api", {}, "None"),
    ],
)
def test_only_a_command_sets_the_threads_and_the_users_number_stays(imports, given, wanted):
    assert threads_after(imports, **given) == wanted
